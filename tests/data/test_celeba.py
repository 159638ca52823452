"""CelebA's files, as its authors and as Kaggle write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import labelspace
from labelspace.data.sources.celeba import CCVAE
from labelspace.data.splits import SPLITS
from labelspace.errors import UserError

N = 40
NAMES = [f"{i + 1:06}.jpg" for i in range(N)]
# All names that the readers look for, and one that they do not, in an order of their own.
ATTRIBUTES = ["5_o_Clock_Shadow", "Goatee", "Mustache", *CCVAE]
CODES = np.random.default_rng(0).choice([-1, 1], (N, len(ATTRIBUTES)))
PARTS = [0] * 24 + [1] * 8 + [2] * 8


def column(name: str) -> np.ndarray:
    return CODES[:, ATTRIBUTES.index(name)] == 1


def attribute_lines() -> list[str]:
    return [f"{name} {' '.join(f'{code:2}' for code in row)}" for name, row in zip(NAMES, CODES, strict=True)]


def celeba(home: Path, csv: bool = False, end: str = "\r\n") -> Path:
    """Writes images whose brightness is their number, with all lists."""
    folder = home / "img_align_celeba" / ("img_align_celeba" if csv else "")
    folder.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        Image.new("RGB", (178, 218), (5 * i, 5 * i, 5 * i)).save(folder / name, quality=95)
    if csv:
        rows = ["image_id," + ",".join(ATTRIBUTES)]
        rows += [",".join([name, *map(str, row)]) for name, row in zip(NAMES, CODES, strict=True)]
        (home / "list_attr_celeba.csv").write_text("\n".join(rows) + "\n")
        pairs = [f"{name},{part}" for name, part in zip(NAMES, PARTS, strict=True)]
        (home / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *pairs]))
    else:
        lines = [str(N), " ".join(ATTRIBUTES) + " ", *attribute_lines(), ""]
        (home / "list_attr_celeba.txt").write_bytes(end.join(lines).encode())
        pairs = [f"{name} {part}" for name, part in zip(NAMES, PARTS, strict=True)]
        (home / "list_eval_partition.txt").write_bytes(end.join(pairs).encode())
        persons = [f"{name} {i // 2 + 1000}" for i, name in enumerate(NAMES[:-1])]
        (home / "identity_CelebA.txt").write_bytes(end.join(persons).encode())
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return celeba(tmp_path_factory.mktemp("celeba"))


def refused(address: str, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        labelspace.open(address)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_everything_of_the_set_is_read(home: Path):
    data = labelspace.open(f"celeba:{home},size=16")
    assert data.x.shape == (N, 3, 16, 16)
    assert isinstance(data.x, np.memmap)
    assert data.schema.names == tuple(ATTRIBUTES)
    assert {label.kind for label in data.schema} == {"binary"}
    np.testing.assert_array_equal(data.values, CODES > 0)
    assert data.observed.all()
    assert [len(data.rows(split)) for split in ("train", "val", "test")] == [24, 8, 8]
    assert data.rows("val").tolist() == list(range(24, 32))
    assert data.ids is not None
    assert data.ids.tolist() == NAMES
    assert data.keys["identity"][:4].tolist() == ["1000", "1000", "1001", "1001"]
    assert data.keys["identity"][-1] == ""
    assert np.abs(data.x[:, 0, 8, 8].astype(int) - 5 * np.arange(N)).max() <= 2
    assert data.notes == ()


def test_splits_that_keep_persons_together_stay_and_labels_are_chosen(home: Path):
    data = labelspace.open(f"celeba:{home},size=16", ["Smiling", "Eyeglasses"], group="identity")
    assert data.grouped == "identity"
    assert data.rows("test").tolist() == list(range(32, 40))
    assert data.schema.names == ("Smiling", "Eyeglasses")


def test_the_files_of_kaggle_hold_the_same(home: Path, tmp_path: Path):
    data, same = labelspace.open(f"celeba:{celeba(tmp_path, csv=True)},size=16"), labelspace.open(f"celeba:{home},size=16")
    np.testing.assert_array_equal(data.values, same.values)
    np.testing.assert_array_equal(data.x, same.x)
    np.testing.assert_array_equal(data.rows("test"), same.rows("test"))
    assert data.keys == {}


def test_the_attributes_of_ccvae(home: Path):
    data = labelspace.open(f"celeba:{home},size=16,attributes=ccvae")
    assert data.schema.names == CCVAE
    np.testing.assert_array_equal(data.values[:, 8] == 1, column("Eyeglasses"))


@pytest.mark.parametrize(("subset", "times"), [("glasses", 2), ("facialhair", 1), ("glassesfacialhair", 1)])
def test_a_subset_has_all_that_have_the_label_and_some_that_have_not(home: Path, subset: str, times: int):
    data, again = (labelspace.open(f"celeba:{home},size=16,subset={subset}", seed=seed) for seed in (0, 1))
    glasses, hair = column("Eyeglasses"), ~column("No_Beard") | column("Mustache") | column("Goatee")
    on = {"glasses": glasses, "facialhair": hair, "glassesfacialhair": glasses | hair}[subset]
    assert data.ids is not None
    assert again.ids is not None
    assert data.ids.tolist() == again.ids.tolist()
    rows = np.array([NAMES.index(name) for name in data.ids])
    assert set(np.flatnonzero(on)) <= set(rows)
    for part, split in enumerate(SPLITS):
        inside = np.array(PARTS) == part
        with_label = int((on & inside).sum())
        assert len(data.rows(split)) == with_label + min(times * with_label, int((~on & inside).sum()))
    for i, name in enumerate(data.schema.names):
        np.testing.assert_array_equal(data.values[:, i] == 1, (glasses if name == "Eyeglasses" else hair)[rows])


def test_crops(tmp_path: Path):
    celeba(tmp_path)
    rows, columns = np.mgrid[:218, :178]
    for name in NAMES:  # red says where a pixel was across, green where it was down
        Image.fromarray(np.stack([columns, rows, 0 * rows], 2).astype(np.uint8)).save(
            tmp_path / "img_align_celeba" / name, quality=100, subsampling=0
        )
    edges = {"centre": ((0, 177), (20, 197)), "none": ((0, 177), (0, 217)), "close": ((22, 155), (27, 190))}
    for crop, (across, down) in edges.items():
        x = labelspace.open(f"celeba:{tmp_path},size=64,crop={crop}").x[0].astype(int)
        assert np.abs(x[0, 32, [0, -1]] - across).max() <= 4, crop
        assert np.abs(x[1, [0, -1], 32] - down).max() <= 4, crop
    x = labelspace.open(f"celeba:{tmp_path},size=64,crop=pad").x[0].astype(int)
    assert x[:, 32, :5].max() <= 8  # black beside the picture
    assert np.abs(x[1, [0, -1], 32] - (0, 217)).max() <= 6


LINES = attribute_lines()


@pytest.mark.parametrize(
    ("file", "change", "parts"),
    [
        ("list_attr_celeba.txt", lambda t: t.replace(" -1", "  0", 1), ("line 3", "column", "'0' is not 1 or -1")),
        ("list_attr_celeba.txt", lambda t: t.replace("000005.jpg", "000004.jpg"), ("line 7", "already in line 6")),
        ("list_attr_celeba.txt", lambda t: t.replace("000005.jpg", "ghost.jpg"), ("list_eval_partition.txt", "'ghost.jpg'")),
        ("list_attr_celeba.txt", lambda t: t.replace(LINES[3], LINES[3][:-3]), ("line 6", "20 attributes, expected 21")),
        ("list_attr_celeba.txt", lambda t: t[: t.index("000030.jpg")], ("40 images but lists 29", "cut short")),
        ("list_attr_celeba.txt", lambda t: t.partition("\r\n")[2], ("line 1", "not the number of images")),
        ("list_attr_celeba.txt", lambda t: "", ("line 1",)),
        ("list_attr_celeba.txt", lambda t: "40", ("names of attributes",)),
        ("list_attr_celeba.txt", lambda t: t.replace("Goatee", "Young", 1), ("same name",)),
        ("list_eval_partition.txt", lambda t: t.replace("000007.jpg 0", "000007.jpg 3"), ("line 7", "'3'", "000007.jpg")),
        ("list_eval_partition.txt", lambda t: t.replace("000007.jpg 0", "000007.jpg"), ("line 7", "1 cells")),
        ("list_eval_partition.txt", lambda t: t.replace("000007.jpg", "000006.jpg"), ("line 7", "already in line 6")),
        ("list_eval_partition.txt", lambda t: t.replace("000007.jpg 0\r\n", ""), ("no line for '000007.jpg'",)),
        ("list_eval_partition.txt", None, ("no file list_eval_partition.txt",)),
        ("list_attr_celeba.txt", None, ("no file list_attr_celeba.txt",)),
        ("img_align_celeba/000009.jpg", None, ("list_attr_celeba.txt, line 11", "no such file '000009.jpg'")),
    ],
)
def test_wrong_files_are_refused_naming_the_line(tmp_path: Path, file: str, change, parts: tuple[str, ...]):
    victim = celeba(tmp_path) / file
    if change is None:
        victim.unlink()
    else:
        victim.write_bytes(change(victim.read_bytes().decode()).encode())
    refused(f"celeba:{tmp_path},size=16", *parts)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ("subset=glases", "did you mean 'glasses'"),
        ("attributes=mvae", "'mvae'"),
        ("subset=glasses,attributes=ccvae", "either"),
        ("crop=center", "did you mean 'centre'"),
        ("size=4", "8 to 256"),
    ],
)
def test_wrong_options_are_refused(home: Path, options: str, part: str):
    refused(f"celeba:{home},{options}", part)


def test_directories_that_are_not_there(tmp_path: Path):
    refused(f"celeba:{tmp_path}/ghost", "no such directory")
    refused(f"celeba:{tmp_path}", "img_align_celeba")


@settings(max_examples=60)
@given(st.sampled_from(["list_attr_celeba.txt", "list_eval_partition.txt", "identity_CelebA.txt"]), st.data())
def test_damaged_lists_are_one_line(home: Path, file: str, data: st.DataObject):
    victim = home / file
    whole = victim.read_bytes()
    raw = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
        raw[place] = data.draw(st.sampled_from([0, 9, 10, 13, 32, 45, 48, 49, 50, 200]))
    message = ""
    try:
        victim.write_bytes(raw[: data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))])
        labelspace.open(f"celeba:{home},size=16", ["Smiling"])
    except UserError as error:
        message = str(error)
    finally:
        victim.write_bytes(whole)
    assert "\n" not in message
