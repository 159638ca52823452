"""A saved page: one HTML file in which a run's model is edited without a server and without a network.

The page holds the explorer's own parts and style, Vue, onnxruntime-web, the model as ONNX graphs, maps of its blocks and some
samples. It asks nobody for anything, which its content security policy makes sure of.
"""

from __future__ import annotations

import gzip
import html
import importlib.resources
import json
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelspace.blocks import Block
from labelspace.errors import UserError
from labelspace.explorer import frames
from labelspace.explorer.saved import networks, runtime
from labelspace.explorer.saved.networks import Networks
from labelspace.explorer.steps import short
from labelspace.explorer.workbench import Workbench
from labelspace.labels import Label
from labelspace.maps import principal

MOST_BYTES = 10_000_000
_SIDE = 64  # pixels of a picture, at most
_ENTRIES = 2000  # of a vector, at most
_SAMPLES = 48
_CHECKED = 8  # samples that networks are checked on
_SLIDERS = 8  # of a block, at most
_BARS = 24
_AT = 65  # values of a number that its codes are stored for
_ALPHABET = "".join(letter for letter in map(chr, range(33, 127)) if letter not in '"&<')  # 91**2 > 2**13
_PARTS = {
    "LatentMap": "latent_map.js",
    "Pictures": "pictures.js",
    "Bars": "bars.js",
    "Gallery": "gallery.js",
    "Readings": "readings.js",
    "Reading": "reading.js",
    "Slide": "number.js",
}


