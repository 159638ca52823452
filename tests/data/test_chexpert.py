"""CheXpert's tables and directories."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import labelspace
from labelspace.data.dataset import Dataset
from labelspace.data.sources.chexpert import FINDINGS
from labelspace.errors import UserError

HEADER = ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS])
CYCLE = ["1.0", "0.0", "-1.0", ""]


def line(part: str, patient: int, view: int, kind: str, findings: list[str], sex: str = "", ap: str | None = None) -> str:
    path = f"CheXpert-v1.0-small/{part}/patient{patient:05}/study1/view{view}_{kind.lower()}.jpg"
    sex = sex or ("Female" if patient % 2 else "Male")
    projection = ap if ap is not None else ("AP" if patient % 3 else "PA") if kind == "Frontal" else ""
    return ",".join([path, sex, str(20 + patient % 60), kind, projection, *findings])


def train_lines() -> list[str]:
    """20 patients with two frontal views, every second with a lateral one too."""
    out = []
    for patient in range(1, 21):
        for view in (1, 2):
            # like the set: No Finding is 1.0 or empty
            findings = ["1.0" if (patient + view) % 4 == 0 else "", *(CYCLE[(patient + view + i) % 4] for i in range(13))]
            out.append(line("train", patient, view, "Frontal", findings))
        if patient % 2:
            out.append(line("train", patient, 3, "Lateral", ["", *(CYCLE[(patient + i) % 4] for i in range(13))]))
    return out


def valid_lines() -> list[str]:
    findings = [[str(float((p + i) % 2)) for i in range(14)] for p in range(6)]
    return [line("valid", 64541 + p, 1, "Frontal", findings[p]) for p in range(6)]


def chexpert(home: Path, end: str = "\n", bom: str = "", **tables: str) -> Path:
    """Writes the set into ``home/CheXpert-v1.0-small``; ``tables`` replace train or valid."""
    inside = home / "CheXpert-v1.0-small"
    for name, lines in (("train", train_lines()), ("valid", valid_lines())):
        for row in lines:
            file = home / row.partition(",")[0]
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (39, 32), (len(row) * 7) % 256).save(file)
        text = tables.get(name, bom + end.join([HEADER, *lines, ""]))
        (inside / f"{name}.csv").write_bytes(text.encode())
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chexpert(tmp_path_factory.mktemp("chexpert"), end="\r\n", bom="\ufeff")


SOME = ["Sex", "Age", "Edema", "No Finding"]


def refused(address: str, *parts: str) -> None:
    with pytest.raises(UserError) as caught:
        labelspace.open(address)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def finding(data: Dataset, name: str) -> list[float | None]:
    """A label's values, None where it is missing."""
    column = data.schema.index(name)
    return [float(v) if seen else None for v, seen in zip(data.values[:, column], data.observed[:, column], strict=True)]


@pytest.mark.parametrize("inside", [False, True])
def test_frontal_views_are_read_with_their_labels(home: Path, inside: bool):
    data = labelspace.open(f"chexpert:{home / 'CheXpert-v1.0-small' if inside else home},size=16")
    assert data.x.shape == (46, 1, 16, 16)
    assert data.schema.names == ("Sex", "Age", "Projection", *FINDINGS)
    assert data.schema["Sex"].classes == ("Female", "Male")
    assert data.schema["Age"].kind == "continuous"
    assert data.schema["Projection"].classes == ("AP", "PA")
    assert data.ids is not None
    assert data.ids[0] == "train/patient00001/study1/view1_frontal.jpg"
    assert data.keys["patient"][:3].tolist() == ["patient00001", "patient00001", "patient00002"]
    frontal = [row.split(",") for row in train_lines() if "Frontal" in row] + [row.split(",") for row in valid_lines()]
    meaning = {"1.0": 1.0, "0.0": 0.0, "-1.0": None, "": None}
    assert finding(data, "Edema") == [meaning[row[5 + FINDINGS.index("Edema")]] for row in frontal]
    assert finding(data, "No Finding") == [{**meaning, "": 0.0}[row[5]] for row in frontal]
    assert finding(data, "Age") == [float(row[2]) for row in frontal]
    assert finding(data, "Sex") == [float(row[1] == "Male") for row in frontal]
    assert (data.values[~data.observed] == 0).all()


def test_no_patient_is_in_two_splits_and_radiologists_labels_are_the_test(home: Path):
    splits = []
    for seed in (0, 0, 1):
        data = labelspace.open(f"chexpert:{home},size=16,val=0.2", seed=seed)
        homes = [set(data.keys["patient"][data.rows(split)]) for split in ("train", "val", "test")]
        assert sum(map(len, homes)) == len(set.union(*homes)) == 26
        assert [len(part) for part in homes] == [16, 4, 6]
        assert homes[2] == {f"patient{64541 + i}" for i in range(6)}
        splits.append(data.rows("val").tolist())
    assert splits[0] == splits[1] != splits[2]
    same = labelspace.open(f"chexpert:{home},size=16,val=0.2", group="patient")
    assert same.rows("val").tolist() == splits[0]
    assert "val" not in labelspace.open(f"chexpert:{home},size=16,val=0").splits


