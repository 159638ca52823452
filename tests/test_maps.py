"""Maps of latent blocks: projection and its inverse, axes, and where priors are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.errors import UserError
from labelspace.evaluation.probing import encoded
from labelspace.labels import Label, Schema, binary, categorical, continuous
from labelspace.maps import block_map, neighbour_map
from labelspace.models import MODELS, build, model_class

KINDS = (binary("a"), categorical("k", ("x", "y", "z")), continuous("t", 4.0, 2.0))


def tables(model: str) -> Dataset:
    """Sixty rows of noise with every kind of label that a model takes."""
    rng = np.random.default_rng(0)
    columns = {"a": rng.integers(0, 2, 60), "k": rng.integers(0, 3, 60), "t": rng.normal(4, 2, 60)}
    schema = Schema([label for label in KINDS if label.kind in model_class(model).label_kinds])
    values = np.stack([columns[label.name] for label in schema], 1).astype(np.float32)
    x = rng.normal(size=(60, 5)).astype(np.float32)
    return Dataset("made", x, values, np.ones_like(values, dtype=bool), schema, random_splits(60, 0))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_block_of_every_model_has_a_map(name: str) -> None:
    torch.manual_seed(0)
    data = tables(name)
    model = build(name, data, latent=4).eval()
    rows = np.arange(40)
    codes = encoded(model, data, rows)
    for block in model.blocks:
        found = block_map(model, data, block.name, codes, rows)
        k = min(2, block.size)
        assert found.points.shape == (40, k)
        assert len(found.names) == k
        torch.testing.assert_close(found.axes.T @ found.axes, torch.eye(k), atol=1e-5, rtol=0)
        torch.testing.assert_close(found.project(codes[block.name]), found.points, atol=1e-5, rtol=0)
        # a point that stays where it is changes nothing; one that is moved arrives, and the rest of the code is held
        torch.testing.assert_close(found.lift(found.points, codes[block.name]), codes[block.name], atol=1e-5, rtol=0)
        moved = found.lift(found.points + 1, codes[block.name])
        torch.testing.assert_close(found.project(moved), found.points + 1, atol=1e-4, rtol=0)
        label: Label | None = None if block.label is None else data.schema[block.label]
        shown = [spot.name for spot in found.priors]
        assert shown == (["prior"] if label is None else list(label.values) if label.discrete else shown)
        assert all(spot.covariance.shape == (k, k) for spot in found.priors)


def test_a_large_block_is_shown_along_its_principal_axes() -> None:
    data = tables("vae")
    model = build("vae", data, latent=5).eval()
    codes = encoded(model, data, np.arange(60))
    stretched = codes.replace(
        {"z": torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 9, 1, 4, 1])}
    )
    found = block_map(model, data, "z", stretched, np.arange(60))
    assert float(found.axes[1, 0].abs()) > 0.95
    assert float(found.axes[3, 1].abs()) > 0.9
    assert "%" in found.names[0]


def test_priors_of_csvae_are_where_its_paper_has_them() -> None:
    data = tables("lsvae")
    model = build("lsvae", data, subspace=2).eval()
    codes = encoded(model, data, np.arange(60))
    off, on = block_map(model, data, "w.a", codes, np.arange(60)).priors
    torch.testing.assert_close(off.mean, torch.zeros(2))
    torch.testing.assert_close(on.mean, torch.full((2,), 3.0))
    torch.testing.assert_close(off.covariance, 0.01 * torch.eye(2))
    assert block_map(model, data, "w.t", codes, np.arange(60)).priors[2].value == pytest.approx(
        float(np.median(data.values[data.rows("train"), 2]))
    )


def groups(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``n`` codes in six groups, which no plane tells apart: each is on an axis of its own; and their groups."""
    kinds = torch.arange(n) % 6
    noise = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))
    return 6 * torch.eye(6)[kinds] + noise, kinds


def alike(points: torch.Tensor, kinds: torch.Tensor) -> float:
    """The share of points whose nearest other point is of the same group."""
    away = torch.cdist(points, points).fill_diagonal_(float("inf"))
    return float((kinds[away.argmin(1)] == kinds).float().mean())


def test_neighbours_stay_together_where_a_plane_mixes_them() -> None:
    data = tables("vae")
    model = build("vae", data, latent=6).eval()
    code, kinds = groups(240)
    rows = np.arange(len(code)) % len(data)
    codes = encoded(model, data, rows).replace({"z": code})
    plane, found = block_map(model, data, "z", codes, rows), neighbour_map(model, "z", codes, rows)
    assert (plane.method, found.method) == ("PCA", "t-SNE")
    assert alike(plane.points, kinds) < 0.8 < 0.99 <= alike(found.points, kinds)
    assert torch.equal(found.points, neighbour_map(model, "z", codes, rows).points), "the same one every time"
    torch.testing.assert_close(found.project(code), found.points, atol=1e-3, rtol=0)  # each at its own place
    new, theirs = groups(300)[0][240:], groups(300)[1][240:]
    nearest = torch.cdist(found.project(new), found.points).argmin(1)
    assert float((kinds[nearest] == theirs).float().mean()) > 0.95, "others among those like them"


def test_codes_that_do_not_differ_have_no_neighbours() -> None:
    data = tables("vae")
    model = build("vae", data, latent=6).eval()
    codes = encoded(model, data, np.arange(60)).replace({"z": torch.ones(60, 6)})
    with pytest.raises(UserError, match="z: 60 codes with a spread of 0 have no map by t-SNE"):
        neighbour_map(model, "z", codes, np.arange(60))
