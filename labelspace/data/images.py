"""Pictures as arrays: looked at, decoded, put on a background, cropped and resized.

Whatever opens a picture in the library does it by :func:`opened`, which knows a picture by its content and tries no format but
those of ``FORMATS``; whatever makes pixels of it does it by :func:`pixels`, with the :class:`Framing` of the data.
"""

from __future__ import annotations

import functools
import math
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from labelspace.errors import UserError, unknown
from labelspace.storage import bounds

# The formats that are read, by Pillow's names. All have a signature, so that content tells them; none is handed over to another
# program (EPS is, to Ghostscript) or drawn by the system (WMF). TGA has no signature: many bytes could be taken for one. An ICO
# is several pictures of different sizes, and nothing says which one is meant.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM")
# What ends so is meant to be a picture: if it cannot be read it is damaged. Other files are pictures if their content is.
ENDINGS = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".avif"),
    *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
}
# What cameras write is TIFF by its content, and the picture in it that can be read is a thumbnail: never looked into.
_RAW = {".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".pef", ".srw", ".raf"}
_FOREIGN = {
    *_RAW,
    *(".heic", ".heif", ".jxl", ".svg", ".eps", ".ps", ".ai", ".pdf", ".psd", ".xcf", ".tga", ".ico", ".wmf", ".emf", ".fits"),
    *(".fit", ".dcm", ".exr", ".hdr", ".dds", ".icns", ".pcx", ".nii", ".czi", ".nd2", ".lif", ".raw"),
}
_KEPT_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}  # hidden where they are made
_PIXEL = 16  # bytes of memory that a pixel takes at most: on its way it is RGBA on a background, twice
_USUAL = 180_000_000 * _PIXEL  # what a picture may take, unless the user says more
_OPENING = threading.Lock()
# What Pillow raises for a file that is not a picture or is damaged.
UNREADABLE = (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SIDE = 64  # of pictures that have no size in common, or one that models do not take
_SIDES = (8, 256)

# What becomes of a picture whose height and width are not in the proportion that is asked for.
CROPS = {
    "centre": "the largest part in its middle that has the proportion; what is beyond is cut off",
    "pad": "all of it, black where it ends",
    "none": "all of it, squeezed",
    "close": "the middle three quarters of height and of width, squeezed: closer to an aligned face",
}


Crop = Literal["centre", "pad", "none", "close"]
"""The keys of :data:`CROPS`."""

Background = Literal["white", "black", "keep"]
"""What transparent pictures are put on; "keep" keeps their transparency as a fourth channel."""


@dataclass(frozen=True)
class Framing:
    """How pictures of any kind become arrays of one shape. Saved with a model, so that later pictures are read alike.

    Attributes:
        crop: a key of :data:`CROPS`.
        background: the colour that transparent pictures are put on where there is no fourth channel.
        white: the value that is white in pixels of more than 8 bits, ``2**bits - 1``; 0 where the data had none: then the
            largest value of the pictures that are read together decides.
        white_real: the same of floating-point pixels.
    """

    crop: Crop = "centre"
    background: Background = "white"
    white: int = 0
    white_real: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def read(cls, found: Any) -> Framing:
        """Of :meth:`to_dict`, or of the key of :data:`CROPS` alone that earlier versions saved. Raises UserError."""
        given = {"crop": found} if isinstance(found, str) else found
        if not isinstance(given, Mapping):
            raise UserError(f"{found!r} does not say how pictures are framed")
        crop, background = str(given.get("crop", "centre")), str(given.get("background", "white"))
        check(0, 0, crop, background)
        try:
            white, white_real = int(given.get("white", 0)), float(given.get("white_real", 0.0))
        except (TypeError, ValueError, OverflowError):
            white, white_real = -1, 0.0
        if white < 0 or (white and white & (white + 1)) or not (math.isfinite(white_real) and white_real >= 0):
            raise UserError("white must be 2**bits - 1 or 0, and white_real a number that is not negative")
        return cls(cast(Crop, crop), cast(Background, background), white, white_real)


def check(size: int, channels: int, crop: str, background: str = "white") -> None:
    """Raises UserError where options of a source (0 for what the images have) are not such that images can have them."""
    if size and not _SIDES[0] <= size <= _SIDES[1]:
        raise UserError(f"size must be {_SIDES[0]} to {_SIDES[1]}, got {size}")
    if channels not in (0, *MODES):
        raise UserError(f"channels must be 1, 3 or 4, got {channels}")
    if crop not in CROPS:
        raise unknown("crop", crop, CROPS)
    if background not in get_args(Background):
        raise unknown("background", background, get_args(Background))
    if background == "keep" and channels not in (0, 4):
        raise UserError(f"background=keep keeps transparency as a fourth channel, which channels={channels} has no room for")


# -- opened and looked at ---------------------------------------------------------------------------------------------


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def opened(file: str | Path | BinaryIO) -> Image.Image:
    """A picture by the content of its file, whatever it is called; its header is read, its pixels are not.

    Raises one of ``UNREADABLE``: FileNotFoundError where there is none, UnidentifiedImageError for content of another kind,
    UserError where its pixels would take more memory than may be.
    """
    if isinstance(file, str | Path) and not stat.S_ISREG(os.stat(file).st_mode):
        raise OSError("it is no file but a directory, a pipe or a device")
    with _OPENING:
        own, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # what is too large is said below, with what to do
        try:
            image = Image.open(file, formats=_known_formats())
        except UnidentifiedImageError:
            raise UnidentifiedImageError(
                f"by its content it is no picture of a format that is read ({', '.join(FORMATS)})"
            ) from None
        finally:
            Image.MAX_IMAGE_PIXELS = own
    try:
        bounds.check(f"a picture of {image.width:,} x {image.height:,} pixels", _PIXEL * image.width * image.height, _USUAL)
    except UserError:
        image.close()
        raise
    return image


@contextmanager
def _decoding() -> Iterator[None]:
    """Whatever a decoder trips over in damaged content is as what it refuses."""
    try:
        yield
    except (*UNREADABLE, MemoryError):
        raise
    except Exception as error:
        raise OSError(f"its content is damaged ({type(error).__name__}: {error})") from error


@dataclass(frozen=True)
class Look:
    """What one picture is.

    Attributes:
        size: height and width, turned upright.
        channels: 1 (grey) or 3, without transparency.
        transparent: whether it can have transparent pixels.
        paged: whether it has further pages or frames.
        coarse: whether it has colours of 16 bits, of which the upper 8 are read.
        deep: the largest value of pixels that have more than 8 bits; None where they have not.
        real: the largest value of floating-point pixels; None where they are whole numbers.
    """

    size: tuple[int, int]
    channels: int
    transparent: bool = False
    paged: bool = False
    coarse: bool = False
    deep: int | None = None
    real: float | None = None

    @classmethod
    def at(cls, image: Image.Image) -> Look:
        """Of an opened picture. Pixels are decoded only where they have more than 8 bits."""
        with _decoding():
            coarse = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))  # what loading forgets
            turned = image.size[::-1] if _lies_on_its_side(image) else image.size
            mode = image.mode.partition(";")[0]
            pixels = np.asarray(image) if mode in ("I", "F") else None
            paged = bool(getattr(image, "is_animated", False))
        grey = mode in ("1", "L", "LA", "La", "I", "F")
        top = None if pixels is None else _largest(pixels)
        return cls(
            (turned[1], turned[0]),
            1 if grey else 3,
            is_transparent(image),
            paged and image.format != "MPO",  # whose other frames are previews
            coarse and top is None,
            int(top) if top is not None and mode == "I" else None,
            float(top) if top is not None and mode == "F" else None,
        )

    @classmethod
    def of(cls, array: np.ndarray) -> Look:
        """Of pixels ``(..., channels, height, width)``. Raises ValueError for values that a picture cannot have."""
        top = None if array.dtype in (np.uint8, bool) else _largest(array)
        real = array.dtype.kind == "f"
        channels = array.shape[-3]
        return cls(
            (array.shape[-2], array.shape[-1]),
            1 if channels == 1 else 3,
            channels == 4,
            deep=int(top) if top is not None and not real else None,
            real=top if real else None,
        )


