"""``labelspace evaluate`` as a user meets it: files in the run, tables on the screen, errors in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelspace.cli import main

pytestmark = pytest.mark.usefixtures("hasty")

SMALL = ["--epochs", "2", "--set", "network.width=8", "--no-report"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("runs") / "roll"
    arguments = ["train", "swiss-roll:n=600", "--model", "condvae", "--set", "likelihood=gaussian", "--out", str(home), *SMALL]
    assert main([*arguments, "--label-noise", "0.3", "--supervision", "0.5", "--seed", "2"]) == 0
    return home


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_it_writes_a_page_data_and_figures_and_prints_tables(run: Path, capsys, strict) -> None:
    assert main(["evaluate", str(run)]) == 0
    captured = capsys.readouterr()
    for title in ("Edits", "What probes read from the codes", "Blocks", "Predictions", "Likelihood and generation"):
        assert title in captured.out
    assert "not measured: disentanglement: " in captured.out
    assert "written: run" in captured.err.replace("\n", "") or "evaluation.json" in captured.err.replace("\n", "")
    found = strict((run / "evaluation.json").read_text())
    page = (run / "evaluation.md").read_text()
    assert page.startswith("# run\n")
    assert "## Diagnosis" in page
    for finding in found["diagnosis"]:
        assert finding["remedy"] in page
        assert f"{finding['kind'].upper()}, {finding['where']}: " in captured.out
    assert found["diagnosis"] or "Diagnosis: no alarm." in captured.out
    assert [file.name for file in (run / "figures").iterdir()] == ["side-effects.png"]
    with Image.open(run / "figures" / "side-effects.png") as image:
        image.load()
        assert image.format == "PNG"
    assert not list(run.rglob(".*-*")), "temporary files were left"


def test_an_evaluation_that_is_not_what_was_written_is_one_line(run: Path, capsys) -> None:
    assert main(["evaluate", str(run), "--most", "40"]) == 0
    file = run / "evaluation.json"
    whole = file.read_text()
    assert whole.count('"nats_floor"') > 0
    for damaged in (whole.replace('"nats_floor"', '"nats_flour"', 1), whole.replace('"value": 0', '"value": "0"', 1)):
        assert damaged != whole
        file.write_text(damaged)
        capsys.readouterr()
        assert main(["report", str(run), "--quick"]) == 2
        assert "evaluation.json is damaged" in capsys.readouterr().err
    file.write_text(whole)
    assert main(["report", str(run), "--quick"]) == 0


def test_wrong_and_hidden_labels_of_training_are_right_again(run: Path, capsys, strict) -> None:
    assert main(["evaluate", str(run), "--split", "val", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    written = strict((run / "evaluation.json").read_text())
    assert len(written.pop("digest")) == 64
    assert found == written
    assert found["data"] == "swiss-roll:n=600"
    assert found["split"] == "val"
    assert found["prediction"]["side"]["accuracy"]["n"] == 60, "hidden labels are there again"
    assert found["judge"]["side"]["value"] > 0.9, "a judge of right labels reads them"


def test_a_weight_that_drowns_the_rest_is_read_off_the_metrics(run: Path, capsys, strict) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows[-1]["val"]["kl_z"] = 1e6
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["evaluate", str(run), "--most", "30", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert found["samples"] == 30
    assert ("ill-scaled weight", "kl_z") in [(f["kind"], f["where"]) for f in found["diagnosis"]]


def test_other_data_with_the_same_labels(run: Path, capsys, strict) -> None:
    assert main(["evaluate", str(run), "--data", "swiss-roll:n=300,noise=0.2", "--seed", "3", "--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert (found["data"], found["samples"], found["seed"]) == ("swiss-roll:n=300,noise=0.2", 30, 3)


def test_what_cannot_be_measured_is_refused(run: Path, fails) -> None:
    fails(["evaluate", "nowhere"], "nowhere")
    fails(["evaluate", str(run), "--most", "19"], "--most", "at least 20", "got 19")
    fails(["evaluate", str(run), "--most", "many"], "--most", "'many'")
    fails(["evaluate", str(run), "--split", "tset"], "--split", "did you mean 'test'")
    fails(["evaluate", str(run), "--data", "digits"], "side")
    fails(["evaluate", str(run), "--data", "swiss-rol"], "did you mean 'swiss-roll'")
    fails(["evaluate", str(run), "--data", "swiss-roll:n=100"], "10 samples in the test split")
    fails(["evaluate"], "RUN")
    assert not (run / "evaluation.json").exists()
    assert not (run / "figures").exists()


def test_data_with_a_label_of_that_name_and_other_values_are_refused(run: Path, tmp_path: Path, fails) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "other.npz", x=rng.normal(size=(300, 3)), side=rng.integers(0, 3, 300).astype(float))
    fails(["evaluate", str(run), "--data", f"npz:{tmp_path / 'other.npz'}"], "the model was trained for")
    np.savez(tmp_path / "wide.npz", x=rng.normal(size=(300, 5)), side=rng.integers(0, 2, 300))
    fails(["evaluate", str(run), "--data", f"npz:{tmp_path / 'wide.npz'}"], "(5,)", "(3,)")


def test_a_damaged_model_is_one_line(run: Path, fails) -> None:
    file = run / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    fails(["evaluate", str(run)], "model.safetensors")
