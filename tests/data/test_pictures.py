"""Pictures as people have them: endings, transparency, depth, pages, names in lists; the same pixels at use as in training."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import labelspace as ls
from labelspace import saving
from labelspace.data import images, memory
from labelspace.data.dataset import Dataset
from labelspace.data.images import CROPS, Framing, Look, shades, white_of, white_of_real
from labelspace.data.sources import folder
from labelspace.errors import UserError
from labelspace.explorer.uploads import read_upload
from labelspace.interventions.given import Given
from labelspace.models import build
from labelspace.storage import files

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
METAFILE = b"\xd7\xcd\xc6\x9a" + b"\0" * 40
FITS = b"SIMPLE  =                    T" + b" " * 3000


def solid(level: int, mode: str = "RGB", size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new("L", size, level).convert(mode)


def classes(home: Path, make: Callable[[int], Image.Image], n: int = 6, ending: str = ".png", **options: Any) -> Path:
    for i in range(2 * n):
        (home / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        make(i).save(home / "ab"[i % 2] / f"{i:02}{ending}", **options)
    return home


def listed(home: Path, names: list[str], written: list[str] | None = None, header: str = "file,on") -> Path:
    for i, name in enumerate(names):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        solid(10 * i).save(home / name, "PNG")
    rows = [f"{name},{i % 2}" for i, name in enumerate(written or names)]
    (home / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return home


def refused(*parts: str) -> Any:
    found = pytest.raises(UserError)

    class _Refused:
        def __enter__(self) -> None:
            self.caught = found.__enter__()

        def __exit__(self, *error: Any) -> bool:
            done = found.__exit__(*error)
            assert "\n" not in str(self.caught.value)
            for part in parts:
                assert part in str(self.caught.value)
            return bool(done)

    return _Refused()


def said(data: Dataset) -> list[str]:
    """What is said of how pictures were read."""
    return [note for note in data.notes if not note.startswith("label ")]


def model_of(data: Dataset) -> Any:
    return build("vae", data).eval()


# -- formats and endings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        ("JPEG", ".jfif"),
        ("JPEG", ".jpe"),
        ("JPEG", ".JPG_large"),
        ("JPEG", ""),
        ("PNG", ".PNG"),
        ("PNG", ".img"),
        ("AVIF", ".avif"),
        ("AVIF", ""),
        ("JPEG2000", ".jp2"),
        ("WEBP", ".WebP"),
        ("TIFF", ".stk"),
        ("PPM", ".ppm"),
        ("BMP", ""),
        ("GIF", ".jpg"),
    ],
)
def test_content_tells_a_picture_whatever_it_is_called(tmp_path: Path, kind: str, ending: str):
    for i in range(8):
        solid(20 * i).save(tmp_path / f"{i}{ending}", kind)
    found, others = images.within(tmp_path)
    assert others == []
    data = Dataset.from_images(found, [0, 1] * 4)
    assert data.shape == (3, 32, 32)
    assert said(data) == []
    assert np.abs(np.sort(data.x[:, 0, 0, 0].astype(int)) - 20 * np.arange(8)).max() <= 3


def test_what_is_left_out_is_counted_with_the_reason(tmp_path: Path):
    classes(tmp_path, solid)
    for i in range(3):
        (tmp_path / "a" / f"{i}.heic").write_bytes(b"\0\0\0\x18ftypheic")
        (tmp_path / "b" / f"{i}.dng").write_bytes((tmp_path / "a" / "00.png").read_bytes())
    (tmp_path / "b" / "readme.txt").write_text("about")
    (tmp_path / "b" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "b" / ".hidden.txt").write_text("x")
    solid(3).save(tmp_path / "stray.png")
    data = ls.open(f"folder:{tmp_path}")
    assert len(data) == 12
    assert said(data) == [
        "1 picture is left out, because not in the directory of a class",
        "7 files are left out: 3 .heic (a format that cannot be read), 3 .dng (a format that cannot be read), "
        "1 .txt (no pictures)",
    ]


@pytest.mark.parametrize(
    "content", [POSTSCRIPT, b"\xd7\xcd\xc6\x9a" + b"\0" * 40, b"SIMPLE  =                    T" + b" " * 3000]
)
def test_formats_that_are_not_listed_are_refused_in_one_line_by_every_reader(tmp_path: Path, content: bytes):
    face = tmp_path / "face.png"
    face.write_bytes(content)
    with refused("face.png", "by its content"):
        Dataset.from_images([face, face], [0, 1])
    with refused("face.png", "by its content"):
        Given.of(model_of(Dataset.from_images([solid(i) for i in range(10)], [0, 1] * 5)), face)
    with refused("not a picture"):
        read_upload(content, (3, 16, 16))
    classes(tmp_path / "set", solid)
    (tmp_path / "set" / "a" / "face.png").write_bytes(content)
    with refused("face.png", "1 of 13", "by its content"):
        ls.open(f"folder:{tmp_path / 'set'}")


def test_tga_and_ico_are_not_read(tmp_path: Path):
    for kind in ("TGA", "ICO"):
        solid(3).save(tmp_path / f"x.{kind.lower()}", kind)
        assert isinstance(images.look([tmp_path / f"x.{kind.lower()}"])[tmp_path / f"x.{kind.lower()}"], str)
    assert not {"EPS", "WMF", "FITS", "TGA", "ICO", "PSD", "HDF5"} & set(images.FORMATS)


# -- home directories ----------------------------------------------------------------------------------------------------


def test_a_tilde_is_the_home_directory_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    classes(tmp_path / "x", solid)
    data = ls.open("folder:~/x")
    assert len(data) == 12
    assert data.address == "folder:~/x"
    assert Dataset.from_images(["~/x/a/00.png", "~/x/b/01.png"], [0, 1]).shape == (3, 32, 32)
    assert data.save("~/data.npz") == tmp_path / "data.npz"
    assert len(ls.open("npz:~/data.npz")) == 12
    model = model_of(data)
    assert Given.of(model, "~/x/a/00.png").x.shape == (3, 32, 32)
    assert saving.save(model, "~/model") == tmp_path / "model"
    assert saving.load("~/model").framing == data.framing
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    assert len(ls.open("table:~/t.csv", ["y"])) == 20
    with refused("~/nowhere", "no such"):
        ls.open("folder:~nobody-such/~/nowhere")
    monkeypatch.setenv("LABELSPACE_CACHE", "~/kept")
    ls.open("folder:~/x,size=16")
    assert (tmp_path / "kept").is_dir()


def test_a_tilde_on_the_command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from labelspace.cli import parser

    monkeypatch.setenv("HOME", str(tmp_path))
    found = parser().parse_args(["edit", "~/run", "~/a.png", "--set", "a=1", "--out", "~/b.png"])
    assert (found.run_directory, found.out) == (f"{tmp_path}/run", f"{tmp_path}/b.png")
    assert parser().parse_args(["train", "digits", "--out=~/run"]).out == f"{tmp_path}/run"


# -- names in labels.csv -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("{}.png", "{}"),
        ("{}.png", "{}.PNG"),
        ("A{}.png", "a{}.png"),
        ("{}.png", "images/{}.png"),
        ("{}.png", "train/{}"),
        ("{}.png", ".\\{}.png"),
        ("images/{}.png", "{}.png"),
        ("images/{}.png", "C:\\Users\\ann\\images\\{}.png"),
        ("images/{}.png", "/home/ann/set/Images/{}.png"),
        ("a/b/{}.png", "b/{}"),
        ("{}", "{}"),
        ("n.{}.png", "n.{}"),
    ],
)
def test_names_are_matched_as_people_write_them(tmp_path: Path, file: str, name: str):
    own = [file.format(i) for i in range(10, 20)]
    written = [name.format(i) for i in range(10, 20)]
    data = ls.open(f"folder:{listed(tmp_path, own, written)}")
    assert data.x[:, 0, 0, 0].tolist() == [10 * i for i in range(10)]
    assert data.ids is not None
    assert data.ids.tolist() == own or own == [entry.replace("\\", "/").removeprefix("./") for entry in written]
    exact = own == written or name.startswith(".")
    assert len(said(data)) == (0 if exact else 1)
    if not exact:
        assert "10 names are" in said(data)[0].replace(" in labels.csv", "")
        assert repr(written[0]) in said(data)[0]


@pytest.mark.parametrize(
    ("own", "written", "parts"),
    [
        (["p/0.png", "q/0.png", "1.png"], ["0.png", "1.png"], ("1 of 2", "line 2 '0.png'", "'p/0.png' or 'q/0.png'")),
        (["0.png", "1.png"], ["0.png", "x/1.png", "y/1.png"], ("already in line 3",)),
        (["0.png", "p/1.png"], ["0.png", "q/1.png"], ("1 of 2", "line 3 'q/1.png'", "did you mean 'p/1.png'")),
        (["0.png", "1.png"], ["0.png", "0"], ("1 of 2", "line 3 '0'")),
        (["face1.png", "1.png"], ["1.png", "fase1.png"], ("did you mean 'face1.png'",)),
        (["a.png", "a.PnG"], ["a.png", "a"], ()),
    ],
)
def test_names_that_fit_no_single_file(tmp_path: Path, own: list[str], written: list[str], parts: tuple[str, ...]):
    listed(tmp_path, own, written)
    if not parts:
        assert len(ls.open(f"folder:{tmp_path}", training=False)) == 2
        return
    with refused(*parts):
        ls.open(f"folder:{tmp_path}", training=False)


def test_all_absent_rows_are_said_at_once(tmp_path: Path):
    own = [f"{i}.png" for i in range(60)]
    listed(tmp_path, own, [f"ghost{i}.png" if i % 3 == 0 else name for i, name in enumerate(own)])
    with refused("20 of 60 rows", "line 2 'ghost0.png'", "line 14 'ghost12.png'", ", ..."):
        ls.open(f"folder:{tmp_path}")


def test_pictures_that_are_not_listed_are_counted(tmp_path: Path):
    listed(tmp_path, [f"{i}.png" for i in range(10)])
    for i in range(3):
        solid(1).save(tmp_path / f"other{i}.jpg")
    data = ls.open(f"folder:{tmp_path}")
    assert said(data) == ["3 pictures are left out, because labels.csv does not list them: 'other0.jpg', ..."]


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "number"])
def test_the_column_of_files_is_found(tmp_path: Path, index: str):
    listed(tmp_path, [f"{i}.png" for i in range(10)])
    rows = [f"{i},{i % 2},{i}.png" for i in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join([f"{index},on,picture", *rows]))
    data = ls.open(f"folder:{tmp_path}", None if index != "number" else ["on"])
    assert data.schema.names == ("on",)
    assert data.x[:, 0, 0, 0].tolist() == [10 * i for i in range(10)]
    assert "column 'picture' names the files" in said(data)[0]
    assert len(said(data)) == (1 if index == "number" else 2)
    chosen = ls.open(f"folder:{tmp_path},file=picture", ["on"])
    assert said(chosen) == []
    with refused("did you mean 'picture'"):
        ls.open(f"folder:{tmp_path},file=pictures")


def test_a_label_of_0_and_1_is_no_column_of_files_called_0_and_1(tmp_path: Path):
    for i in range(30):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    rows = [f"face{i}.png,{i % 2}" for i in range(30)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,glasses", *rows]))
    with pytest.raises(UserError, match=r"no such file .* for 30 of 30 rows \(column 'file'.*did you mean '0.png'"):
        ls.open(f"folder:{tmp_path}")


def test_a_folder_without_labels_says_what_is_expected(tmp_path: Path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"or a table labels\.csv") as refused:
        ls.open(f"folder:{tmp_path}")
    assert "rename" not in str(refused.value)
    (tmp_path / "annotations.csv").write_text("file,glasses\na.png,1\n")
    with pytest.raises(UserError, match=r"is it 'annotations.csv'\? rename it"):
        ls.open(f"folder:{tmp_path}")


def test_the_column_of_files_needs_a_labels_csv(tmp_path: Path):
    classes(tmp_path, solid)
    with refused("labels.csv"):
        ls.open(f"folder:{tmp_path},file=name")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abAB/.\\0", min_size=1, max_size=8), min_size=1, max_size=5), st.text("abAB/.\\0", max_size=8))
def test_a_name_never_fits_two_files_or_one_of_another_name(names: list[str], name: str):
    own = sorted({str(Path(given)) for given in names if not Path(given).is_absolute() and Path(given).name})
    for found in folder._Files(Path("/nowhere"), own).near(name):
        last = name.replace("\\", "/").rstrip("/.").rpartition("/")[2].casefold()
        assert {Path(found).name.casefold(), Path(found).stem.casefold()} & {
            last,
            Path(name.replace("\\", "/")).name.casefold(),
        }


# -- transparency --------------------------------------------------------------------------------------------------------


def logo(hidden: int, mode: str = "RGBA") -> Image.Image:
    """A red square that can be seen, on a colour that cannot."""
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[..., :3] = hidden
    pixels[8:24, 8:24] = (200, 200, 200, 255)
    made = Image.fromarray(pixels)
    if mode in ("P", "P1"):  # one entry of the palette is transparent, in two spellings
        grey = made.convert("L").point([1 if i == hidden else 2 for i in range(256)])
        flat = Image.fromarray(np.asarray(grey)).convert("P")
        flat.putpalette([0, 0, 0, *[hidden] * 3, 200, 200, 200])
        flat.info["transparency"] = 1 if mode == "P1" else bytes([255, 0, 255])
        return flat
    if mode == "L":
        grey = made.convert("L")
        grey.info["transparency"] = hidden
        return grey
    if mode == "RGB":
        colours = made.convert("RGB")
        colours.info["transparency"] = (hidden,) * 3
        return colours
    return made.convert(mode)


@pytest.mark.parametrize("size", [0, 16])
@pytest.mark.parametrize("ending", [".png", ".webp", ".tif", ".gif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "P1", "L", "RGB"])
def test_hidden_colours_never_become_pixels(tmp_path: Path, mode: str, ending: str, size: int):
    if ending != ".png" and mode not in ("RGBA",):
        pytest.skip("is saved as another mode")
    options: dict[str, Any] = {"lossless": True, "exact": True} if ending == ".webp" else {}
    for i in range(12):
        drawn = logo((0, 255)[i % 2], mode)
        more = {"transparency": drawn.info["transparency"]} if "transparency" in drawn.info else {}
        drawn.save(tmp_path / f"{i}{ending}", **options, **more)

    def read(**options: Any) -> Dataset:
        return Dataset.from_images(sorted(tmp_path.rglob("?*.*")), [0, 1] * 6, size=size, **options)

    for background, shade in (("white", 255), ("black", 0)):
        data = read(background=background)
        assert data.shape[0] == (1 if mode in ("LA", "L") else 3)
        assert (data.x[:, :, 0, 0] == shade).all()
        assert np.abs(data.x.astype(int) - data.x[0]).max() == 0
        assert f"put on {background}" in said(data)[-1]
    for kept in (read(background="keep"), read(channels=4)):
        assert kept.shape[0] == 4
        assert (kept.x[:, :, 0, 0] == 0).all()
        assert np.abs(kept.x.astype(int) - kept.x[0]).max() == 0
        assert said(kept) == []


def test_transparency_in_memory_and_at_use_is_as_in_training(tmp_path: Path):
    logos = [logo((0, 255)[i % 2]) for i in range(10)]
    data = Dataset.from_images(logos, [0, 1] * 5)
    assert data.shape == (3, 32, 32)
    assert (data.x[:, :, 0, 0] == 255).all()
    arrays = Dataset.from_images([np.asarray(one) for one in logos], [0, 1] * 5, background="black")
    assert (arrays.x[:, :, 0, 0] == 0).all()
    model = model_of(arrays)
    logos[1].save(tmp_path / "x.png")
    uploaded = read_upload((tmp_path / "x.png").read_bytes(), model.shape, model.framing)
    for used in (Given.of(model, logos[1]), Given.of(model, tmp_path / "x.png"), Given.of(model, str(tmp_path / "x.png"))):
        assert torch.equal(used.x, arrays.samples(np.array([1]))[0])
        assert np.asarray(used.pictures[0])[0, 0].tolist() == [0, 0, 0]
        assert torch.equal(used.x, uploaded)


def test_keep_needs_four_channels():
    with refused("background=keep", "channels=3"):
        Dataset.from_images([logo(0)], [0], channels=3, background="keep")
    with refused("did you mean 'white'"):
        Dataset.from_images([logo(0)], [0], background="wite")  # type: ignore[arg-type]


# -- depth ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".tif", ".jp2"])
@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
def test_deep_pixels_are_scaled_by_the_range_of_the_set(tmp_path: Path, bits: int, ending: str):
    levels = np.linspace(0, 2**bits - 1, 12).astype(np.uint16)
    for i, level in enumerate(levels):
        Image.fromarray(np.full((32, 32), level, np.uint16)).save(tmp_path / f"{i:02}{ending}")
    data = Dataset.from_images(sorted(tmp_path.iterdir()), [0, 1] * 6)
    assert sorted(data.x[:, 0, 0, 0].tolist()) == [int(level) >> (bits - 8) for level in levels]
    assert data.framing.white == 2**bits - 1
    assert f"numbers of {bits} bits" in said(data)[0]
    held = data.save(tmp_path / "held.npz")
    assert ls.open(f"npz:{held}").framing == data.framing


def test_later_pictures_are_scaled_as_those_of_training(tmp_path: Path):
    deep = [np.full((32, 32), 300 * i, np.uint16) for i in range(13)]
    for data in (Dataset.from_images(deep, [0, 1] * 6 + [0]), Dataset.from_arrays(np.stack(deep), [0, 1] * 6 + [0])):
        assert data.framing.white == 4095
        assert data.x[12].max() == 3600 >> 4
        model = model_of(data)
        saving.save(model, tmp_path / "m")
        again = saving.load(tmp_path / "m")
        assert again.framing == data.framing
        for used in (Given.of(again, deep[1]), Given.of(again, np.stack(deep[1:3])), Given.of(again, Image.fromarray(deep[1]))):
            assert float(used.x.reshape(-1)[0]) == pytest.approx((300 >> 4) / 255)
        Image.fromarray(deep[1]).save(tmp_path / "one.png")
        uploaded = read_upload((tmp_path / "one.png").read_bytes(), (1, 32, 32), again.framing)
        assert torch.equal(uploaded, Given.of(again, tmp_path / "one.png").x)
        with refused("60000", "4095"):
            Given.of(again, Image.fromarray(np.full((32, 32), 60000, np.uint16)))


@pytest.mark.parametrize(
    ("top", "white"),
    [(0.4, 1.0), (1.0, 1.0), (0.001, 2.0**-9), (200.0, 255.0), (255.0, 255.0), (255.5, 511.0), (3000.0, 4095.0)],
)
def test_floating_point_files_are_scaled_by_the_range_of_the_set(tmp_path: Path, top: float, white: float):
    for i in range(12):
        Image.fromarray(np.full((32, 32), top * i / 11, np.float32)).save(tmp_path / f"{i:02}.tif")
    data = Dataset.from_images(sorted(tmp_path.iterdir()), [0, 1] * 6)
    assert data.framing.white_real == white
    assert sorted(data.x[:, 0, 0, 0].tolist()) == [round(float(np.float32(top * i / 11)) * 255 / white) for i in range(12)]


@pytest.mark.parametrize(("value", "said"), [(-1.0, "negative"), (np.nan, "NaN"), (np.inf, "infinity"), (1e30, "1e+30")])
def test_floating_point_files_that_are_no_pictures_are_refused(tmp_path: Path, value: float, said: str):
    Image.fromarray(np.full((32, 32), value, np.float32)).save(tmp_path / "x.tif")
    with refused("x.tif", said):
        Dataset.from_images([tmp_path / "x.tif"] * 2, [0, 1])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_shades_keep_the_order_of_values_and_use_the_range(values: list[int]):
    deep = np.array(values, np.uint16)
    shown = shades(deep).astype(int)
    order = np.argsort(deep, kind="stable")
    assert (np.diff(shown[order]) >= 0).all()
    assert max(values) < 128 or shown.max() >= 127
    assert white_of(max(values)) >= max(values)
    assert white_of_real(max(values) / 7) >= max(values) / 7


# -- pages ---------------------------------------------------------------------------------------------------------------


def test_what_a_decoder_trips_over_is_damage(tmp_path: Path):
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "x.tif")
    whole = (tmp_path / "x.tif").read_bytes()
    assert whole.count(b"\x11\x01\x04\x00") == 1
    (tmp_path / "x.tif").write_bytes(whole.replace(b"\x11\x01\x04\x00", b"\x11\x01\x05\x00"))  # where pixels lie is a fraction
    with refused("x.tif", "its content is damaged (TypeError"):
        Dataset.from_images([tmp_path / "x.tif"] * 2, [0, 1])


@pytest.mark.parametrize(("ending", "options"), [(".tif", {}), (".gif", {}), (".png", {}), (".webp", {"lossless": True})])
def test_the_first_page_is_used_and_noted(tmp_path: Path, ending: str, options: dict[str, Any]):
    pages = [solid(level) for level in (0, 120, 240)]
    for i in range(12):
        more = {"save_all": True, "append_images": pages[1:]} if i < 5 else {}
        pages[0].save(tmp_path / f"{i}{ending}", **options, **more)
    data = Dataset.from_images(sorted(tmp_path.iterdir()), [0, 1] * 6)
    assert data.x.max() <= 2
    assert said(data) == ["5 of 12 files have more than one page or frame; the first is used"]


# -- one decision, and what is remembered of it --------------------------------------------------------------------------


def test_a_folder_and_memory_decide_alike(tmp_path: Path):
    made = [solid(i, ("RGB", "L")[i % 3 == 0], (20 + i, 30)) for i in range(12)] + [logo(0)]
    for i, one in enumerate(made):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        one.save(tmp_path / "ab"[i % 2] / f"{i:02}.png")
    ordered = sorted(tmp_path.rglob("*.png"))
    data = ls.open(f"folder:{tmp_path}")
    held = Dataset.from_images(ordered, [0] * 6 + [1] * 7)
    assert data.notes == held.notes
    assert data.shape == held.shape == (3, 64, 64)
    np.testing.assert_array_equal(data.x, held.x)


def test_what_files_are_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "cache"))
    classes(tmp_path / "x", lambda i: logo(0))
    first = ls.open(f"folder:{tmp_path / 'x'}")
    monkeypatch.setattr(images.Look, "at", classmethod(lambda *_: 1 / 0))
    second = ls.open(f"folder:{tmp_path / 'x'}")
    assert first.notes == second.notes
    assert first.framing == second.framing


WIDE = np.zeros((60, 120, 3), np.uint8)
WIDE[:, :30], WIDE[:, 30:60], WIDE[:, 60:90], WIDE[:, 90:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


@pytest.mark.parametrize("size", [(120, 60), (640, 480)])
@pytest.mark.parametrize("ending", [".png", ".jpg"])
@pytest.mark.parametrize("crop", CROPS)
def test_a_wide_picture_is_the_same_at_use_as_in_training(tmp_path: Path, crop: str, ending: str, size: tuple[int, int]):
    classes(tmp_path / "x", lambda i: Image.fromarray(WIDE + np.uint8(i)).resize(size), n=5, ending=ending)
    data = ls.open(f"folder:{tmp_path / 'x'},size=32,crop={crop}")
    saving.save(model_of(data), tmp_path / "m")
    model = saving.load(tmp_path / "m")
    assert data.ids is not None
    file = tmp_path / "x" / str(data.ids[3])
    trained = data.samples(np.array([3]))[0]
    assert torch.equal(Given.of(model, file).x, trained)
    assert torch.equal(Given.of(model, [str(file)] * 2).x[1], trained)
    assert torch.equal(read_upload(file.read_bytes(), model.shape, model.framing), trained)
    held = memory.opened([file, file], [0, 1], like=model)
    assert torch.equal(held.samples(np.array([0]))[0], trained)
    if ending == ".png":
        assert torch.equal(Given.of(model, Image.open(file)).x, trained)
        assert torch.equal(Given.of(model, np.asarray(Image.open(file))).x, trained)


def test_a_directory_is_read_as_a_model_needs_it_where_no_option_says_otherwise(tmp_path: Path):
    classes(tmp_path, lambda i: Image.fromarray(WIDE + np.uint8(i)), n=5)
    data = ls.open(f"folder:{tmp_path},size=32,crop=pad")
    model = model_of(data)
    again = ls.open(f"folder:{tmp_path}", like=model)  # what predict does with another directory
    np.testing.assert_array_equal(again.x, data.x)
    other = ls.open(f"folder:{tmp_path},crop=close", like=model)
    assert other.shape == (3, 32, 32)
    assert other.framing.crop == "close"


def test_runs_of_earlier_versions_say_their_crop_alone(tmp_path: Path):
    home = saving.save(model_of(Dataset.from_images([solid(i) for i in range(10)], [0, 1] * 5)), tmp_path / "m")
    config = files.read_json(home / "config.json")
    del config["framing"]
    files.write_json(home / "config.json", config)
    assert saving.load(home).framing == Framing()
    files.write_json(home / "config.json", {**config, "crop": "pad"})
    assert saving.load(home).framing == Framing("pad")
    for wrong in ({"crop": "centr"}, {"framing": 3}, {"framing": {"white": 100}}, {"framing": {"background": "grey"}}):
        files.write_json(home / "config.json", {**config, **wrong})
        with refused("config.json"):
            saving.load(home)


@settings(max_examples=50)
@given(
    st.builds(
        Framing,
        st.sampled_from(list(CROPS)),
        st.sampled_from(["white", "black", "keep"]),
        st.integers(8, 32).map(lambda bits: 2**bits - 1),
        st.floats(0, 1e6),
    )
)
def test_a_framing_is_what_it_was_when_it_is_read_again(framing: Framing):
    assert Framing.read(framing.to_dict()) == framing


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("late", [True, False])
def test_a_png_may_say_before_or_after_its_pixels_that_it_was_turned(tmp_path: Path, late: bool):
    buffer = io.BytesIO()
    solid(9, size=(20, 12)).save(buffer, "PNG")
    raw, exif = buffer.getvalue(), Image.Exif()
    exif[0x0112] = 6
    place = raw.index(b"IEND" if late else b"IDAT") - 4
    (tmp_path / "x.png").write_bytes(raw[:place] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + raw[place:])
    solid(9, size=(20, 12)).save(tmp_path / "y.png")
    assert images.look(sorted(tmp_path.iterdir())) == {
        tmp_path / "x.png": Look((20, 12), 3),
        tmp_path / "y.png": Look((12, 20), 3),
    }
    assert images.read(tmp_path / "x.png", 3).shape == (3, 20, 12)


def test_sixteen_bit_grey_can_have_a_transparent_value(tmp_path: Path):
    deep = np.full((16, 16), 3000, np.uint16)
    deep[:8] = 7
    Image.fromarray(deep).save(tmp_path / "x.png", transparency=7)
    assert images.read(tmp_path / "x.png", 1)[0, ::8, 0].tolist() == [255, 3000 >> 4]


def test_colours_of_sixteen_bits_are_noted(tmp_path: Path):
    rows = b"".join(b"\0" + struct.pack(">48H", *[4000] * 48) for _ in range(16))
    head = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    raw = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert Look.at(images.opened(io.BytesIO(raw))) == Look((16, 16), 3, coarse=True)
    (tmp_path / "x.png").write_bytes(raw)
    assert "16 bits" in Dataset.from_images([tmp_path / "x.png"] * 2, [0, 1]).notes[0]