def look(files: Iterable[str | Path]) -> dict[str | Path, Look | str]:
    """What each file is, or why it cannot be read."""
    found: dict[str | Path, Look | str] = {}
    for file in files:
        try:
            with opened(file) as image:
                found[file] = Look.at(image)
        except UNREADABLE as error:
            found[file] = str(error)
    return found


def _lies_on_its_side(image: Image.Image) -> bool:
    """Whether the EXIF data of an opened picture say so. Pillow decodes a PNG to find those behind its pixels; few have any."""
    decoded = image.format != "PNG" or "exif" in image.info or _goes_on_after_pixels(getattr(image, "fp", None))
    exif = image.getexif() if decoded else Image.Image.getexif(image)
    return exif.get(0x0112, 1) >= 5


def _goes_on_after_pixels(file: BinaryIO | None) -> bool:
    """Whether a PNG has chunks between its pixels and its end. The file stays where it is read."""
    if file is None:  # was decoded
        return True
    place, seen = file.tell(), False
    file.seek(8)
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        if seen and head[4:] not in (b"IDAT", b"fcTL", b"fdAT"):
            break
        seen = seen or head[4:] == b"IDAT"
        file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    file.seek(place)
    return len(head) == 8 and head[4:] != b"IEND"


def is_transparent(image: Image.Image) -> bool:
    """Whether a picture can have transparent pixels: by a channel, or by a colour or palette entry that stands for them."""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def within(directory: Path, below: bool = True) -> tuple[list[Path], list[Path]]:
    """The pictures in a directory, and where asked for in those below it, sorted; and the files there that are none.

    A file with one of ``ENDINGS`` is a picture, even a damaged one; any other is one where its content is. Hidden ones are
    neither: copies that programs keep, and what macOS writes beside a picture.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    for file in sorted(directory.rglob("*") if below else directory.iterdir()):
        hidden = any(part.startswith(".") for part in file.relative_to(directory).parts)
        if hidden or file.name.lower() in _KEPT_BY_SYSTEMS or not file.is_file():
            continue
        ending = file.suffix.lower()
        is_picture = ending in ENDINGS or (ending not in _RAW and not isinstance(look([file])[file], str))
        (pictures if is_picture else others).append(file)
    return pictures, others


def left_out(files: Iterable[Path]) -> tuple[str, ...]:
    """A note that counts files that are no pictures, by their endings and with the reason; none where there are none."""
    endings = Counter(file.suffix.lower() for file in files)
    if not endings:
        return ()
    said = ", ".join(
        f"{n:,} {ending or 'without ending'} ({'a format that cannot be read' if ending in _FOREIGN else 'no pictures'})"
        for ending, n in endings.most_common()
    )
    return (f"{counted(endings.total(), 'file')} left out: {said}",)


def counted(n: int, what: str) -> str:
    """The beginning of a sentence: 1 file is, 2 files are."""
    return f"{n:,} {what} is" if n == 1 else f"{n:,} {what}s are"


# -- what a set of pictures is read as --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """What is in a set of pictures: counts of the properties of :class:`Look`.

    Attributes:
        n: pictures.
        sizes: how many different sizes they have.
        size: height and width of the first.
        grey, transparent, paged, coarse, deep, real: how many are such.
        largest: the largest value of those that are deep.
        largest_real: that of those that are real.
    """

    n: int
    sizes: int
    size: tuple[int, int]
    grey: int
    transparent: int
    paged: int
    coarse: int
    deep: int
    real: int
    largest: int
    largest_real: float

    @classmethod
    def of(cls, looked: Iterable[Look]) -> Survey:
        """Of at least one picture."""
        each = list(looked)
        deep, real = [one.deep for one in each if one.deep is not None], [one.real for one in each if one.real is not None]
        return cls(
            len(each),
            len({one.size for one in each}),
            each[0].size,
            sum(one.channels == 1 for one in each),
            sum(one.transparent for one in each),
            sum(one.paged for one in each),
            sum(one.coarse for one in each),
            len(deep),
            len(real),
            max(deep, default=0),
            max(real, default=0.0),
        )

    def read_as(
        self, size: int = 0, channels: int = 0, crop: Crop = "centre", background: Background = "white", like: Any = None
    ) -> Reading:
        """How the set is read.

        Args:
            size: side of the square that pictures are fitted to; 0 keeps their size where it is one and the same and models
                take it, else it is ``SIDE``.
            channels: 1, 3 or 4; 0 is 1 where all are grey, 4 with ``background="keep"`` where some are transparent, else 3.
            crop: how they are fitted.
            background: what transparent pictures are put on.
            like: a trained model (or its description) that they are for: its shape stands for what is not given, and its values
                of white for the set's own.

        Raises:
            UserError: options that pictures cannot have.
        """
        check(size, channels, crop, background)
        notes = []
        shape = tuple(getattr(like, "shape", ()))
        shape = shape if len(shape) == 3 else (0, 0, 0)
        height, width = (size, size) if size else shape[1:] if shape[1] else self.size
        channels = channels or shape[0]
        if not size and not shape[1]:
            small = not all(_SIDES[0] <= side <= _SIDES[1] for side in self.size)
            if self.sizes > 1 or small:
                what = f"pictures of {self.sizes} sizes" if self.sizes > 1 else f"pictures of {height} x {width}"
                notes.append(f"{what} are fitted to {SIDE} x {SIDE} (crop {crop!r}); size= chooses another")
                height = width = SIDE
        if not channels:
            channels = 4 if background == "keep" and self.transparent else 1 if self.grey == self.n else 3
            if channels == 3 and self.grey:
                notes.append(f"{counted(self.grey, 'picture')} grey, and read as RGB like the others; channels= chooses")
        if self.transparent and channels != 4:
            notes.append(
                f"{self.transparent:,} of {self.n:,} pictures have transparency and are put on {background}; "
                "background= chooses: white, black, or keep for a fourth channel"
            )
        if self.paged:
            notes.append(f"{self.paged:,} of {self.n:,} files have more than one page or frame; the first is used")
        if self.coarse:
            notes.append(
                f"{self.coarse:,} of {self.n:,} pictures have colours of 16 bits, of which the upper 8 are read; save "
                "those that use the lower ones with 8 bits"
            )
        known = getattr(like, "framing", Framing())
        framing, about = self.depth(Framing(crop, background, known.white, known.white_real))
        return Reading((channels, height, width), framing, (*notes, *about))

    def depth(self, framing: Framing) -> tuple[Framing, list[str]]:
        """A framing with the values of white that it lacks and the set needs; and what to say of them."""
        notes = []
        if self.deep:
            framing = replace(framing, white=framing.white or white_of(self.largest))
            notes.append(
                f"pixels of more than 8 bits go up to {self.largest:,} and are read as numbers of "
                f"{framing.white.bit_length()} bits: {framing.white:,} is white"
            )
        if self.real:
            framing = replace(framing, white_real=framing.white_real or white_of_real(self.largest_real))
            if not (framing.white_real == 1 and self.largest_real == 1):
                notes.append(f"floating-point pixels go up to {self.largest_real:g}: {framing.white_real:g} is white")
        return framing, notes


def options_like(like: Any) -> dict[str, Any]:
    """Options (size, channels, crop, background) by which pictures become as a trained model needs them; none where it takes no
    pictures."""
    shape, framing = tuple(getattr(like, "shape", ())), getattr(like, "framing", None)
    if len(shape) != 3 or framing is None:
        return {}
    side = {"size": shape[1]} if shape[1] == shape[2] else {}
    channels = {"channels": shape[0]} if shape[0] in MODES else {}
    return {**side, **channels, "crop": framing.crop, "background": framing.background}


@dataclass(frozen=True)
class Reading:
    """How a set of pictures is read: the shape of each (channels, height, width), the framing, and what to say of it."""

    shape: tuple[int, int, int]
    framing: Framing
    notes: tuple[str, ...] = ()


def white_of(largest: int) -> int:
    """The largest number of the fewest bits, at least 8, that hold a value."""
    return (1 << max(8, int(largest).bit_length())) - 1


def white_of_real(largest: float) -> float:
    """1 for values in [0, 1], and else the largest number of the fewest bits that hold them; where all are less than one shade
    of 255, the smallest power of two that is not below them."""
    if largest > 1:
        return float((1 << math.ceil(largest).bit_length()) - 1)
    return 2.0 ** math.ceil(math.log2(largest)) if 0 < largest < 1 / 255 else 1.0


def _largest(values: np.ndarray) -> float:
    """The largest value of pixels. Raises ValueError where they are such that a picture cannot have them."""
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("it holds NaN or infinity, which a picture cannot")
    if low < 0:
        raise ValueError(f"it holds negative numbers, down to {low:g}; save it with 8 or 16 bits")
    if high > 2.0**64:
        raise ValueError(f"it holds numbers up to {high:g}; save it with 8 or 16 bits")
    return high


def shades(values: np.ndarray, framing: Framing = Framing()) -> np.ndarray:
    """Whole or floating-point pixels as uint8, by the framing's values of white; where it has none, by their own.

    Raises:
        ValueError: negative, infinite or undefined values, or some beyond white: scaled alike they could not be shown.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    high = _largest(values)
    if values.dtype.kind == "f":
        white = framing.white_real or white_of_real(high)
        shown = np.round(np.minimum(values, white) * (255 / white))
    else:
        white = framing.white or white_of(int(high))
        shown = values >> (white.bit_length() - 8)
    if high > white:
        raise ValueError(f"it holds values up to {high:g}, and those of the data that it is read like end at {white:g}")
    return shown.astype(np.uint8)


