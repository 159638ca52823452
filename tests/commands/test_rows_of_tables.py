"""Rows of a table on the command line: details, draws and notes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace.cli import main
from labelspace.evaluation.whole import evaluate
from labelspace.models.networks import Network
from labelspace.reporting.evaluation import tables

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("rows") / "run"
    data = ls.open("patients:n=600")
    torch.manual_seed(0)
    ls.fit(ls.build("condvae", data, network=Network(width=16, depth=1)), data, out=home, epochs=1, progress=False)
    return home


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_keep_their_detail_unless_told_not_to(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["edit", str(run), "--split", "test", "--set", "age=500", "--out"]
    assert main([*words, str(tmp_path / "kept.csv")]) == 0
    said = capsys.readouterr().err
    assert said.count("note: age=500.0 lies outside of the training data's") == 1
    assert main([*words, str(tmp_path / "plain.csv"), "--no-keep-detail"]) == 0
    data = ls.open("patients:n=600")
    kept, plain = read(tmp_path / "kept.csv"), read(tmp_path / "plain.csv")
    own = data.samples(data.rows("test"))
    for i, variable in enumerate(data.variables):
        missing = own[:, i].isnan().tolist()
        assert [row[variable.name] == "" for row in kept] == missing
        assert all(row[variable.name] for row in plain)
    assert all(row["visits"].isdecimal() for row in kept if row["visits"])
    assert not all(row["visits"].isdecimal() for row in plain)


def test_new_rows_are_draws_or_means(run: Path, tmp_path: Path) -> None:
    words = ["generate", str(run), "-n", "30", "--set", "site=west", "--out"]
    for name, more in (("a", []), ("b", []), ("mean", ["--mean"])):
        assert main([*words, str(tmp_path / f"{name}.csv"), *more]) == 0
    drawn, again, means = (read(tmp_path / f"{name}.csv") for name in ("a", "b", "mean"))
    assert drawn == again
    assert all(row["visits"].isdecimal() and row["site"] == "west" for row in drawn)
    assert len({row["age"] for row in drawn}) == 30
    assert not all(row["visits"].isdecimal() for row in means)


def test_a_file_in_the_place_of_a_sample_is_told_its_option(run: Path, tmp_path: Path, fails: Callable[..., None]) -> None:
    file = tmp_path / "rows.csv"
    assert main(["edit", str(run), "--split", "test", "--set", "treated=1", "--out", str(file)]) == 0
    fails(["edit", str(run), str(file), "--set", "treated=1"], f"for rows of a file give --data table:{file}")
    fails(["edit", str(run), "nothing.csv", "--set", "treated=1"], "vectors are named SPLIT:INDEX, such as test:0")


def test_an_evaluation_sets_drawn_rows_beside_real_ones(run: Path) -> None:
    model, data = ls.load(run), ls.open("patients:n=600")
    generation = evaluate(model, data)["generation"]
    found = generation["rows"]
    assert 0.4 < found["copula"]["value"] < found["auc"]["value"] <= 1
    assert set(found["labels"]) == {"treated", "site"}
    shown = [row for _, _, rows in tables({"generation": generation}) for row in rows]
    line = next(row for row in shown if row[0] == "rows drawn vs real rows, AUC")
    assert line[2:] == ["1.00", f"0.50 (Gaussian copula {found['copula']['value']:.2f})"]
    assert any(row[0] == "rows drawn read as the site asked for" for row in shown)
