"""Models as ONNX graphs (extra ``export``), each checked against PyTorch before it is written.

===================  ==========================================================  ============================================
graph                inputs                                                      outputs
===================  ==========================================================  ============================================
``encoder.onnx``     ``x``, and ``values``, ``observed`` where labels are read   ``BLOCK.mean``, ``BLOCK.scale`` of each block
``decoder.onnx``     a code ``BLOCK`` for each block                             ``mean`` of p(x | codes)
``prior.onnx``       ``values``, ``observed``                                    ``BLOCK.mean``, ``BLOCK.scale`` of each block
``classifier.onnx``  ``x``                                                       ``LABEL`` for each label
===================  ==========================================================  ============================================

``values`` and ``observed`` are ``(n, labels)``, float32 and bool, as in :mod:`labelspace.labels`. An encoder that needs every
label predicts those that are not observed, as :meth:`labelspace.models.base.Model.encode` does; what it reads of labels it is
given. The classifier has, for a discrete label, the probability of every value ``(n, values)``; for a number, mean and standard
deviation in its own unit ``(n, 2)``. ``labelspace.json`` describes all of it. The first dimension is the batch, of any size.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labelspace import __version__
from labelspace.blocks import Latents, sample
from labelspace.data import paths
from labelspace.distributions import LOG_2PI, DiagonalGaussian
from labelspace.errors import UserError
from labelspace.interventions.coding import started
from labelspace.models import name_of
from labelspace.models.base import Model
from labelspace.storage import files

OPSET = 20
TOLERANCE = 1e-4  # of an output, relative to its size where that is above 1
SIZES = (1, 2, 7)  # batches that a graph is checked on
ABOUT = "labelspace.json"
# Of 1/x, 1/x^3, ... in Stirling's series of the logarithm of the gamma function.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


@dataclass(frozen=True)
class Graph:
    """One graph to be written.

    Attributes:
        name: of the file, without its ending.
        inputs: names of the inputs.
        outputs: names of the outputs.
        module: what computes the outputs from the inputs.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: nn.Module