# -- pixels -----------------------------------------------------------------------------------------------------------


def decode(
    rows: np.ndarray,
    size: list[int],
    channels: int,
    failures: list[tuple[int, str]],
    framing: Mapping[str, Any] | None = None,
    home: str = "",
) -> np.ndarray:
    """Reads image files, ``(n,)`` paths -> ``(n, channels, height, width)`` uint8.

    Args:
        rows: paths.
        size: height and width to fit to.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        failures: receives ``(row, reason)`` for each file that cannot be read; its image is black.
        framing: :meth:`Framing.to_dict` of how.
        home: directory that the paths are in.
    """
    how, (height, width) = Framing.read(framing or {}), size
    out = np.zeros((len(rows), channels, height, width), np.uint8)
    for i, name in enumerate(rows):
        path = os.path.join(home, str(name))
        try:
            out[i] = read(path, channels, (height, width), how)
        except UNREADABLE as error:
            failures.append((i, f"{path}: {error}"))
    return out


def read(
    file: str | Path | BinaryIO, channels: int, size: tuple[int, int] | None = None, framing: Framing = Framing()
) -> np.ndarray:
    """One image file as ``(channels, height, width)`` uint8, as :func:`pixels`. Raises one of ``UNREADABLE``."""
    with opened(file) as image:
        if size is not None:  # a large photograph is decoded at a half, a quarter or an eighth where that is still enough
            image.draft(None, (2 * max(size), 2 * max(size)))  # type: ignore[arg-type]  # None keeps the mode
        return pixels(image, channels, size, framing)


