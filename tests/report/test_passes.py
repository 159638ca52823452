"""The picture that grows while a model trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.reporting.passes import Passes

pytest.importorskip("python_avatars")  # which draws the faces

LABELS = ("Eyeglasses", "Beard")


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return ls.open("faces:n=80,size=16", labels=LABELS)


def trained(data: Dataset, path: Path | None, epochs: int = 2) -> tuple[ls.Model, Passes | None]:
    torch.manual_seed(0)
    model = ls.build("lsvae", data, latent=4, subspace=2)
    passes = Passes(model, data, path, LABELS) if path else None
    ls.fit(model, data, epochs=epochs, callbacks=[passes] if passes else [], progress=False, batch_size=64)
    return model, passes


def test_a_row_for_every_pass_and_training_is_the_same(faces: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "figures" / "passes.png"
    watched, passes = trained(faces, path)
    alone, _ = trained(faces, None)
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), watched.state_dict()[name].nan_to_num()), name
    assert passes is not None
    assert [name for name, _ in passes.rows] == ["samples, donors", "pass 1", "pass 2"]
    with Image.open(path) as image:
        assert image.getextrema() != ((255, 255),) * 3


def test_donors_have_another_value(faces: Dataset, tmp_path: Path) -> None:
    passes = Passes(ls.build("lsvae", faces, latent=4, subspace=2), faces, tmp_path / "passes.png", LABELS)
    for i, (_, (values, _)) in enumerate(passes.donors):
        assert (values[:, i] != passes.labels[0][:, i]).all()


def test_of_many_passes_some_are_left_out_and_the_last_is_there(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelspace.reporting.passes._MOST", 4)
    passes = Passes(ls.build("lsvae", faces, latent=4, subspace=2), faces, tmp_path / "passes.png", LABELS)
    for epoch in range(1, 11):
        passes.epoch({"epoch": epoch})
        shown = [name for name, _ in passes.rows]
        assert len(shown) <= 5
        assert shown[:2] == ["samples, donors", "pass 1"]
        assert shown[-1] == f"pass {epoch}"
        numbers = [int(name.split()[1]) for name in shown[1:]]
        assert numbers == sorted(set(numbers))