def test_uncertain_and_blank_findings_are_what_is_asked_for(home: Path):
    frontal = [row.split(",")[5 + FINDINGS.index("Edema")] for row in [*train_lines(), *valid_lines()] if "Frontal" in row]
    for uncertain, blank in (("0", "missing"), ("1", "0"), ("missing", "0")):
        data = labelspace.open(f"chexpert:{home},size=16,uncertain={uncertain},blank={blank}")
        number = {"0": 0.0, "1": 1.0, "missing": None}
        meaning = {"1.0": 1.0, "0.0": 0.0, "-1.0": number[uncertain], "": number[blank]}
        assert finding(data, "Edema") == [meaning[text] for text in frontal]


def test_views(home: Path):
    both = labelspace.open(f"chexpert:{home},size=16,views=all")
    assert len(both) == 56
    assert both.schema["View"].classes == ("Frontal", "Lateral")
    lateral = [kind == 1 for kind in finding(both, "View")]
    assert sum(lateral) == 10
    assert [value is None for value in finding(both, "Projection")] == lateral
    refused(f"chexpert:{home},size=16,views=lateral", "test split is empty")
    alone = labelspace.open(f"chexpert:{home},size=16,views=lateral", training=False)
    assert len(alone) == 10
    assert "Projection" not in alone.schema.names


def edited(number: int, column: str, text: str) -> str:
    rows = [HEADER, *train_lines()]
    cells = rows[number - 1].split(",")
    cells[[*HEADER.split(",")].index(column)] = text
    rows[number - 1] = ",".join(cells)
    return "\n".join(rows)


GHOST = "CheXpert-v1.0-small/train/patient00001/study1/view9_frontal.jpg"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (edited(4, "Edema", "2.0"), ("train.csv, line 4", "column 'Edema'", "'2.0'")),
        (edited(4, "Age", "old"), ("line 4", "'Age'", "'old'")),
        (edited(4, "Sex", "F"), ("line 4", "'Sex'", "'F'")),
        (edited(4, "AP/PA", "XX"), ("line 4", "'AP/PA'", "'XX'")),
        (edited(4, "Frontal/Lateral", ""), ("line 4", "'Frontal/Lateral'")),
        (edited(4, "Path", "somewhere.jpg"), ("line 4", "'Path'", "patient00001")),
        (edited(3, "Path", GHOST), ("train.csv, line 3", "no such file")),
        (edited(3, "Path", train_lines()[0].split(",")[0]), ("line 3", "already in line 2")),
        (edited(3, "Path", "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg"), ("patient64541", "valid.csv")),
        (edited(5, "Sex", "Male,Male"), ("line 5", "20 cells, expected 19")),
        (edited(1, "Edema", "Oedema"), ("line 1", "'Edema'")),
        ("", ("line 1", "'Path'")),
        (edited(4, "Sex", '"Male'), ("line",)),
    ],
)
def test_wrong_rows_are_refused_naming_line_and_column(tmp_path: Path, text: str, parts: tuple[str, ...]):
    refused(f"chexpert:{chexpert(tmp_path, train=text)},size=16", *parts)


def test_rare_entries_are_missing(tmp_path: Path):
    rows = [HEADER, *train_lines()]
    for number, (column, text) in {1: ("AP/PA", "LL"), 2: ("Sex", "Unknown"), 4: ("Age", "")}.items():
        cells = rows[number].split(",")
        cells[[*HEADER.split(",")].index(column)] = text
        rows[number] = ",".join(cells)
    data = labelspace.open(f"chexpert:{chexpert(tmp_path, train=chr(10).join(rows))},size=16")
    assert finding(data, "Projection")[0] is finding(data, "Sex")[1] is finding(data, "Age")[2] is None


@pytest.mark.parametrize("option", ["views=front", "uncertain=2", "blank=1", "val=1", "val=nan", "channels=2"])
def test_wrong_options_are_refused(home: Path, option: str):
    refused(f"chexpert:{home},{option}", option.partition("=")[0])


def test_directories_that_are_not_there(tmp_path: Path):
    refused(f"chexpert:{tmp_path}/ghost", "no such directory")
    refused(f"chexpert:{tmp_path}", "train.csv")
    chexpert(tmp_path)
    (tmp_path / "CheXpert-v1.0-small" / "valid.csv").unlink()
    refused(f"chexpert:{tmp_path}", "no such file", "valid.csv")


@settings(max_examples=60)
@given(st.data())
def test_damaged_tables_are_one_line(home: Path, data: st.DataObject):
    victim = home / "CheXpert-v1.0-small" / "train.csv"
    whole = victim.read_bytes()
    raw = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
        raw[place] = data.draw(st.sampled_from([0, 10, 13, 34, 44, 46, 48, 59, 65, 200]))
    message = ""
    try:
        victim.write_bytes(raw[: data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))])
        labelspace.open(f"chexpert:{home},size=16", SOME)
    except UserError as error:
        message = str(error)
    finally:
        victim.write_bytes(whole)
    assert "\n" not in message
