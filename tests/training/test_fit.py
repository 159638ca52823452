"""The training loop: what it writes, when it stops, and what it says when something is wrong."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import yaml

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.errors import DivergedError, UserError
from labelspace.models.base import Model
from labelspace.storage import files, tensorfiles
from labelspace.training import loop
from labelspace.training.options import Options
from labelspace.training.run import Run


def roll(n: int = 300) -> Dataset:
    return ls.open(f"swiss-roll:n={n}")


def new(data: Dataset, name: str = "lsvae", **arguments) -> Model:
    torch.manual_seed(0)
    return ls.build(name, data, **arguments)


def test_a_run_directory_holds_everything(tmp_path) -> None:
    data = roll()
    ls.fit(new(data), data, epochs=2, out=tmp_path / "run")
    home = tmp_path / "run"
    for name in ("config.yaml", "schema.json", "config.json", "model.safetensors", "metrics.jsonl", "environment.json"):
        assert (home / name).exists(), name
    config = yaml.safe_load((home / "config.yaml").read_text())
    assert config["data"] == {"address": "swiss-roll:n=300", "labels": ["side"], "seed": 0, "supervision": 1.0}
    assert config["training"]["epochs"] == 2
    rows = [json.loads(line) for line in (home / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert "reconstruction" in rows[0]["train"]
    assert "kl_w.side" in rows[0]["val"]
    assert not list(home.rglob(".*-*")), "temporary files were left"


def test_the_best_model_is_kept_not_the_last(tmp_path) -> None:
    data = roll()
    model = new(data, "vae", likelihood="gaussian")
    fitted = ls.fit(model, data, epochs=3, learning_rate=3e-3, out=tmp_path / "run")
    rows = Run(tmp_path / "run").metrics()
    assert fitted.best_score == min(row["score"] for row in rows)
    assert fitted.best_epoch == min(rows, key=lambda row: row["score"])["epoch"]


def test_validation_is_on_the_validation_split() -> None:
    data = roll()
    spoiled = np.array(data.x)
    spoiled[data.rows("test")] = 1e6
    other = Dataset(**{**vars(data), "x": spoiled})
    a, b = (ls.fit(new(d), d, epochs=1).best_score for d in (data, other))
    assert a == b


def test_early_stopping_says_why() -> None:
    data = roll()
    fitted = ls.fit(new(data, "vae", likelihood="gaussian"), data, epochs=50, patience=2, learning_rate=1e-12, warmup=0)
    assert "stopped early" in fitted.reason
    assert "no better validation score in 2 epochs" in fitted.reason


def test_a_directory_with_a_run_is_not_overwritten(tmp_path) -> None:
    data = roll()
    ls.fit(new(data), data, epochs=1, out=tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="resume="):
        ls.fit(new(data), data, epochs=1, out=tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_resuming_nothing_is_refused(tmp_path) -> None:
    data = roll()
    with pytest.raises(UserError, match="no run to resume"):
        ls.fit(new(data), data, epochs=1, out=tmp_path / "none", resume=True)


def test_a_model_for_other_data_is_refused() -> None:
    with pytest.raises(UserError, match="was built for"):
        ls.fit(new(roll()), ls.open("digits"), epochs=1)


def test_an_unknown_option_is_suggested() -> None:
    data = roll()
    with pytest.raises(UserError, match="did you mean 'learning_rate'"):
        ls.fit(new(data), data, learning_rat=0.1)


@pytest.mark.parametrize("options", [{"epochs": -1}, {"batch_size": 0}, {"learning_rate": 0.0}, {"decay": 2.0}])
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(UserError):
        Options(**options)


def test_learning_rate_rises_stays_and_falls() -> None:
    options = Options(warmup=10, decay=0.5, floor=0.1)
    pace = [options.pace(step, 100) for step in range(100)]
    assert pace[0] == pytest.approx(0.1)
    assert pace[30] == 1.0
    assert pace[99] == pytest.approx(0.1, abs=0.01)
    assert pace[50:] == sorted(pace[50:], reverse=True)


def test_nan_in_a_weight_names_term_step_and_checkpoint(tmp_path) -> None:
    data = roll()
    model = new(data, "vae", likelihood="gaussian")
    ls.fit(model, data, epochs=1, out=tmp_path / "run")
    losses = model.losses

    def spoiled(batch, generator):
        found = losses(batch, generator)
        objective = found.objectives["model"]

        def bad():
            terms = objective()
            if model.epoch >= 1.0:
                terms["kl_z"] = terms["kl_z"] * math.nan
            return terms

        found.objectives["model"] = bad
        return found

    model.losses = spoiled  # type: ignore[method-assign]
    with pytest.raises(
        DivergedError, match=r"term 'kl_z' became NaN or infinite in epoch 2, step 1; so .* the last good checkpoint is"
    ):
        ls.fit(model, data, epochs=3, out=tmp_path / "other")
    found = Run(tmp_path / "other").read_checkpoint()
    assert found is not None
    assert all(
        bool(torch.isfinite(t).all()) for name, t in found[0].items() if name.startswith("model.") and "points" not in name
    )


def test_gradients_are_clipped_after_backward() -> None:
    data = roll()
    model = new(data, "vae", likelihood="gaussian", scale=1e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    ls.fit(model, data, epochs=1, batch_size=240, clip=1e-30, warmup=0)
    moved = max(float((p.detach() - before[name]).abs().max()) for name, p in model.named_parameters())
    assert moved < 1e-4, "a gradient clipped to nothing moves nothing (Adam's epsilon sees to it)"


def test_disk_full_keeps_the_previous_checkpoint(tmp_path, monkeypatch) -> None:
    data = roll()
    run = tmp_path / "run"
    written: list[str] = []
    write = files.write

    def full(path, content, kept=None):
        if path.name == "last.safetensors" and written.count("last.safetensors") == 1:
            raise UserError(f"{path} could not be written: No space left on device")
        written.append(path.name)
        write(path, content, kept)

    monkeypatch.setattr(files, "write", full)
    monkeypatch.setattr(loop, "_WRITING", math.inf)  # after every epoch
    with pytest.raises(UserError, match="No space left"):
        ls.fit(new(data), data, epochs=3, out=run)
    monkeypatch.undo()
    found = Run(run).read_checkpoint()
    assert found is not None
    assert found[1]["batches"] == {"epoch": 1, "position": 0}


def test_short_epochs_write_now_and_then_and_end_with_the_best_all_the_same(tmp_path, monkeypatch) -> None:
    data, written = roll(), []
    write = files.write
    monkeypatch.setattr(files, "write", lambda path, *rest: (written.append(path.name), write(path, *rest))[1])
    monkeypatch.setattr(loop, "_WRITING", 1e-9)  # the first and the last
    now_and_then = ls.fit(new(data), data, epochs=6, out=tmp_path / "few")
    assert written.count("last.safetensors") == 2
    monkeypatch.setattr(loop, "_WRITING", math.inf)
    always = ls.fit(new(data), data, epochs=6, out=tmp_path / "all")
    assert written.count("last.safetensors") == 2 + 6
    assert now_and_then.best_epoch == always.best_epoch
    a, b = (tensorfiles.read(tmp_path / name / "model.safetensors")[0] for name in ("few", "all"))
    assert all(torch.equal(tensor.nan_to_num(), b[name].nan_to_num()) for name, tensor in a.items())
    (few, plain), (every, _) = (Run(tmp_path / name).read_checkpoint() for name in ("few", "all"))  # type: ignore[misc]
    assert plain["rows"] == 6
    assert all(torch.equal(tensor.nan_to_num(), every[name].nan_to_num()) for name, tensor in few.items())


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch) -> None:
    target = tmp_path / "file"
    files.write(target, "old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(UserError, match="No space left on device; the file that was there is kept"):
        files.write(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_model_trains_in_anyones_loop() -> None:
    data = roll()
    model = new(data).train()
    from labelspace.data.batches import Batches

    generator = torch.Generator().manual_seed(0)
    players = model.players()
    optimizers = {name: torch.optim.Adam(player.parameters, 1e-3) for name, player in players.items()}
    for batch in Batches(data, "train", 64):
        losses = model.losses(batch, generator)
        for name, optimizer in optimizers.items():
            optimizer.zero_grad()
            losses.objective(name).backward()
            optimizer.step()
        model.adapt(losses)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_a_resumed_run_keeps_its_settings(tmp_path) -> None:
    data = roll()
    ls.fit(new(data), data, epochs=1, out=tmp_path / "run")
    with pytest.raises(UserError, match="was started with epochs=1, not 2"):
        ls.fit(new(data), data, epochs=2, out=tmp_path / "run", resume=True)


def test_metrics_say_which_terms_the_model_does_not_feel(tmp_path) -> None:
    data = ls.open("swiss-roll:n=200")
    ls.fit(ls.build("lsvae", data), data, epochs=1, out=tmp_path / "run")
    assert sorted(Run(tmp_path / "run").metrics()[-1]["readers"]) == [
        "adversary",
        "adversary_chance",
        "block_adversary",
        "block_adversary_chance",
        "label_head",
    ]
