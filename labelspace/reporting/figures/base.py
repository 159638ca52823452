"""What all figures share: their style, and how they become files."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from labelspace.errors import UserError
from labelspace.reporting.colours import INK
from labelspace.storage import files

P = ParamSpec("P")

_STYLE = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}

# Everything that would make the bytes of a file differ from one time to the next is said.
_FILES: dict[str, Any] = {
    "svg.hashsalt": "labelspace",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "image.composite_image": False,
}
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
KINDS = tuple(_METADATA)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Figures that a function draws have the project's style."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **given: P.kwargs) -> Figure:
        with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
            return draw(*args, **given)

    return wrapped


def label(axis: Axes, names: tuple[str, str], title: str) -> None:
    """Small names of both axes, small ticks and a title."""
    axis.set_xlabel(plain(names[0]), fontsize=7)
    axis.set_ylabel(plain(names[1]), fontsize=7)
    axis.tick_params(labelsize=6)
    if title:
        axis.set_title(plain(title), fontsize=8)


def plain(text: str) -> str:
    """A text as it is: names come from users' files, and a dollar sign in them is not mathematics."""
    return text.replace("$", r"\$")


def render(figure: Figure, kind: str, *, background: str = "white", cut: bool = True, colours: int = 0) -> bytes:
    """A figure as the content of a file; the same figure gives the same bytes.

    Args:
        figure: the figure.
        kind: "png", "svg" or "pdf".
        background: its colour, or "none".
        cut: cut to what is drawn on it; otherwise figures of one size have pictures of one size.
        colours: of a palette that a PNG is reduced to; 0 leaves it as it is.
    """
    buffer = io.BytesIO()
    if (engine := figure.get_layout_engine()) is not None:
        # Laying out once more moves things by a hair: a figure is laid out once, when it is first written.
        engine.execute(figure)
        figure.set_layout_engine("none")
    box = "tight" if cut else None
    with matplotlib.rc_context(_FILES), _own_pixels(figure, kind != "png"):  # type: ignore[arg-type]
        figure.savefig(buffer, format=kind, dpi=110, bbox_inches=box, facecolor=background, metadata=_METADATA[kind])
    return palette(buffer.getvalue(), colours) if colours and kind == "png" else buffer.getvalue()


def palette(png: bytes, colours: int) -> bytes:
    """A PNG with so many colours, 256 at most, which are those that suit it; without dithering, which would be noise."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        reduced = image.convert("RGB").quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write(figure: Figure, path: Path, *, colours: int = 0) -> None:
    """Writes a figure atomically as .png, .svg or .pdf, as the path ends; the same figure gives the same bytes.

    Raises:
        UserError: another ending, or a file that cannot be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _METADATA:
        raise UserError(f"{path}: figures are written as {', '.join(f'.{known}' for known in KINDS)}")
    files.write(path, render(figure, kind, colours=colours))


@contextmanager
def _own_pixels(figure: Figure, vector: bool) -> Iterator[None]:
    """Vector files hold the pixels of images as they are; whoever shows the file scales them."""
    images = [artist for axis in figure.axes for artist in axis.get_images() if isinstance(artist, AxesImage)]
    before = [image.get_interpolation() for image in images]
    try:
        for image in images if vector else ():
            image.set_interpolation("none")
        yield
    finally:
        for image, interpolation in zip(images, before, strict=True):
            image.set_interpolation(interpolation)
