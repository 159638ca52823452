"""FaceScrub's directories, CIFAR's records, and folders of photographs as people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import labelspace
from labelspace.data import store
from labelspace.errors import UserError


def picture(path: Path, shade: int = 0, mode: str = "RGB", size: tuple[int, int] = (12, 10), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).convert(mode).save(path, **options)
    return path


def refused(address: str, *parts: str, **options: Any) -> None:
    with pytest.raises(UserError) as caught:
        labelspace.open(address, **options)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


# -- facescrub -----------------------------------------------------------------------------------------------------------


def persons(home: Path, *names: str, n: int = 12) -> Path:
    for name in names:
        for i in range(n):
            picture(home / name / f"{name}_{i}.jpeg", 20 * i)
    return home


def test_a_directory_a_person(tmp_path: Path):
    persons(tmp_path, "Zoe Adams", "Al Pacino", "Émile Zola")
    data = labelspace.open(f"facescrub:{tmp_path},size=16")
    assert data.x.shape == (36, 3, 16, 16)
    assert data.schema.names == ("person",)
    assert data.schema["person"].classes == ("Al Pacino", "Zoe Adams", "Émile Zola")
    assert data.ids is not None
    for name, code in zip(data.ids, data.values[:, 0], strict=True):
        assert name.startswith(data.schema["person"].classes[int(code)] + "/")


@pytest.mark.parametrize("halves", [("actor_faces", "actress_faces"), ("actors/faces", "actresses/faces")])
def test_directories_of_actors_and_actresses_say_the_gender(tmp_path: Path, halves: tuple[str, str]):
    persons(tmp_path / halves[0], "Al Pacino", "Ben Stein")
    persons(tmp_path / halves[1], "Zoe Adams", "Amy Adams")
    picture(tmp_path / halves[0] / ".." / "images" / "whole.jpeg")
    data = labelspace.open(f"facescrub:{tmp_path},size=16")
    assert len(data) == 48
    assert data.schema["person"].classes == ("Al Pacino", "Amy Adams", "Ben Stein", "Zoe Adams")
    assert data.schema["gender"].classes == ("female", "male")
    decoded = data.schema.decode(data.values, data.observed)
    assert {*zip(decoded["person"], decoded["gender"], strict=True)} == {
        ("Al Pacino", "male"),
        ("Ben Stein", "male"),
        ("Amy Adams", "female"),
        ("Zoe Adams", "female"),
    }
    held = labelspace.open(f"facescrub:{tmp_path},size=16", ["gender"], group="person", seed=2, training=False)
    homes = [set(data.values[rows, 0]) for rows in held.splits.values()]
    assert sum(map(len, homes)) == 4


def test_wrong_directories_of_faces_are_refused(tmp_path: Path):
    refused(f"facescrub:{tmp_path}/ghost", "no such directory")
    refused(f"facescrub:{tmp_path}", "two persons")
    persons(tmp_path, "Al Pacino")
    refused(f"facescrub:{tmp_path}", "two persons")
    (tmp_path / "Nobody").mkdir()
    refused(f"facescrub:{tmp_path}", "Nobody", "no images")
    (tmp_path / "half" / "actor_faces").mkdir(parents=True)
    refused(f"facescrub:{tmp_path}/half", "one gender", "actress_faces")


# -- cifar ---------------------------------------------------------------------------------------------------------------

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 3, 32, 32), dtype=np.uint8)
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def records(rows: slice, classes: int = 10, labels: int = 1) -> bytes:
    i = np.arange(120)[rows]
    columns = [(i % 20)[:, None], (i % 100)[:, None]] if labels == 2 else [(i % classes)[:, None]]
    return np.concatenate([*columns, IMAGES[rows].reshape(len(i), -1)], axis=1).astype(np.uint8).tobytes()


def cifar(home: Path, **replaced: bytes | None) -> Path:
    content: dict[str, bytes | None] = {f"data_batch_{b}.bin": records(slice(20 * b - 20, 20 * b)) for b in range(1, 6)}
    content |= {"test_batch.bin": records(slice(100, 120)), "batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode()}
    for name, raw in (content | {name.replace("__", "."): raw for name, raw in replaced.items()}).items():
        if raw is not None:
            (home / name).write_bytes(raw)
    return home


def test_cifar10(tmp_path: Path):
    data = labelspace.open(f"cifar10:{cifar(tmp_path)}")
    np.testing.assert_array_equal(data.x, IMAGES)
    assert data.schema["class"].classes == tuple(NAMES)
    assert data.values[:, 0].tolist() == [i % 10 for i in range(120)]
    assert data.rows("test").tolist() == list(range(100, 120))
    assert len(data.rows("val")) == 10
    assert data.ids is not None
    assert data.ids[25] == "data_batch_2.bin:5"
    assert "val" not in labelspace.open(f"cifar10:{tmp_path},val=0").splits


def test_cifar100(tmp_path: Path):
    (tmp_path / "train.bin").write_bytes(records(slice(0, 100), labels=2))
    (tmp_path / "test.bin").write_bytes(records(slice(100, 120), labels=2))
    (tmp_path / "coarse_label_names.txt").write_text("\n".join(f"c{i}" for i in range(20)))
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"f{i}" for i in range(100)))
    data = labelspace.open(f"cifar10:{tmp_path},val=0")
    np.testing.assert_array_equal(data.x, IMAGES)
    assert data.schema.names == ("coarse", "fine")
    assert data.values[117].tolist() == [17, 17]
    assert data.values[55].tolist() == [15, 55]


@pytest.mark.parametrize(
    ("replaced", "parts"),
    [
        ({"data_batch_3__bin": records(slice(0, 20))[:-5]}, ("data_batch_3.bin", "cut short", "3073")),
        ({"test_batch__bin": b""}, ("test_batch.bin", "0 bytes")),
        ({"data_batch_2__bin": None}, ("no file data_batch_2.bin",)),
        ({"batches__meta__txt": None}, ("no file batches.meta.txt",)),
        ({"batches__meta__txt": b"cat\ndog\n"}, ("data_batch_1.bin", "record 3", "label 2", "2 classes")),
        ({"batches__meta__txt": b"\xff\xfe\n"}, ("batches.meta.txt",)),
        ({"batches__meta__txt": b"cat\ncat\n"}, ("batches.meta.txt",)),
        ({"data_batch_1__bin": None, "data_batch_1": b"\x80\x02}q", "batches__meta__txt": None}, ("pickled", "binary version")),
    ],
)
def test_wrong_cifar_files_are_refused(tmp_path: Path, replaced: dict[str, Any], parts: tuple[str, ...]):
    refused(f"cifar10:{cifar(tmp_path, **replaced)}", *parts)


def test_wrong_cifar_options_are_refused(tmp_path: Path):
    refused(f"cifar10:{tmp_path},val=1", "val")
    refused(f"cifar10:{tmp_path}/ghost", "no such directory")


# -- folders -------------------------------------------------------------------------------------------------------------


def listed(home: Path, lines: list[str], end: str = "\n", encoding: str = "utf-8") -> Path:
    for i in range(12):
        if not (home / f"{i}.png").exists():
            picture(home / f"{i}.png", 20 * i)
    (home / "labels.csv").write_bytes((end.join(lines) + end).encode(encoding))
    return home


def test_samples_have_names_and_a_column_can_say_which_belong_together(tmp_path: Path):
    people = ["ann", "bob", "eve", "", "NA", "kim"]
    lines = ["file,on,person,note"] + [f"{i}.png,{i % 2},{people[i // 2]},text {i}" for i in range(12)]
    home = listed(tmp_path, lines)
    data = labelspace.open(f"folder:{home}", group="person", training=False)
    assert data.ids is not None
    assert data.ids.tolist() == [f"{i}.png" for i in range(12)]
    assert data.schema.names == ("on", "note")
    assert data.keys["person"].tolist() == ["ann"] * 2 + ["bob"] * 2 + ["eve"] * 2 + [""] * 4 + ["kim"] * 2
    assert data.grouped == "person"
    both = labelspace.open(f"folder:{home}", ["person", "on"], group="person", training=False)
    assert both.schema.names == ("person", "on")
    assert "person" in both.keys
    refused(f"folder:{home}", "did you mean 'person'", group="persn", labels=["on"])


def test_a_column_of_many_texts_fails_only_where_it_is_a_label_and_says_what_to_do(tmp_path: Path):
    for i in range(60):
        picture(tmp_path / f"{i}.png", i)
    lines = ["file,on,person"] + [f"{i}.png,{i % 2},person {i}" for i in range(60)]
    home = listed(tmp_path, lines)
    refused(f"folder:{home}", "labels.csv", "'person' has 60 different texts", "group='person'", "labels=")
    assert labelspace.open(f"folder:{home}", ["on"]).schema.names == ("on",)
    assert len(np.unique(labelspace.open(f"folder:{home}", group="person").keys["person"])) == 60
    refused(f"folder:{home}", "did you mean 'on'", labels=["onn"])
    assert labelspace.open(f"folder:{home}", []).schema.names == ()


def test_a_wrong_label_is_refused_before_any_image_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = listed(tmp_path, ["file,on"] + [f"{i}.png,1" if i else "0.png,x=y,z" for i in range(12)])
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "cache"))
    refused(f"folder:{home}", "line 2", "3 cells")
    listed(home, ["file,on", *(f"{i}.png," for i in range(12))])
    refused(f"folder:{home}", "'on' has no entry")
    assert not (tmp_path / "cache").exists()
    listed(home, ["file,on", *(f"{i}.png,{i % 2}" for i in range(12))])
    with store.watched() as first:
        labelspace.open(f"folder:{home}")
    listed(home, ["file,off", *(f"{i}.png,{(i + 1) % 2}" for i in range(12))])
    with store.watched() as second:
        assert labelspace.open(f"folder:{home}").schema.names == ("off",)
    assert [built.drawn for built in (*first, *second)] == [12, 0]


def test_tables_of_european_spreadsheets(tmp_path: Path):
    lines = ["sep=;", "Datei;an;Größe;Bart, voll"] + [
        f"{i}.png;{i % 2};{i},5;{'ja' if i % 3 else 'nein, nie'}" for i in range(12)
    ]
    data = labelspace.open(f"folder:{listed(tmp_path, lines, chr(13) + chr(10), 'utf-8-sig')}", ["an", "Größe"])
    assert data.schema["Größe"].kind == "continuous"
    assert data.values[:, 1].tolist() == [i + 0.5 for i in range(12)]
    tabs = [line.replace(";", "\t") for line in lines[1:]]
    assert labelspace.open(f"folder:{listed(tmp_path, tabs)}", ["an"]).schema.names == ("an",)


def test_names_written_on_windows(tmp_path: Path):
    for i in range(12):
        picture(tmp_path / "sub dir" / f"{i}.JPG", 20 * i)
    (tmp_path / "labels.csv").write_text("\r\n".join(["file,on"] + [f"sub dir\\{i}.JPG,{i % 2}" for i in range(12)]))
    data = labelspace.open(f"folder:{tmp_path}")
    assert data.ids is not None
    assert data.ids[3] == "sub dir/3.JPG"


def test_photographs_of_different_shapes_are_cut_at_their_centre(tmp_path: Path):
    """A white square in the middle stays square and of the same size, whatever the photograph's shape."""
    for i, (width, height) in enumerate([(40, 40), (80, 40), (40, 120), (41, 57)] * 3):
        pixels = np.zeros((height, width), np.uint8)
        pixels[height // 2 - 10 : height // 2 + 10, width // 2 - 10 : width // 2 + 10] = 255
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "ab"[i % 2] / f"{i}.png")
    for crop, square in (("centre", True), ("none", False), ("pad", True)):
        x = labelspace.open(f"folder:{tmp_path},size=32,crop={crop}").x[:, 0] > 127
        across, down = x.any(1).sum(1), x.any(2).sum(1)
        assert bool((np.abs(across - down) <= 1).all()) is square
        if crop == "centre":
            assert np.abs(across - 16).max() <= 1
    refused(f"folder:{tmp_path},size=32,crop=center", "did you mean 'centre'")