def pixels(image: Image.Image, channels: int, size: tuple[int, int] | None = None, framing: Framing = Framing()) -> np.ndarray:
    """A picture as ``(channels, height, width)`` uint8: :func:`upright`, and fitted where a size (height, width) is given."""
    picture = upright(image, channels, framing)
    if size is not None and picture.size != size[::-1]:
        picture = _fitted(picture, size[1], size[0], framing.crop)
    found = np.array(picture)
    return found[None] if found.ndim == 2 else np.ascontiguousarray(found.transpose(2, 0, 1))


def upright(image: Image.Image, channels: int, framing: Framing = Framing()) -> Image.Image:
    """A picture at its own size as it is meant to be seen: turned by its EXIF data, of 8 bits and so many channels, and on the
    framing's background.

    With 4 channels transparency is kept. What lies below full transparency is black then: files hold any colour there.
    """
    with _decoding():
        turned = ImageOps.exif_transpose(image)
    picture = _eight_bit(turned, framing)
    transparent = is_transparent(picture)
    if transparent or channels == 4:
        picture = picture.convert("RGBA")
    if channels == 4:
        picture.paste((0, 0, 0, 0), mask=picture.getchannel("A").point([255] + [0] * 255))
    elif transparent:
        shade = 255 if framing.background == "white" else 0
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (shade, shade, shade, 255)), picture)
    return picture.convert(MODES[channels])


