"""Models as ONNX graphs: the same numbers as PyTorch, described well enough to be used without this library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

import labelspace as ls
from labelspace.blocks import Latents
from labelspace.cli import main
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.export import onnx as exporting
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.likelihoods import Table
from labelspace.models import MODELS, model_class
from labelspace.models.base import Model
from labelspace.models.networks import Network

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

LABELS = (binary("a"), categorical("k", ("x", "y", "z")), continuous("c", 2.0, 3.0))


def make(name: str, shape: tuple[int, ...], kinds: int = 3, likelihood: str = "gaussian") -> tuple[Model, Dataset]:
    schema = Schema(label for label in LABELS[:kinds] if label.kind in model_class(name).label_kinds)
    rng, n = np.random.default_rng(0), 30
    values = np.stack([rng.permutation(np.arange(n) % max(2, len(label.values))) for label in schema], 1).astype(np.float32)
    x = (
        rng.integers(0, 256, (n, *shape)).astype(np.uint8)
        if len(shape) == 3
        else rng.normal(size=(n, *shape)).astype(np.float32)
    )
    if likelihood == "negative-binomial":
        x = rng.poisson(3, (n, *shape)).astype(np.float32)
    if likelihood.startswith("table"):
        columns = (rng.lognormal(0, 2, n), rng.integers(0, 3, n), rng.poisson(3, n), rng.normal(size=n))
        x = np.stack(columns, 1).astype(np.float32)
        x[0, 0] = x[1, 2] = np.nan
    data = Dataset("made", x, values, np.ones(values.shape, bool), schema, random_splits(n, 0))
    torch.manual_seed(0)
    return ls.build(name, data, latent=3, network=Network(width=8, depth=1), likelihood=likelihood).eval(), data


def run(home: Path, graph: str, **given: Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(home / f"{graph}.onnx")
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, {name: tensor.numpy() for name, tensor in given.items()}), strict=True))


@pytest.mark.parametrize("kinds", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_graphs_do_what_the_model_does(kinds: int, tmp_path: Path, capfd) -> None:
    model, data = make("lsvae", (5,), kinds)
    about = exporting.export(model, tmp_path / "out", data.samples(range(10)))
    assert capfd.readouterr() == ("", "")
    home = tmp_path / "out"
    assert json.loads((home / "labelspace.json").read_text()) == about
    assert list(about["graphs"]) == ["encoder", "decoder", "prior", "classifier"]
    assert all(graph["largest difference from PyTorch"] <= 1e-4 for graph in about["graphs"].values())
    assert [label["name"] for label in about["labels"]] == ["a", "k", "c"][:kinds]
    for n in (1, 5):
        x, (values, _) = data.samples(range(n)), data.labels(range(n))
        for observed in (torch.zeros(n, kinds, dtype=torch.bool), torch.ones(n, kinds, dtype=torch.bool)):
            found, wanted = run(home, "encoder", x=x, values=values, observed=observed), model.encode(x, values, observed)
            for block in model.blocks:
                np.testing.assert_allclose(found[f"{block.name}.mean"], wanted[block.name].mean.detach(), atol=1e-5)
                np.testing.assert_allclose(found[f"{block.name}.scale"], wanted[block.name].scale.detach(), atol=1e-5)
        answer = model.predict(x).table()
        classes = run(home, "classifier", x=x)
        for label, columns in answer.items():
            np.testing.assert_allclose(classes[label], np.stack(list(columns.values()), 1), atol=1e-4)
        codes = {block.name: torch.randn(n, block.size) for block in model.blocks}
        mean = run(home, "decoder", **codes)["mean"]
        np.testing.assert_allclose(mean, model.decode(Latents(model.blocks, codes)).mean.detach(), atol=1e-5)


def test_an_encoder_that_does_not_read_labels_takes_x_alone(tmp_path: Path) -> None:
    model, data = make("vae", (1, 8, 8), 1)
    about = exporting.export(model, tmp_path / "out", data.samples(range(3)))
    assert list(about["graphs"]) == ["encoder", "decoder"]
    assert [port["name"] for port in about["graphs"]["encoder"]["inputs"]] == ["x"]
    assert about["graphs"]["decoder"]["outputs"][0]["shape"][1:] == [1, 8, 8]
    assert {domain: version for domain, version in opsets(tmp_path / "out" / "encoder.onnx").items() if domain == ""} == {
        "": about["opset"]
    }


def opsets(path: Path) -> dict[str, int]:
    import onnx

    return {entry.domain: entry.version for entry in onnx.load(path).opset_import}


def test_a_graph_that_differs_or_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails) -> None:
    model, _ = make("vae", (3,), 1)
    ls.save(model, tmp_path / "saved")
    monkeypatch.setattr(exporting, "tolerance", lambda graph, given: -1.0)
    with pytest.raises(ls.UserError, match="the encoder as ONNX differs from PyTorch"):
        exporting.export(model, tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(model.decoder, "forward", lambda code: code if bool(code.sum() > 0) else -code)
    with pytest.raises(ls.UserError, match="the decoder cannot be exported to ONNX"):
        exporting.export(model, tmp_path / "out")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["saved"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("")
    fails(["export", str(tmp_path / "saved"), "--to", "onnx", "--out", str(tmp_path / "out")], "holds other files")


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5,), (3, 13, 10)], ids=["vector", "image"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_can_be_exported(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    model, data = make(name, shape)
    about = exporting.export(model, tmp_path / "out", data.samples(range(12)))
    assert set(about["graphs"]) >= {"encoder", "decoder"}
    for graph, facts in about["graphs"].items():
        assert facts["largest difference from PyTorch"] <= (1e-3 if graph == "classifier" else 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("likelihood", "shape"),
    [
        ("negative-binomial", (4,)),
        ("table(continuous,categorical:3,count,continuous)", (4,)),
        ("bernoulli", (1, 8, 8)),
        ("laplace", (1, 8, 8)),
    ],
)
def test_labels_by_bayes_rule_are_exported_under_every_likelihood(
    likelihood: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    model, data = make("condvae-info", shape, 1, likelihood)
    if isinstance(model.likelihood, Table):
        model.likelihood.measure(data.samples(range(30)))
        assert model.likelihood.tails.bent.tolist() == [True, False]
    exporting.export(model, tmp_path / "out", data.samples(range(10)))
    x = data.samples(range(30))
    np.testing.assert_allclose(
        run(tmp_path / "out", "classifier", x=x)["a"][:, 1], list(model.predict(x).table()["a"].values())[1], atol=1e-4
    )


def test_functions_that_onnx_lacks_are_made_of_others() -> None:
    class Functions(torch.nn.Module):
        def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
            x, y = given
            return torch.lgamma(x.double()), torch.lgamma(x), torch.hypot(x, y), softplus(y.double()), softplus(y)

    graph = exporting.Graph("functions", ("x", "y"), ("a", "b", "c", "d", "e"), Functions())
    x = torch.cat([torch.logspace(-6, 8, 2000), torch.tensor([1.0, 2.0, 3.0, 1e8])])[:, None]
    y = torch.cat([torch.logspace(-30, 30, 2003), torch.zeros(1)])[:, None]
    session = onnxruntime.InferenceSession(exporting.written(graph, (x, y)))
    for found, wanted, near in zip(
        session.run(None, {"x": x.numpy(), "y": -y.numpy()}), graph.module(x, -y), (1e-12, 5e-6, 1e-6, 1e-12, 1e-6), strict=True
    ):
        assert found.dtype == wanted.numpy().dtype
        np.testing.assert_allclose(found, wanted, rtol=near, atol=near)


def test_what_rounding_may_do_is_let_pass() -> None:
    class Steep(torch.nn.Module):
        def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
            return (torch.sigmoid(3e4 * (given[0] - 1.1)),)

    def allowed(x: Tensor) -> float:
        return exporting.tolerance(exporting.Graph("steep", ("x",), ("p",), Steep()), (x,))

    step = torch.finfo(torch.float32).eps  # between two numbers in single precision, above 1
    assert allowed(torch.tensor([[1.1]])) == pytest.approx(4 * 0.25 * 3e4 * step, rel=0.05)
    assert allowed(torch.tensor([[1.2]])) == exporting.TOLERANCE, "as good as certain"
    assert allowed(torch.tensor([[1.0]])) == exporting.TOLERANCE, "a whole number, which may be a class"


@pytest.mark.slow
def test_counts_and_the_command(tmp_path: Path, capsys) -> None:
    model, _ = make("ccvae", (6,), 2, "negative-binomial")
    ls.save(model, tmp_path / "saved")
    assert main(["export", str(tmp_path / "saved"), "--to", "onnx", "--out", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["graphs"]["decoder"]["file"] == "decoder.onnx"


def test_what_is_not_a_number_differs_from_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def run(self, names, given):
            return [np.where(given["x"] > 0, np.nan, given["x"])]

    graph = exporting.Graph("decoder", ("x",), ("mean",), torch.nn.Identity())
    monkeypatch.setattr(graph.module, "forward", lambda x: (x,))
    with pytest.raises(ls.UserError, match="differs from PyTorch by inf in mean"):
        exporting.difference(graph, Session(), [torch.ones(7, 2)], exporting.TOLERANCE)
    both = torch.tensor([[-torch.inf, torch.nan]]).expand(7, 2)
    assert exporting.difference(graph, Session(), [both], exporting.TOLERANCE) == 0
