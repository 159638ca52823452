"""``labelspace report`` as a user meets it, and the page that training leaves behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from labelspace.cli import main

pytestmark = pytest.mark.usefixtures("hasty")

SMALL = ["train", "swiss-roll:n=300", "--model", "condvae", "--epochs", "1", "--set", "network.width=8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained") / "roll"
    assert main([*SMALL, "--out", str(home)]) == 0
    return home


def test_training_leaves_a_page(run: Path, parse) -> None:
    text = (run / "report.html").read_text()
    found = parse(text)
    assert "Report of roll" in found.titles
    assert "labelspace report roll" in found.text, "where the rest is"
    assert not {"Leakage", "Latent maps"} & set(found.titles)
    assert str(run.parent) not in text


def test_training_without_a_page(tmp_path: Path, capsys) -> None:
    assert main([*SMALL, "--out", str(tmp_path / "bare"), "--no-report"]) == 0
    assert not (tmp_path / "bare" / "report.html").exists()
    assert "report" not in capsys.readouterr().err


def test_training_that_diverges_leaves_a_page_too(tmp_path: Path, capsys, parse) -> None:
    home = tmp_path / "wild"
    arguments = ["--set", "learning_rate=1e30", "--set", "clip=0", "--set", "warmup=0", "--epochs", "6"]
    assert main([*SMALL, "--out", str(home), *arguments]) == 1
    text = (home / "report.html").read_text()
    found = parse(text)
    assert "became NaN or infinite" in found.text
    assert "No model was kept" in found.text or "Training is not finished" in found.text
    assert str(tmp_path) not in text
    assert "NaN or infinite" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_page_that_cannot_be_written_does_not_make_training_fail(tmp_path: Path, capsys) -> None:
    home = tmp_path / "taken"
    (home / "report.html" / "inside").mkdir(parents=True)
    assert main([*SMALL, "--out", str(home)]) == 0
    assert "no report: " in capsys.readouterr().err
    assert (home / "model.safetensors").exists()


def test_it_says_where_it_was_written_and_what_it_has(run: Path, capsys, tmp_path: Path, monkeypatch, parse) -> None:
    monkeypatch.chdir(tmp_path)
    home = Path(shutil.copytree(run, tmp_path / "roll"))
    (home / "report.html").unlink()
    assert main(["report", "roll", "--quick"]) == 0
    assert "written: roll/report.html" in capsys.readouterr().err
    whole, brief = (parse((place / "report.html").read_text()).titles for place in (home, run))
    assert set(brief) < set(whole), "more than the page that training wrote"
    assert main(["report", "roll", str(run), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["out"] == "report.html"
    assert about["bytes"] == Path("report.html").stat().st_size
    assert [r["run"] for r in about["runs"]] == ["roll", str(run)]
    assert {r["measured"] for r in about["runs"]} == {"edits"}
    assert "Not measured: disentanglement" in Path("report.html").read_text()
    assert "settings" in about["sections"]
    parse(Path("report.html").read_text())
    assert main(["report", str(run), "--quick", "--out", "deep/in/page.html"]) == 0
    assert Path("deep/in/page.html").exists()


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path, capsys) -> None:
    def fails(*arguments: str) -> str:
        capsys.readouterr()
        try:
            code = main(["report", *arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        assert code == 2
        assert captured.out == ""
        assert "Traceback" not in captured.err
        return captured.err.strip().splitlines()[-1]

    assert "nowhere" in fails("nowhere")
    assert "holds no run" in fails(str(tmp_path))
    assert "given twice" in fails(str(run), f"{run}/../{run.name}")
    assert "RUN" in fails()
    assert "is a directory" in fails(str(run), "--out", str(tmp_path))
    broken = Path(shutil.copytree(run, tmp_path / "broken"))
    (broken / "model.safetensors").write_bytes(b"x" * 20)
    assert "model.safetensors" in fails(str(broken))
    (broken / "config.yaml").write_text("a: 1")
    assert "not the configuration of a run" in fails(str(broken))