def _eight_bit(picture: Image.Image, framing: Framing) -> Image.Image:
    """Pixels of more bits, or floating-point ones, as :func:`shades` has them. Pillow's own conversion would clip them."""
    if picture.mode.partition(";")[0] not in ("I", "F"):
        return picture
    deep = np.asarray(picture)
    grey = Image.fromarray(shades(deep, framing))
    if not isinstance(hidden := picture.info.get("transparency"), int):
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(deep == hidden, 0, 255).astype(np.uint8))))


def box_of(size: tuple[int, int], width: int, height: int, crop: str) -> tuple[float, float, float, float]:
    """The part of a picture of ``size`` (width, height) that is fitted to ``width x height``: left, top, right, bottom.

    With ``crop="pad"`` it goes beyond the picture.
    """
    across, down = size
    if crop == "pad":
        scale = max(across / width, down / height)
    elif crop == "centre":
        scale = min(across / width, down / height)
    else:
        cut = (across / 8, down / 8) if crop == "close" else (0.0, 0.0)
        return cut[0], cut[1], across - cut[0], down - cut[1]
    cut = ((across - scale * width) / 2, (down - scale * height) / 2)
    return cut[0], cut[1], across - cut[0], down - cut[1]


def _fitted(picture: Image.Image, width: int, height: int, crop: str) -> Image.Image:
    if crop == "pad":
        return ImageOps.pad(picture, (width, height), Image.Resampling.LANCZOS)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box_of(picture.size, width, height, crop))
