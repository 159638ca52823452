"""A model's networks for a saved page: ONNX graphs of one sample, as exact as there is room for, checked against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from labelspace.blocks import Latents
from labelspace.errors import UserError
from labelspace.export import onnx as exporting
from labelspace.likelihoods.base import DataDistribution
from labelspace.models.base import Model

TOLERANCE = 5e-4  # half of what a page may differ from PyTorch; the browser's arithmetic has the other half
_LARGE = 1024  # entries of a weight from which on it is halved


@dataclass(frozen=True)
class Networks:
    """Graphs by name: ``encoder``, ``decoder``, ``detail`` (what an edit keeps of a sample) and, of models that read
    labels by a head, ``classifier``.

    Attributes:
        graphs: the content of an ONNX file each.
        halves: the same with large weights in half precision; without those that differ too much then.
    """

    graphs: dict[str, bytes]
    halves: dict[str, bytes]


class _Mean(DataDistribution):
    """A distribution of which only the mean is known."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean


class _Detail(nn.Module):
    """What becomes of ``x``, described by ``before``, when ``after`` describes it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.likelihood = model.likelihood

    def forward(self, *given: Tensor) -> tuple[Tensor]:
        x, before, after = given
        return (self.likelihood.counterfactual(x, _Mean(before), _Mean(after)),)


def networks(model: Model, x: Tensor, tell: Callable[[str], None] = lambda _: None) -> Networks:
    """Makes the graphs.

    Args:
        model: a trained model.
        x: ``(n, *shape)`` samples of its data, that graphs are checked on.
        tell: told which graph is being made.

    Raises:
        UserError: ONNX is not installed; samples are described by more than a mean; or a graph cannot be made (it is named).
    """
    runtime = exporting.runtime()
    with torch.no_grad():
        described = model.decode(Latents(model.blocks, {b.name: torch.zeros(1, b.size) for b in model.blocks}))
    if type(described).mean_like is not DataDistribution.mean_like:
        raise UserError(f"a saved page shows pictures and tables; the {type(model.likelihood).__name__} likelihood needs more")
    wanted = {graph.name: graph for graph in exporting.graphs(model)}
    wanted.pop("prior", None)
    if type(model).label_distribution is Model.label_distribution:  # trying every value is no head
        wanted.pop("classifier", None)
    wanted["detail"] = exporting.Graph("detail", ("x", "before", "after"), ("kept",), _Detail(model))
    graphs, halves = {}, {}
    for name, graph in wanted.items():
        tell(name)
        given = _given(model, graph, x)
        graphs[name] = exporting.written(graph, given)
        exporting.difference(graph, _session(runtime, graphs[name]), given)
        try:
            halved = _halved(graphs[name])
            exporting.difference(graph, _session(runtime, halved), given, TOLERANCE)
            halves[name] = halved
        except UserError:  # weights need their digits
            continue
    return Networks(graphs, halves)


def _session(runtime: Any, content: bytes) -> Any:
    return runtime.InferenceSession(content, providers=["CPUExecutionProvider"])


@torch.no_grad()
def _given(model: Model, graph: exporting.Graph, x: Tensor) -> tuple[Tensor, ...]:
    if graph.name != "detail":
        return exporting.inputs_of(model, graph, x)[-1]
    means = [model.decode(model.new_codes(model.label_marginal(len(x)).mode())).mean for _ in range(2)]
    return (x, *means)


def _halved(content: bytes) -> bytes:
    """A graph whose large weights are stored in half precision; it computes in single precision all the same."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    for weight in [w for w in model.graph.initializer if w.data_type == TensorProto.FLOAT]:
        values = numpy_helper.to_array(weight)
        if values.size < _LARGE:
            continue
        stored = f"{weight.name}.half"
        model.graph.initializer.remove(weight)
        model.graph.initializer.append(numpy_helper.from_array(values.astype("float16"), stored))
        model.graph.node.insert(0, helper.make_node("Cast", [stored], [weight.name], to=TensorProto.FLOAT))
    return model.SerializeToString()