def test_photographs_as_cameras_and_programs_write_them(tmp_path: Path):
    """All are the same upright picture, whatever the mode, depth, ending or orientation."""
    upright = np.zeros((24, 16), np.uint8)
    upright[:12] = 200
    grey, home = Image.fromarray(upright), tmp_path / "a"
    home.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright)).convert("RGB").save(home / "turned.JPG", exif=exif, quality=100)
    grey.convert("CMYK").save(home / "print.jpeg", quality=100)
    grey.convert("LA").save(home / "la.png")
    grey.convert("RGB").quantize(4).save(home / "palette.GIF")
    palette = grey.convert("RGB").quantize(4)
    palette.save(home / "clear.PNG", transparency=bytes([255, 255, 0]))  # an entry that no pixel has
    Image.fromarray(upright.astype(np.uint16) * 257).save(home / "deep.png")
    Image.fromarray(upright.astype(np.int32) * 257).save(home / "deeper.tif")
    Image.fromarray(upright > 0).save(home / "bit.png")
    for i in range(120):
        picture(tmp_path / "b" / f"{i}.bmp", i, size=(16, 24))
    data = labelspace.open(f"folder:{tmp_path},channels=3")
    assert [note.partition(" ")[0] for note in data.notes] == ["2", "pixels"]  # are transparent, of more than 8 bits
    assert data.ids is not None
    for name, x in zip(data.ids, data.x, strict=True):
        if name.startswith("a/"):
            wanted = np.where(upright > 0, 255, 0) if "bit" in name else upright
            assert np.abs(x.astype(int) - wanted).max() <= 12, name
    Image.fromarray(upright.astype(np.float32)).save(home / "scientific.tif")
    deeper = labelspace.open(f"folder:{tmp_path},channels=3")
    assert "floating-point pixels go up to 200: 255 is white" in deeper.notes
    assert deeper.ids is not None
    assert (deeper.x[deeper.ids.tolist().index("a/scientific.tif")] == upright).all()


