"""The command line as a new user meets it: in an empty directory, with right and with wrong input."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelspace.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("runs") / "digits"
    code = main(["train", "digits", "--epochs", "1", "--out", str(home), "--set", "network.width=8", "--set", "batch_size=256"])
    assert code == 0
    return home


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str], *said: str) -> None:
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2, captured.err
    last = captured.err.strip().splitlines()[-1]
    for part in said:
        assert part in last
    assert "Traceback" not in captured.err


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    began = time.monotonic()
    code = (
        "import sys; from labelspace.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
    assert time.monotonic() - began < 2


def test_edit_writes_a_picture_with_its_record(run: Path, capsys) -> None:
    assert main(["edit", str(run), "test:0", "--set", "digit=3", "--out", "three.png", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["target"] == {"digit": ["3"]}
    assert record["changed"] == ["w.digit"]
    with Image.open("three.png") as image:
        assert image.size == (8, 8)
        assert json.loads(image.text["labelspace"])["kind"] == "set"  # type: ignore[attr-defined]


def test_edit_takes_an_image_file_of_any_size(run: Path) -> None:
    Image.fromarray(np.zeros((50, 40, 3), np.uint8)).save("mine.png")
    assert main(["edit", str(run), "mine.png", "--set", "digit=3", "--keep-detail"]) == 0
    assert Path("edit.png").exists()


def test_transfer_traverse_and_generate(run: Path) -> None:
    assert main(["transfer", str(run), "test:0", "test:1", "--label", "digit", "--out", "t.png"]) == 0
    assert main(["traverse", str(run), "--label", "digit", "--steps", "3", "--out", "w.png"]) == 0
    assert (
        main(["traverse", str(run), "test:2", "--label", "digit", "--coordinates", "1", "--span", "data", "--out", "d.png"])
        == 0
    )
    assert main(["generate", str(run), "--set", "digit=7", "-n", "5", "--out", "g.png"]) == 0
    with Image.open("w.png") as image:
        assert image.size == (3 * 10 - 2, 3 * 10 - 2)


def test_embed_and_predict(run: Path, capsys) -> None:
    assert main(["embed", str(run), "digits", "--out", "codes.npz"]) == 0
    with np.load("codes.npz") as codes:
        assert codes["z"].shape[0] == 1797
        assert codes["w.digit"].shape == (1797, 20)
        assert codes["label.digit"][0] == "0"
        assert set(codes["split"]) == {"train", "val", "test"}
    assert main(["predict", str(run), "digits", "--out", "p.csv"]) == 0
    with open("p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1797
    assert sum(float(rows[0][f"digit:{d}"]) for d in range(10)) == pytest.approx(1, abs=1e-4)
    capsys.readouterr()


def test_train_takes_its_own_configuration_back(run: Path, tmp_path: Path) -> None:
    assert main(["train", "--config", str(run / "config.yaml"), "--out", "again"]) == 0
    assert (tmp_path / "again" / "config.yaml").read_text() == (run / "config.yaml").read_text()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_lists(capsys) -> None:
    for arguments, key in ((["models", "--json"], "csvae"), (["data", "list", "--json"], "faces")):
        assert main(arguments) == 0
        assert key in capsys.readouterr().out
    assert main(["data", "inspect", "digits"]) == 0
    assert "1,797 samples" in capsys.readouterr().out


def test_wrong_commands_and_names(capsys, run: Path) -> None:
    fails(["trian"], capsys, "unknown command 'trian'", "did you mean 'train'")
    fails(["train"], capsys, "which data")
    fails(["train", "digts"], capsys, "unknown data address 'digts'", "did you mean 'digits'")
    fails(["train", "digits", "--model", "csva"], capsys, "unknown model 'csva'", "did you mean 'csvae'")
    fails(["train", "digits", "--labels", "digt"], capsys, "unknown label 'digt'", "did you mean 'digit'")
    fails(["train", "digits", "--set", "latnt=3"], capsys, "did you mean 'latent'")
    fails(["train", "digits", "--set", "latent=many"], capsys, "latent", "many")
    fails(["train", "digits", "--epochs", "few"], capsys, "invalid int value")
    fails(["train", "digits", "--out", str(run)], capsys, "already holds a run", "--resume")
    fails(["train", "--resume", "--out", "nothing"], capsys, "no run to resume")
    fails(["train", "--resume", "--out", str(run), "--epochs", "9"], capsys, "keeps its settings")
    fails(["train", "mnist:nowhere"], capsys, "no such directory")
    fails(["train", "digits", "--config", "nowhere.yaml"], capsys, "no such file")
    fails(["data", "inspect"], capsys, "needs an address")


def test_wrong_edits(capsys, run: Path) -> None:
    fails(["edit", str(run), "test:0", "--set", "digt=3"], capsys, "did you mean 'digit'")
    fails(["edit", str(run), "test:0", "--set", "digit=12"], capsys, "unknown class")
    fails(["edit", str(run), "test:0", "--set", "digit"], capsys, "not of the form")
    fails(["edit", str(run), "test:9999", "--set", "digit=1"], capsys, "there is no sample")
    fails(["edit", str(run), "nowhere.png", "--set", "digit=1"], capsys, "no such image")
    fails(["edit", "nowhere", "test:0", "--set", "digit=1"], capsys, "no such directory")
    fails(["edit", str(run), "test:0", "--set", "digit=1", "--out", "a.docx"], capsys, "cannot be written")
    fails(["traverse", str(run), "--label", "size"], capsys, "unknown label 'size'")
    fails(["traverse", str(run), "--label", "digit", "--coordinates", "a"], capsys, "one or two numbers")
    Path("broken.png").write_bytes(b"not an image")
    fails(["edit", str(run), "broken.png", "--set", "digit=1"], capsys, "broken.png cannot be read as an image")
    fails(["embed", str(run), "swiss-roll", "--out", "e.npz"], capsys, "the model takes (1, 8, 8)")


def test_values_outside_the_likelihoods_range(capsys) -> None:
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(100, 4)), y=np.arange(100) % 2)
    fails(["train", "npz:x.npz", "--set", "likelihood=bernoulli"], capsys, "outside [0, 1]", "likelihood=gaussian")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_directory_that_cannot_be_written(capsys, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    fails(["train", "digits", "--out", str(tmp_path / "locked" / "run")], capsys, "cannot be made")


def test_an_output_directory_below_a_file(capsys) -> None:
    Path("file").write_text("")
    fails(["train", "digits", "--out", "file/run"], capsys, "file/run")


@pytest.mark.parametrize("text", ["", "3", "data: {}", "data: [1]\nmodel: {}\ntraining: {}", "{", "a: b: c"])
def test_a_configuration_that_is_not_one(capsys, text: str) -> None:
    Path("c.yaml").write_text(text)
    fails(["train", "--config", "c.yaml"], capsys, "c.yaml")


def test_diverging_exits_with_1_and_names_the_term(capsys) -> None:
    arguments = ["train", "swiss-roll:n=300", "--model", "vae", "--set", "likelihood=gaussian", "--out", "run"]
    assert main([*arguments, "--set", "learning_rate=1e30", "--set", "warmup=0"]) == 1
    assert "became NaN or infinite in epoch 1" in capsys.readouterr().err.splitlines()[-1]
