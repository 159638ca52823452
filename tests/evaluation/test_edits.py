"""The table of the demo, on a model whose edits are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.evaluation import edits
from labelspace.evaluation.judge import Judge
from labelspace.evaluation.probing import said
from labelspace.models.base import Model
from labelspace.models.networks import Network

pytest.importorskip("skia")
pytest.importorskip("python_avatars")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return ls.open("faces:n=120,size=16", ["Eyeglasses", "Smiling"])


@pytest.fixture(scope="module")
def model(data: Dataset) -> Model:
    torch.manual_seed(0)
    return ls.build("lsvae", data, latent=4, network=Network(width=8)).eval()


def test_flipping_changes_every_label_to_its_other_value(model: Model, data: Dataset) -> None:
    rows = data.rows("train")[:12]
    edited, wanted = edits.flip(model, data, rows, "Smiling", keep_detail=False)
    assert edited.shape == (12, 3, 16, 16)
    assert torch.equal(wanted, 1 - data.labels(rows)[0][:, 1])


def test_the_table_has_every_figure_with_its_interval(model: Model, data: Dataset) -> None:
    judge = Judge(data.shape, data.schema).eval()
    found = edits.measure(model, data, judge, split="train", most=12)
    assert found["samples"] == 12
    for label, other in (("Eyeglasses", "Smiling"), ("Smiling", "Eyeglasses")):
        for mode in ("plain", "keep_detail"):
            row = found["labels"][label][mode]
            assert 0 <= row["judge"]["low"] <= row["judge"]["value"] <= row["judge"]["high"] <= 1
            assert set(row["kept"]) == {other}
            assert row["error"]["all"]["ratio"] > 0
        leak = found["leakage"][label]
        assert {"free", "own", "own_hidden", f"other.{other}"} <= set(leak)
        assert said(leak["own"], "means")["value"] > 0.95, "q(w | x, y) sees y, so even an untrained model's own block tells it"
        assert set(leak["free"]) == {"draws", "means"}


def test_doing_nothing_has_ratio_one(model: Model, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = data.rows("train")[:10]
    wanted = 1 - data.labels(rows)[0][:, 0]
    monkeypatch.setattr(edits, "flip", lambda *_, **__: (data.samples(rows), wanted))
    found = edits.measure_label(model, data, Judge(data.shape, data.schema).eval(), rows, "Eyeglasses")
    assert found["plain"]["error"]["all"]["ratio"] == pytest.approx(1.0)
    assert found["plain"]["kept"]["Smiling"]["value"] == 1.0


def test_a_perfect_transfer_is_nearest_to_the_donors_style(
    model: Model, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = data.rows("train")[:40]

    def perfect(model, x, donor, label, labels, donor_labels, keep_detail):
        values = data.labels(rows)[0][:, 0].numpy()
        takers, donors = rows[values == 0], rows[values == 1]
        chosen = donors[np.random.default_rng(0).integers(0, len(donors), len(takers))]
        truths, _ = data.counterfactuals("Eyeglasses", 1, takers)
        return SimpleNamespace(x=truths[torch.arange(len(takers)), torch.from_numpy(data.style("Eyeglasses", chosen))])

    monkeypatch.setattr(edits.interventions, "transfer", perfect)
    assert edits.donor_transfer(model, data, rows, "Eyeglasses").value == 1.0


@pytest.mark.slow
def test_the_quick_demo_runs_to_its_end(tmp_path, capsys) -> None:
    from labelspace.cli import main

    assert main(["demo", "--quick", "--out", str(tmp_path / "demo"), "--json"]) == 0
    assert (tmp_path / "demo" / "demo.json").exists()
    assert (tmp_path / "demo" / "figures" / "demo.png").exists()
    capsys.readouterr()