class _Function(nn.Module):
    """A function of a model as a module, so that its parameters are found."""

    def __init__(self, model: Model, function: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return self.function(*given)


def graphs(model: Model, *, edits: bool = False) -> list[Graph]:
    """The graphs of a model; one without a q(y | x) has no classifier, one that is no model of labels no prior.

    Args:
        model: a trained model.
        edits: whether the encoder gives the codes that edits start from, as ``BLOCK.mean``, and no Gaussian has a ``scale``.
    """
    names = [block.name for block in model.blocks]
    kept = ("mean",) if edits else ("mean", "scale")
    gaussian = tuple(f"{name}.{part}" for name in names for part in kept)
    labelled = len(model.schema) > 0 and model.labelled

    def parts(latents: Latents[DiagonalGaussian]) -> tuple[Tensor, ...]:
        return tuple(getattr(latents[name], part) for name in names for part in kept)

    def encode(x: Tensor, values: Tensor | None = None, observed: Tensor | None = None) -> tuple[Tensor, ...]:
        if edits:
            codes, _ = started(model, x, values, observed)
            return tuple(codes[name] for name in names)
        return parts(model.encode(x, values, observed))

    def decode(*codes: Tensor) -> tuple[Tensor, ...]:
        return (model.decode(Latents(model.blocks, dict(zip(names, codes, strict=True)))).mean,)

    def prior(values: Tensor, observed: Tensor) -> tuple[Tensor, ...]:
        return parts(model.prior(values, observed))

    def classify(x: Tensor) -> tuple[Tensor, ...]:
        answer = model.label_distribution(x)
        parameters = answer.parameters.split([label.parameters for label in model.schema], -1)
        out = []
        for i, label in enumerate(model.schema):
            if label.discrete:
                out.append(answer.log_table(i).exp())
            else:
                mean, log_scale = parameters[i].unbind(-1)
                out.append(torch.stack([mean * label.scale + label.mean, log_scale.exp() * label.scale], 1))
        return tuple(out)

    reads = labelled and _reads_labels(model)
    found = [
        Graph("encoder", ("x", "values", "observed"), gaussian, _Function(model, encode))
        if reads
        else Graph("encoder", ("x",), gaussian, _Function(model, encode)),
        Graph("decoder", tuple(names), ("mean",), _Function(model, decode)),
    ]
    if labelled:
        found.append(Graph("prior", ("values", "observed"), gaussian, _Function(model, prior)))
        found.append(Graph("classifier", ("x",), model.schema.names, _Function(model, classify)))
    return found


def _reads_labels(model: Model) -> bool:
    """Whether codes depend on the labels that are given: tried, with every label at its first value and none."""
    x = _drawn(model, 4)
    values = torch.stack([model.schema.candidates(label.name)[:1].expand(4) for label in model.schema], 1)
    observed = torch.ones_like(values, dtype=torch.bool)
    last = torch.stack([model.schema.candidates(label.name)[-1:].expand(4) for label in model.schema], 1)
    found = [model.encode(x, v, observed) for v in (values, last)]
    return any(not torch.equal(found[0][b.name].mean, found[1][b.name].mean) for b in model.blocks)


@torch.no_grad()
def _drawn(model: Model, n: int, seed: int = 0) -> Tensor:
    """Random samples that the model's likelihood can describe."""
    generator = torch.Generator().manual_seed(seed)
    values = model.label_marginal(n).sample(generator) if len(model.schema) else torch.zeros(n, 0)
    x = model.decode(model.new_codes(values, generator=generator)).sample(generator)
    return x.clamp(*model.likelihood.bounds) if model.likelihood.bounds else x


def export(
    model: Model,
    out: str | Path,
    x: Tensor | None = None,
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Writes a model's graphs and their description into a directory.

    Args:
        model: a trained model.
        out: the directory.
        x: ``(n, *shape)`` real samples that graphs are also checked on.
        overwrite: write into a directory that holds other files.
        tell: told which graph is being made.

    Returns:
        What ``labelspace.json`` holds; per graph the largest difference from PyTorch that was found.

    Raises:
        UserError: ONNX is not installed, or a graph cannot be made or differs from PyTorch (it is named).
    """
    onnxruntime = runtime()
    model = model.eval().cpu()
    about: dict[str, Any] = {
        "format": 1,
        "labelspace": __version__,
        "model": name_of(model),
        "opset": OPSET,
        "shape": list(model.shape),
        "blocks": [{"name": b.name, "size": b.size, "label": b.label} for b in model.blocks],
        **json.loads(model.schema.to_json()),
        "graphs": {},
    }
    with files.filling(paths.own(out), _ours, overwrite) as home:
        for graph in graphs(model):
            tell(graph.name)
            samples = inputs_of(model, graph, x)
            content = written(graph, samples[0])
            session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
            worst = max(difference(graph, session, given, tolerance(graph, given)) for given in samples)
            (home / f"{graph.name}.onnx").write_bytes(content)
            about["graphs"][graph.name] = {
                "file": f"{graph.name}.onnx",
                "inputs": _described(session.get_inputs()),
                "outputs": _described(session.get_outputs()),
                "largest difference from PyTorch": worst,
            }
        files.write_json(home / ABOUT, about)
    return about


def runtime() -> Any:
    """onnxruntime, which tells nobody what it is used for: unless it is asked before it is imported, it keeps a record of its
    use in the home directory. Where the program has imported it already, it is left as it is.

    Raises:
        UserError: what ONNX needs is not installed.
    """
    before = os.environ.get("ORT_DISABLE_TELEMETRY")
    imported = "onnxruntime" in sys.modules
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"ONNX needs onnx, onnxscript and onnxruntime ({error}); pip install 'labelspace[export]'") from None
    finally:
        if before is None:
            del os.environ["ORT_DISABLE_TELEMETRY"]
        else:
            os.environ["ORT_DISABLE_TELEMETRY"] = before
    if not imported and hasattr(onnxruntime, "disable_telemetry_events"):
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def _ours(path: Path) -> list[str]:
    """Files of a directory that :func:`export` wrote."""
    if not (path / ABOUT).is_file():
        return []
    found = files.read_json(path / ABOUT)
    if not isinstance(found, dict) or not isinstance(found.get("graphs"), dict):
        return []
    return [ABOUT, *(f"{name}.onnx" for name in ("encoder", "decoder", "prior", "classifier") if name in found["graphs"])]


@torch.no_grad()
def inputs_of(model: Model, graph: Graph, x: Tensor | None) -> list[tuple[Tensor, ...]]:
    """Inputs of a graph to be checked on: of random samples, and of real ones where there are some."""
    out = []
    checked: list[Tensor] = [_drawn(model, max(SIZES)), *([x] if x is not None and len(x) else [])]
    for seed, given in enumerate(checked):
        generator = torch.Generator().manual_seed(seed)
        n = len(given)
        values = model.label_marginal(n).sample(generator) if len(model.schema) else torch.zeros(n, 0)
        observed = torch.rand(values.shape, generator=generator) < 0.5
        codes = sample(model.encode(given, values, observed), generator)
        known = {"x": given, "values": values * observed, "observed": observed, **codes}
        out.append(tuple(known[name] for name in graph.inputs))
    return out


def written(graph: Graph, example: Sequence[Tensor]) -> bytes:
    """The graph as the content of a file."""
    batch = torch.export.Dim("batch")
    shapes = (tuple({0: batch} for _ in example),)
    given = tuple(tensor[:3] for tensor in example)
    try:
        with _quiet(), torch.no_grad():
            graph.module(*given)  # what is computed once must not be computed while it is traced
            traced = torch.export.export(graph.module, given, dynamic_shapes=shapes, strict=True)
            made = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                custom_translation_table=_translations(),
                verbose=False,
            )
    except Exception as error:  # the exporter raises errors of many kinds, and what they say is long
        why = " ".join(str(error.__cause__ or error).split())[:300]
        raise UserError(f"the {graph.name} cannot be exported to ONNX: {type(error).__name__}: {why}") from error
    assert made is not None
    return made.model_proto.SerializeToString()


def _translations() -> dict[Callable, Callable]:
    """Functions that likelihoods need and that ONNX lacks, by operators that it has."""
    import onnxscript
    from onnx import numpy_helper

    op: Any = onnxscript.opset20

    def number(value: float, like: Any) -> Any:
        return op.CastLike(op.Constant(value=numpy_helper.from_array(np.array(value, np.float64))), like)

    def log_product(x: Any, steps: range) -> Any:
        """log of (x + a)(x + a + 1)..."""
        out = op.Add(x, number(steps[0], x))
        for step in steps[1:]:
            out = op.Mul(out, op.Add(x, number(step, x)))
        return op.Log(out)

    def lgamma(x: Any) -> Any:
        """For x > 0, Stirling's series at x + 8, and the recurrence back to x (Abramowitz, Stegun 1964, 6.1.41 and 6.1.15)."""
        far = op.Add(x, number(8, x))
        square = op.Reciprocal(op.Mul(far, far))
        series = number(_STIRLING[-1], x)
        for factor in _STIRLING[-2::-1]:
            series = op.Add(op.Mul(series, square), number(factor, x))
        series = op.Add(op.Div(series, far), number(0.5 * LOG_2PI, x))
        stirling = op.Add(op.Sub(op.Mul(op.Sub(far, number(0.5, x)), op.Log(far)), far), series)
        return op.Sub(stirling, op.Add(log_product(x, range(4)), log_product(x, range(4, 8))))  # in two: eight overflow

    def hypot(x: Any, y: Any) -> Any:
        x, y = op.Abs(x), op.Abs(y)
        large = op.Max(x, y)
        ratio = op.Div(op.Min(x, y), op.Max(large, number(1e-37, x)))
        return op.Mul(large, op.Sqrt(op.Add(op.Mul(ratio, ratio), number(1, x))))

    def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
        if x.dtype != onnxscript.ir.DataType.DOUBLE or beta != 1.0:  # of which onnxruntime has it
            return op.Div(op.Softplus(op.Mul(x, number(beta, x))), number(beta, x))
        return op.Add(op.Relu(x), op.Log(op.Add(op.Exp(op.Neg(op.Abs(x))), number(1, x))))

    aten = torch.ops.aten
    return {aten.lgamma.default: lgamma, aten.hypot.default: hypot, aten.softplus.default: softplus}


@torch.no_grad()
def tolerance(graph: Graph, given: Sequence[Tensor]) -> float:
    """The largest difference from PyTorch that is let pass: ``TOLERANCE``, or what rounding alone may do where that is more.

    Probabilities by Bayes' rule, say, come from likelihoods of thousands of nats, which another order of summing changes. What
    rounding does is seen where inputs move by their last digit: outputs may differ by four times as much.

    Args:
        graph: the graph.
        given: its inputs, see :func:`inputs_of`.
    """
    wanted, most = graph.module(*given), 0.0
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        moved = [_moved(tensor, generator) for tensor in given]
        for ours, theirs in zip(wanted, graph.module(*moved), strict=True):
            gaps = (ours - theirs).abs() / ours.abs().clamp_min(1)
            most = max(most, float(gaps.nan_to_num(0.0, 0.0).max()) if gaps.numel() else 0.0)
    return max(TOLERANCE, 4 * most)


def _moved(given: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers one step of single precision up or down; whole ones, which may be classes, are left."""
    if not given.is_floating_point():
        return given
    up = torch.rand(given.shape, generator=generator) < 0.5
    return torch.where(given == given.round(), given, given.nextafter(torch.where(up, torch.inf, -torch.inf)))


def difference(graph: Graph, session: Any, given: Sequence[Tensor], tolerance: float) -> float:
    """The largest difference between a graph and PyTorch, relative where outputs are larger than 1.

    Args:
        graph: the graph.
        session: onnxruntime's session of it.
        given: its inputs, see :func:`inputs_of`.
        tolerance: the largest difference that is let pass.

    Raises:
        UserError: it is larger; or an output has another shape.
    """
    worst = 0.0
    for n in SIZES:
        part = [tensor[:n] for tensor in given]
        if len(part[0]) < n:
            continue
        with torch.no_grad():
            wanted = graph.module(*part)
        found = session.run(list(graph.outputs), {name: t.numpy() for name, t in zip(graph.inputs, part, strict=True)})
        for name, theirs, ours in zip(graph.outputs, found, wanted, strict=True):
            ours = ours.numpy()
            if theirs.shape != ours.shape:
                raise UserError(f"the {graph.name} as ONNX has {name} of shape {theirs.shape}, PyTorch {ours.shape}")
            same = (theirs == ours) | (np.isnan(theirs) & np.isnan(ours))  # infinities and NaN have no difference
            with np.errstate(invalid="ignore"):
                gap = np.where(same, 0, np.abs(theirs - ours) / np.maximum(1, np.abs(ours)))
            worst = max(worst, float(np.max(np.nan_to_num(gap, nan=np.inf), initial=0.0)))
            if worst > tolerance:
                raise UserError(f"the {graph.name} as ONNX differs from PyTorch by {worst:.2g} in {name}, above {tolerance:g}")
    return worst


def _described(ports: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"name": port.name, "type": port.type, "shape": list(port.shape)} for port in ports]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside, exporters print, warn and log nothing."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
