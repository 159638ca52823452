"""The command line as a new user meets it: in an empty directory, with right and with wrong input."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelspace.cli import main
from labelspace.commands import edit
from labelspace.errors import UserError
from labelspace.speed import floor, using
from labelspace.speed.training import noise
from labelspace.training.run import Run

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("runs") / "digits"
    code = main(["train", "digits", "--epochs", "1", "--out", str(home), "--set", "network.width=8", "--set", "batch_size=256"])
    assert code == 0
    return home


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_is_quick_and_imports_nothing_heavy(alone: Callable[..., str]) -> None:
    code = (
        "import sys, time; from labelspace.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, time.process_time())"
    )
    heavy, seconds = alone(code).split()[-2:]
    assert heavy == "False"
    assert float(seconds) < 2


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


def test_a_walk_without_the_data_says_which_coordinates_it_takes(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: Run, data: object = None) -> None:
        raise UserError("they are gone")

    assert main(["edit", str(run), "test:0", "--set", "digit=3", "--out", "three.png"]) == 0
    monkeypatch.setattr(edit, "open_data", gone)
    assert main(["traverse", str(run), "three.png", "--label", "digit", "--steps", "2", "--out", "w.png", "--json"]) == 0
    said = capsys.readouterr()
    assert "first two coordinates of w.digit" in said.out + said.err
    assert "they are gone" in said.out + said.err


def test_embed_and_predict(run: Path, capsys) -> None:
    assert main(["embed", str(run), "digits", "--out", "codes.npz"]) == 0
    with np.load("codes.npz") as codes:
        assert codes["z"].shape[0] == 1797
        assert codes["w.digit"].shape == (1797, 80)
        assert codes["label.digit"][0] == "0"
        assert set(codes["split"]) == {"train", "val", "test"}
    assert main(["predict", str(run), "digits", "--out", "p.csv"]) == 0
    with open("p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1797
    assert sum(float(rows[0][f"digit:{d}"]) for d in range(10)) == pytest.approx(1, abs=1e-4)
    capsys.readouterr()


def test_train_takes_its_own_configuration_back(run: Path, tmp_path: Path) -> None:
    assert main(["train", "--config", str(run / "config.yaml"), "--out", "again", "--no-report"]) == 0
    assert (tmp_path / "again" / "config.yaml").read_text() == (run / "config.yaml").read_text()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_lists(capsys) -> None:
    for arguments, key in ((["models", "--json"], "lsvae"), (["data", "list", "--json"], "faces")):
        assert main(arguments) == 0
        assert key in capsys.readouterr().out
    assert main(["data", "inspect", "digits"]) == 0
    assert "1,797 samples" in capsys.readouterr().out


def test_wrong_commands_and_names(run: Path, fails) -> None:
    fails(["trian"], "unknown command 'trian'", "did you mean 'train'")
    fails(["train"], "which data")
    fails(["train", "digts"], "unknown data address 'digts'", "did you mean 'digits'")
    fails(["train", "digits", "--model", "csva"], "unknown model 'csva'", "did you mean 'csvae'")
    fails(["train", "digits", "--labels", "digt"], "unknown label 'digt'", "did you mean 'digit'")
    fails(["train", "digits", "--set", "latnt=3"], "did you mean 'latent'")
    fails(["train", "digits", "--set", "latent=many"], "latent", "many")
    fails(["train", "digits", "--epochs", "few"], "invalid int value")
    fails(["train", "digits", "--out", str(run)], "already holds a run", "--resume")
    fails(["train", "--resume", "--out", "nothing"], "no run to resume")
    fails(["train", "--resume", "--out", str(run), "--epochs", "9"], "keeps its settings")
    fails(["train", "mnist:nowhere"], "no such directory")
    fails(["train", "digits", "--config", "nowhere.yaml"], "no such file")
    fails(["data", "inspect"], "needs an address")


def test_wrong_edits(run: Path, fails) -> None:
    fails(["edit", str(run), "test:0", "--set", "digt=3"], "did you mean 'digit'")
    fails(["edit", str(run), "test:0", "--set", "digit=12"], "unknown class")
    fails(["edit", str(run), "test:0", "--set", "digit"], "not of the form")
    fails(["edit", str(run), "test:9999", "--set", "digit=1"], "there is no sample")
    fails(["edit", str(run), "nowhere.png", "--set", "digit=1"], "no such image")
    fails(["edit", "nowhere", "test:0", "--set", "digit=1"], "no such directory")
    fails(["edit", str(run), "test:0", "--set", "digit=1", "--out", "a.docx"], "cannot be written")
    fails(["traverse", str(run), "--label", "size"], "unknown label 'size'")
    fails(["traverse", str(run), "--label", "digit", "--coordinates", "a"], "one or two numbers")
    Path("broken.png").write_bytes(b"not an image")
    fails(["edit", str(run), "broken.png", "--set", "digit=1"], "broken.png cannot be read as an image")
    fails(["embed", str(run), "swiss-roll", "--out", "e.npz"], "the model takes (1, 8, 8)")


def test_values_outside_the_likelihoods_range(fails) -> None:
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(100, 4)), y=np.arange(100) % 2)
    fails(["train", "npz:x.npz", "--set", "likelihood=bernoulli"], "outside [0, 1]", "likelihood=gaussian")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_directory_that_cannot_be_written(tmp_path: Path, fails) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    fails(["train", "digits", "--out", str(tmp_path / "locked" / "run")], "cannot be made")


def test_an_output_directory_below_a_file(fails) -> None:
    Path("file").write_text("")
    fails(["train", "digits", "--out", "file/run"], "file/run")


@pytest.mark.parametrize("text", ["", "3", "data: {}", "data: [1]\nmodel: {}\ntraining: {}", "{", "a: b: c"])
def test_a_configuration_that_is_not_one(text: str, fails) -> None:
    Path("c.yaml").write_text(text)
    fails(["train", "--config", "c.yaml"], "c.yaml")


def test_diverging_exits_with_1_and_names_the_term(capsys) -> None:
    arguments = ["train", "swiss-roll:n=300", "--model", "vae", "--set", "likelihood=gaussian", "--out", "run", "--no-report"]
    assert main([*arguments, "--set", "learning_rate=1e30", "--set", "warmup=0"]) == 1
    assert "became NaN or infinite in epoch 1" in capsys.readouterr().err.splitlines()[-1]


# -- few labels, warm starts, holes, comparisons ----------------------------------------------------------------------

_SMALL = ["--set", "network.width=8", "--set", "batch_size=256"]
_UNREPORTED = [*_SMALL, "--no-report"]  # pages take seconds: tests/report


def test_supervision_hides_labels_and_is_kept_by_resume_and_config(capsys, fails) -> None:
    arguments = ["train", "digits", "--model", "ccvae", "--epochs", "1", *_UNREPORTED]
    assert main([*arguments, "--supervision", "0.1", "--out", "a"]) == 0
    assert "labels of 144 of 1,437 training samples are used (supervision 0.1, seed 0)" in " ".join(
        capsys.readouterr().err.split()
    )
    assert "supervision: 0.1" in Path("a/config.yaml").read_text()
    assert main(["train", "--config", "a/config.yaml", "--out", "b", "--no-report"]) == 0
    assert "supervision: 0.1" in Path("b/config.yaml").read_text()
    assert main(["train", "--resume", "--out", "a", "--no-report"]) == 0
    fails(["train", "--resume", "--out", "a", "--supervision", "0.5"], "--supervision 0.1, not 0.5")
    fails([*arguments, "--supervision", "1.5", "--out", "c"], "above 0 up to 1", "1.5")
    fails([*arguments, "--supervision", "0.003", "--out", "c"], "label 'digit'")


def test_init_from_says_what_it_took(run: Path, capsys, fails) -> None:
    assert (
        main(["train", "digits", "--model", "vae", "--epochs", "1", *_UNREPORTED, "--out", "vae", "--init-from", str(run)]) == 0
    )
    said = capsys.readouterr().err
    assert "taken: likelihood, trunk (" in said
    assert "not taken, shape" in said
    assert "init_from:" in Path("vae/config.yaml").read_text()
    fails(["train", "digits", "--epochs", "1", "--out", "x", "--init-from", "nowhere"], "holds no model to start from")


def test_inpaint_writes_a_picture(run: Path, capsys, fails) -> None:
    assert main(["inpaint", str(run), "test:0", "--hole", "2,2,3,4", "--out", "whole.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["options"]["hole"] == pytest.approx(12 / 64)
    assert Path("whole.png").stat().st_size > 0
    fails(["inpaint", str(run), "test:0", "--hole", "6,6,4,4"], "does not lie inside", "8 x 8")
    fails(["inpaint", str(run), "test:0", "--hole", "two"], "LEFT,TOP,WIDTH,HEIGHT")


def test_compare_trains_models_and_keeps_finished_runs(capsys, fails) -> None:
    arguments = ["compare", "digits", "--models", "condvae,ccvae,lr-livae,classifier", "--epochs", "1", *_SMALL, "--out", "cmp"]
    assert main([*arguments, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [r["model"] for r in first["runs"]] == ["condvae", "ccvae", "lr-livae", "classifier"]
    for row in first["runs"]:
        assert 0 <= row["accuracy"]["digit"]["value"] <= 1
        if row["model"] != "classifier":
            assert row["edits"]["digit"]["judge"]["n"] == 180
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "predicts digit" in " ".join(out.split()) or "predicts" in out
    assert Path("cmp/table.md").read_text().count("|\n") == 6
    assert json.loads(Path("cmp/results.json").read_text())["runs"][:3] == first["runs"][:3]
    fails([*arguments, "--set", "latent=3"], "other settings", "--out")
    fails(["compare", "digits", "--models", "vae", "--epochs", "-1", "--out", "none"], "epochs must be at least 0")
    assert not Path("none").exists()
    fails(["compare", "digits", "--models", "cvae"], "unknown model 'cvae'")
    fails(["compare", "digits", "--models", "vae", "--set", "latnet=3"], "'latnet'", "latent")


def test_compare_says_which_models_do_not_take_the_labels(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "dose.npz", x=rng.normal(size=(120, 4)), dose=rng.normal(size=120), on=rng.integers(0, 2, 120))
    models = ["--models", "condvae,lr-livae", "--epochs", "1", *_SMALL]
    assert main(["compare", f"npz:{tmp_path / 'dose.npz'}", *models, "--out", "cmp"]) == 0
    assert "lr-livae is left out: LrLiVAE takes binary and categorical labels; 'dose' is continuous" in capsys.readouterr().out


def test_a_resumed_run_that_was_cut_before_its_first_checkpoint_starts_from_where_it_was_to_start(run: Path, capsys) -> None:
    arguments = ["train", "digits", "--model", "vae", "--epochs", "1", *_UNREPORTED, "--out", "warm", "--init-from", str(run)]
    assert main(arguments) == 0
    whole = Path("warm/model.safetensors").read_bytes()
    for name in ("checkpoint/last.safetensors", "metrics.jsonl", "model.safetensors", "config.json", "schema.json"):
        Path("warm", name).unlink()  # only config.yaml and environment.json were written yet
    capsys.readouterr()
    assert main(["train", "--resume", "--out", "warm", "--no-report"]) == 0
    assert "taken: likelihood, trunk (" in capsys.readouterr().err
    assert Path("warm/model.safetensors").read_bytes() == whole


def test_predicting_asks_nothing_of_the_labels_of_new_data(run: Path, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "new.npz", x=rng.random((2, 1, 8, 8)).astype(np.float32), note=np.array(["a", "b"]))
    assert main(["predict", str(run), f"npz:{tmp_path / 'new.npz'}"]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 3


@pytest.mark.parametrize(
    ("setting", "said"),
    [("latent=0", "at least one coordinate"), ("subspace=-1", "at least one coordinate"), ("adversary_steps=0", "at least 1")],
)
def test_sizes_that_cannot_be_are_refused(setting: str, said: str, fails) -> None:
    fails(["train", "swiss-roll:n=200", "--set", setting, "--out", "no"], said)


def test_a_wrong_choice_is_named_for_what_it_is(run: Path, fails) -> None:
    fails(["edit", str(run), "test:0", "--set", "digit=1", "--point", "typicla"], "--point", "typical")


def bench() -> Path:
    """The file of figures of this processor."""
    (found,) = Path("speed").glob("bench-*.json")
    return found


def test_bench_measures_and_writes_what_it_prints(capsys, fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor, "_SIDE", 64)  # products of the full size take minutes without bfloat16 in the processor
    monkeypatch.setattr(using, "noise", lambda shape, labels, n: noise((3, 8, 8), labels, n))
    assert main(["bench", "--quick", "--only", "f", "--rounds", "1", "--out", "speed", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(bench().read_text())
    assert found["workloads"]["f"]["models"]["lsvae"]["median"] > 0
    assert "one edit of one face" in bench().with_suffix(".md").read_text()
    kept = {**found, "workloads": {"z": {**found["workloads"]["f"], "title": "an earlier one"}}}
    bench().write_text(json.dumps(kept))
    assert main(["bench", "--quick", "--only", "f", "--rounds", "1", "--out", "speed"]) == 0
    assert list(json.loads(bench().read_text())["workloads"]) == ["f", "z"]
    capsys.readouterr()
    fails(["bench", "--only", "z"], "unknown workload 'z'")
    fails(["bench", "--rounds", "0"], "--rounds must be at least 1, got 0")
