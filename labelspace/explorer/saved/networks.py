"""A model's networks for a saved page: ONNX graphs of one sample, as exact as there is room for, checked against PyTorch."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labelspace.blocks import Latents
from labelspace.errors import UserError
from labelspace.export import onnx as exporting
from labelspace.likelihoods.base import DataDistribution
from labelspace.models.base import Model

TOLERANCE = 3e-4  # of what a page may differ from PyTorch (1e-3) by rounded weights of one network
_LARGE = 1024  # entries of a weight from which on it is rounded
_LEVELS = (2047, 8191, 32767)  # that weights are rounded to, the coarsest first


@dataclass(frozen=True)
class Networks:
    """Graphs by name: ``encoder``, ``decoder``, ``detail`` (what an edit keeps of a sample) and, of models that read
    labels by a head, ``classifier``.

    Attributes:
        graphs: the content of an ONNX file each.
        small: the same with large weights rounded as far as they may be; without those that may not.
    """

    graphs: dict[str, bytes]
    small: dict[str, bytes]


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


def make(model: Model, x: Tensor, tell: Callable[[str], None] = lambda _: None) -> Networks:
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
    wanted = {graph.name: graph for graph in exporting.graphs(model, edits=True)}
    wanted.pop("prior", None)
    if type(model).label_distribution is Model.label_distribution:  # trying every value is no head
        wanted.pop("classifier", None)
    wanted["detail"] = exporting.Graph("detail", ("x", "before", "after"), ("kept",), _Detail(model))
    graphs, small = {}, {}
    for name, graph in wanted.items():
        tell(name)
        given = _given(model, graph, x)
        graphs[name] = _pruned(exporting.written(graph, given))
        exporting.difference(graph, _session(runtime, graphs[name]), given, exporting.tolerance(graph, given))
        for levels in _LEVELS:
            rounded = _rounded(graphs[name], levels)
            with contextlib.suppress(UserError):  # weights need more digits
                exporting.difference(graph, _session(runtime, rounded), given, TOLERANCE)
                small[name] = rounded
                break
    return Networks(graphs, small)


def _session(runtime: Any, content: bytes) -> Any:
    return runtime.InferenceSession(content, providers=["CPUExecutionProvider"])


@torch.no_grad()
def _given(model: Model, graph: exporting.Graph, x: Tensor) -> tuple[Tensor, ...]:
    if graph.name != "detail":
        return exporting.inputs_of(model, graph, x)[-1]
    means = [model.decode(model.new_codes(model.label_marginal(len(x)).mode())).mean for _ in range(2)]
    return (x, *means)


def _rounded(content: bytes, levels: int) -> bytes:
    """A graph whose large weights are stored as whole numbers up to ``levels`` times a factor for each output; it computes in
    single precision all the same. High and low bytes are apart, as gzip likes them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(content)
    graph, first = model.graph, []
    for weight in [w for w in graph.initializer if w.data_type == TensorProto.FLOAT]:
        values, name = numpy_helper.to_array(weight), weight.name
        if values.size < _LARGE or values.ndim < 2:
            continue
        factor = np.abs(values).max(tuple(range(1, values.ndim)), keepdims=True) / levels
        factor[factor == 0] = 1.0
        whole = np.round(values / factor).astype(np.int16)
        graph.initializer.remove(weight)
        stored = {
            "high": (whole >> 8).astype(np.int8),
            "low": (whole & 255).astype(np.uint8),
            "factor": factor.astype(np.float32),
        }
        graph.initializer.extend(numpy_helper.from_array(part, f"{name}.{what}") for what, part in stored.items())
        first += [
            helper.make_node("Cast", [f"{name}.high"], [f"{name}.h"], to=TensorProto.FLOAT),
            helper.make_node("Cast", [f"{name}.low"], [f"{name}.l"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.h", "byte"], [f"{name}.b"]),
            helper.make_node("Add", [f"{name}.b", f"{name}.l"], [f"{name}.w"]),
            helper.make_node("Mul", [f"{name}.w", f"{name}.factor"], [name]),
        ]
    if not first:
        return content
    graph.initializer.append(numpy_helper.from_array(np.array(256, np.float32), "byte"))
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


def _pruned(content: bytes) -> bytes:
    """A graph without the rows of linear layers that make deviations, which nobody asks for."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(content)
    graph = model.graph
    uses = Counter(name for node in graph.node for name in node.input) + Counter(port.name for port in graph.output)
    made = {name: node for node in graph.node for name in node.output}
    weights = {weight.name: weight for weight in graph.initializer}
    for place, node in enumerate(graph.node):
        layer = made.get(node.input[0]) if node.op_type == "Split" and len(node.input) == 1 else None
        alive = [i for i, name in enumerate(node.output) if uses[name]]
        if layer is None or layer.op_type != "Gemm" or len(alive) != 1 or uses[node.input[0]] != 1:
            continue
        if not all(name in weights and uses[name] == 1 for name in layer.input[1:]):
            continue
        if {a.name: a.i for a in layer.attribute}.get("transB") != 1:
            continue
        for name in layer.input[1:]:
            rows = np.array_split(numpy_helper.to_array(weights[name]), len(node.output))[alive[0]]
            weights[name].CopyFrom(numpy_helper.from_array(rows, name))
        graph.node[place].CopyFrom(helper.make_node("Identity", [node.input[0]], [node.output[alive[0]]]))
    del graph.value_info[:]  # of shapes that are others now
    return model.SerializeToString()