def test_images_that_cannot_be_read_are_left_out_of_everything(tmp_path: Path):
    lines = ["file,level,person"] + [f"{i:03}.png,{i}.5,p{i // 2}" for i in range(230)]
    for i in range(230):
        picture(tmp_path / f"{i:03}.png", i, "L", (8, 8))
    for i in (70, 129):
        (tmp_path / f"{i:03}.png").write_bytes(b"junk")
    data = labelspace.open(f"folder:{listed(tmp_path, lines)},size=8,channels=1", group="person")
    left = [i for i in range(230) if i not in (70, 129)]
    assert isinstance(data.x, np.memmap)
    assert data.x[:, 0, 0, 0].tolist() == left
    assert data.values[:, 0].tolist() == [i + 0.5 for i in left]
    assert data.schema["level"].mean == pytest.approx(np.mean(left) + 0.5)
    assert data.ids is not None
    assert data.ids.tolist() == [f"{i:03}.png" for i in left]
    assert data.keys["person"].tolist() == [f"p{i // 2}" for i in left]
    assert sorted(np.concatenate(list(data.splits.values()))) == list(range(228))
    assert "2 of 230" in data.notes[0]
    assert "070.png" in data.notes[0]


def test_sides_that_no_model_takes_are_fitted_without_a_size(tmp_path: Path):
    for i in range(4):
        picture(tmp_path / "ab"[i % 2] / f"{i}.png", size=(300, 200))
    data = labelspace.open(f"folder:{tmp_path}")
    assert data.shape == (3, 64, 64)
    assert "200 x 300 are fitted to 64 x 64" in data.notes[0]