def write(
    bench: Workbench,
    rows: Sequence[int] = (),
    home: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[bytes, list[str]]:
    """Makes the page of a run.

    Args:
        bench: the run.
        rows: samples of its data that come first; the gallery's first ones follow.
        home: where onnxruntime-web is; see :func:`labelspace.explorer.saved.runtime.find`.
        tell: told what is being made.

    Returns:
        The file's content, of at most 10 MB; and what was left out, or made less exact, so that it is.

    Raises:
        UserError: the data are no pictures of up to 64 x 64 and no table; the model cannot be exported, or is too large;
            onnxruntime-web or the explorer's extra is not installed.
    """
    _check(bench)
    engine, vue = runtime.find(home), _vue()
    chosen = [*dict.fromkeys([*rows, *(int(row) for row in bench.gallery[:_SAMPLES])])][:_SAMPLES]
    x, (values, observed) = bench.data.samples(chosen), bench.data.labels(chosen)
    made = networks.make(bench.model, x[:_CHECKED], tell)
    tell("page")
    stored, kind = _stored(x)
    about = _about(bench)
    about["samples"] = {"kind": kind, "items": _items(bench, chosen, values, observed)}
    fixed = {"onnxruntime": _packed(engine.script.encode()), "program": engine.program, "vue": vue, "samples": stored}
    for given, lost in _choices(made):
        packed = {name: _packed(content) for name, content in given.items()}
        page = _page(bench, {**about, "networks": list(given)}, {**fixed, **packed})
        if len(page) <= MOST_BYTES:
            return page, lost
    raise UserError(
        f"the page would have {len(page) / 1e6:.1f} MB, above {MOST_BYTES / 1e6:.0f}: the model is too large for one"
    )


def _check(bench: Workbench) -> None:
    shape = tuple(bench.model.shape)
    if bench.is_image and not (shape[0] in (1, 3) and max(shape[1:]) <= _SIDE):
        raise UserError(f"a saved page shows pictures of up to {_SIDE} x {_SIDE} in grey or colour; these are {shape}")
    if not bench.is_image and shape[0] > _ENTRIES:
        raise UserError(f"a saved page shows tables of up to {_ENTRIES} columns; this one has {shape[0]}")


def _choices(made: Networks) -> list[tuple[dict[str, bytes], list[str]]]:
    """The networks from the most exact ones to the smallest, and what is lost with each choice."""
    small = {**made.graphs, **made.small}
    rounded = "large weights are rounded to up to 16 bits"
    choices: list[tuple[dict[str, bytes], list[str]]] = [(made.graphs, []), (small, [rounded])]
    if "classifier" in small:
        rest = {name: content for name, content in small.items() if name != "classifier"}
        choices.append((rest, [rounded, "what the model reads of labels is left out"]))
    return choices


# -- what is said of the run ------------------------------------------------------------------------------------------


def _about(bench: Workbench) -> dict[str, Any]:
    model, data = bench.model, bench.data
    variables = data.variables
    return {
        "alphabet": _ALPHABET,
        "name": bench.home.resolve().name,
        "model": type(model).__name__,
        "data": bench.address,
        "shape": list(model.shape),
        "keeps_detail": model.likelihood.keeps_detail,
        "remarks": [*model.remarks(), *filter(None, [bench.remark])],
        "framing": {"crop": model.framing.crop, "background": model.framing.background},
        "colours": {"less": frames.LESS, "more": frames.MORE},
        "features": [] if bench.is_image else list(bench.features),
        "origins": [] if bench.is_image else [v.origin for v in variables] or [0.0] * model.shape[0],
        "ranges": {} if bench.is_image else bench.ranges,
        "classes": {} if bench.is_image else bench.classes,
        "blocks": [_block(bench, block) for block in model.blocks],
        "labels": [_label(bench, label) for label in model.schema],
        "method": f"The first {_SLIDERS} principal axes of the data's codes (PCA)",
    }


def _block(bench: Workbench, block: Block) -> dict[str, Any]:
    names = [block.label] if block.label else list(bench.data.schema.names) or [None]
    charts = {str(name): bench.chart(block.name, name) for name in names}
    first = next(iter(charts.values()))
    code = bench.codes[block.name]
    origin, axes, titles = principal(block.name, code, _SLIDERS)
    along = (code - origin) @ axes
    if first.anchors is not None:  # one slider, along the values
        sliders = [{"name": block.label, "low": first.low[0], "high": first.high[0], "counts": []}]
    else:
        named = [title.removeprefix(f"{block.name} ").replace(" of variance", "") for title in titles]
        sliders = [_slider(title, along[:, i].numpy()) for i, title in enumerate(named)]
    return {
        "name": block.name,
        "size": block.size,
        "label": block.label,
        "dimensions": first.dimensions,
        "origin": origin.tolist(),
        "axes": axes.T.tolist(),
        "anchors": None if first.anchors is None else first.anchors.tolist(),
        "scale": list(first.scale),
        "charts": {name: found.to_dict() for name, found in charts.items()},
        "legends": {name: found.colours for name, found in charts.items()},
        "sliders": sliders,
    }


def _slider(name: str, codes: np.ndarray) -> dict[str, Any]:
    low, high = (float(v) for v in np.quantile(codes, (0.002, 0.998)))
    if not high > low:
        low, high = low - 1.0, high + 1.0
    counts, _ = np.histogram(codes, _BARS, (low, high))
    return {"name": name, "low": low, "high": high, "counts": counts.tolist()}


def _label(bench: Workbench, label: Label) -> dict[str, Any]:
    model = bench.model
    index = model.schema.index(label.name)
    out: dict[str, Any] = {
        "name": label.name,
        "values": list(label.values) if label.discrete else [],
        "block": next((b.name for b in model.blocks if b.label == label.name), None),
        "columns": model.label_columns[index].expand(model.shape[0]).tolist() if not bench.is_image else [],
    }
    low, high = 0.0, 0.0
    if not label.discrete:
        low, high, out["counts"] = bench.histogram(label.name)
        out |= {"low": low, "high": high}
    out["move"] = _move(bench, label, low, high)
    return out


@torch.no_grad()
def _move(bench: Workbench, label: Label, low: float, high: float) -> dict[str, Any] | None:
    """How codes follow a label's value; None where it is in none of these ways.

    It is told by codes of the block at each value, of which samples are given one; where one table says it for all samples, by
    the code at each value; or, of a code that is shifted, by what is added to it.
    """
    model = bench.model
    if choices := model.choices(label.name):
        tables = [{name: _plain(part) for name, part in vars(one).items()} for one in choices]
        return {"block": model.blocks.of(label.name).name, "choices": tables, "shifts": False}
    at = torch.arange(float(len(label.values))) if label.discrete else torch.linspace(low, high, _AT)
    found = []
    for start in range(2):  # from two samples' codes, and from two values
        codes = bench.codes.rows(torch.tensor([start]).expand(len(at)))
        found.append((codes, model.intervene(codes, label.name, at, at[start].expand(len(at)))))
    (first, moved), (second, again) = found
    changed = [b.name for b in model.blocks if not torch.equal(first[b.name], moved[b.name])]
    if len(changed) != 1:
        return None
    name = changed[0]
    ends = {} if label.discrete else {"at": at.tolist()}
    if torch.allclose(moved[name], again[name], atol=1e-5):
        return {"block": name, "codes": moved[name].tolist(), "shifts": False, **ends}
    one, other = moved[name] - first[name], again[name] - second[name]
    if torch.allclose(one - one[1], other - other[1], atol=1e-4):
        return {"block": name, "codes": (one - one[0]).tolist(), "shifts": True, **ends}
    return None


def _plain(part: Tensor | float) -> Any:
    return part.tolist() if isinstance(part, Tensor) else part


def _items(bench: Workbench, rows: Sequence[int], values: Tensor, observed: Tensor) -> list[dict[str, Any]]:
    items = []
    for row, value, seen in zip(rows, values.tolist(), observed.tolist(), strict=True):
        text = ", ".join(f"{name} {short(v)}" for name, v in bench.values(row).items() if v is not None)
        known = [v if s else None for v, s in zip(value, seen, strict=True)]
        items.append({"name": bench.name(row), "text": text, "values": known})
    return items


# -- the file ---------------------------------------------------------------------------------------------------------


def _stored(x: Tensor) -> tuple[bytes, str]:
    """Samples as bytes: a byte an entry where that is all there is to them, else single precision."""
    whole = (x * 255).round()
    if x.ndim == 4 and bool(((whole / 255 - x).abs() < 1e-6).all()) and bool((whole >= 0).all() and (whole <= 255).all()):
        return _packed(whole.to(torch.uint8).numpy().tobytes()), "uint8"
    return _packed(x.numpy().astype("<f4").tobytes()), "float32"


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def letters(content: bytes) -> str:
    """Bytes as letters that may stand in a page, 13 bits in two of them: base64 would take 8% more."""
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    bits = np.pad(bits, (0, -len(bits) % 13)).reshape(-1, 13)
    numbers = bits @ (1 << np.arange(13)[::-1]).astype(np.int16)
    pairs = np.stack(np.divmod(numbers, len(_ALPHABET)), 1)
    return np.frombuffer(_ALPHABET.encode(), np.uint8)[pairs].tobytes().decode()


def _vue() -> bytes:
    """Vue, compressed, as NiceGUI brings it."""
    try:
        found = importlib.resources.files("nicegui") / "static" / "vue.esm-browser.prod.js"
        return _packed(found.read_bytes())
    except (ModuleNotFoundError, FileNotFoundError):
        raise UserError("a saved page needs NiceGUI's Vue; install it with: pip install 'labelspace[explorer]'") from None


def _page(bench: Workbench, about: dict[str, Any], blobs: dict[str, bytes]) -> bytes:
    here, parts = Path(__file__).parent, Path(__file__).parent.parent / "parts"

    def text(path: Path) -> str:
        return path.read_text(encoding="utf-8")

    script = [
        f"const {name} = (() => {{\n{text(parts / file).replace('export default {', 'return {', 1)}}})();"
        for name, file in _PARTS.items()
    ]
    style = text(here.parent / "style.css") + text(here / "page.css")
    held = "\n".join(
        f'<script type="text/plain" id="blob:{name}" data-size="{len(content)}">{letters(content)}</script>'
        for name, content in blobs.items()
    )
    said = json.dumps(about, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = string.Template(text(here / "page.html")).substitute(
        title=html.escape(f"{bench.home.resolve().name} · labelspace"),
        style=style,
        about=said,
        blobs=held,
        script="\n".join([*script, text(here / "app.js")]),
    )
    return page.encode()