@settings(max_examples=150)
@given(st.data())
def test_any_labels_file_is_read_or_refused_with_one_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    home = tmp_path_factory.getbasetemp() / "fuzzed"
    for i in range(4):
        if not (home / f"{i}.png").exists():
            picture(home / f"{i}.png", i)
    cell = st.one_of(
        st.sampled_from(
            ["0.png", "1.png", "2.png", "3.png", "1", "0", "", "NA", "1e400", "-3,5", "a", '"', '"a\nb"', "x=y", "\0"]
        ),
        st.text(max_size=6),
    )
    if data.draw(st.booleans()):
        rows = [[f"{i}.png", data.draw(cell), data.draw(cell)] for i in range(4)]
        rows.insert(0, ["file", data.draw(cell), data.draw(cell)])
    else:
        rows = data.draw(st.lists(st.lists(cell, max_size=4), max_size=6))
    text = data.draw(st.sampled_from(["\n", "\r\n", "\r"])).join(data.draw(st.sampled_from(",;\t")).join(row) for row in rows)
    (home / "labels.csv").write_bytes(text.encode("utf-8", errors="surrogatepass"))
    message = ""
    try:
        labelspace.open(f"folder:{home}", training=False)
    except UserError as error:
        message = str(error)
    assert "\n" not in message
