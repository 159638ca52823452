"""The commands of the worked examples run as they stand, on small files of the same form."""

from __future__ import annotations

import csv
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest

from labelspace.cli import main

DOCS = Path(__file__).parent.parent / "docs"
KINDS = ("CD19+ B", "CD56+ NK", "CD14+ Monocyte")
GENES = ("CD79A", "MS4A1", "NKG7", "GNLY", "LYZ", "CST3", "ACTB", "MALAT1")
PENGUINS = {"Adelie": (38.8, 3700), "Chinstrap": (48.8, 3730), "Gentoo": (47.5, 5080)}


def cells(file: Path) -> None:
    """Cells of three types, whose two markers stand out."""
    anndata, pd = pytest.importorskip("anndata"), pytest.importorskip("pandas")
    kinds = np.arange(90) % 3
    x = np.random.default_rng(0).normal(size=(90, len(GENES))).astype(np.float32)
    for i in range(3):
        x[kinds == i, 2 * i : 2 * i + 2] += 3
    obs = pd.DataFrame({"bulk_labels": pd.Categorical([KINDS[k] for k in kinds])}, index=[f"cell{i}" for i in range(90)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=list(GENES))).write_h5ad(file)


def penguins(file: Path) -> None:
    """Rows with the columns of the penguins, some cells missing."""
    rng = np.random.default_rng(0)
    rows = [["species", "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "year"]]
    for i in range(90):
        kind = list(PENGUINS)[i % 3]
        length, mass = PENGUINS[kind]
        numbers = [f"{rng.normal(length, 2):.1f}", f"{rng.normal(17, 1):.1f}", f"{rng.normal(mass / 20, 5):.0f}"]
        sex = "" if i % 30 == 0 else ("male", "female")[i // 3 % 2]
        rows.append([kind, ("Biscoe", "Dream")[i % 2], *numbers, f"{rng.normal(mass, 300):.0f}", sex, str(2007 + i % 3)])
    rows[5][2] = rows[8][5] = ""
    with file.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


PAGES = {"cells": ("10x_pbmc68k_reduced.h5ad", cells), "table": ("penguins.csv", penguins)}


def fenced(page: str, language: str) -> list[str]:
    """The page's code in a language."""
    parts = re.split(r"^```(.*)\n", (DOCS / f"{page}.md").read_text(), flags=re.M)  # prose, language, code, "", prose, ...
    return [code for found, code in zip(parts[1::4], parts[2::4], strict=True) if found == language]


def commands(page: str) -> list[list[str]]:
    """The page's labelspace commands, with one epoch."""
    blocks = fenced(page, "")
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("labelspace ")]
    return [shlex.split(re.sub(r"--epochs \d+", "--epochs 1 --no-report", line))[1:] for line in lines]


@pytest.mark.parametrize("page", list(PAGES))
def test_the_pages_commands_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = PAGES[page]
    write(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    found = commands(page)
    assert len(found) >= 6
    for command in found:
        assert main(command) == 0, command
        if "--out" in command:
            assert (tmp_path / command[command.index("--out") + 1]).exists()


@pytest.mark.parametrize("page", list(PAGES))
def test_the_pages_code_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    file, write = PAGES[page]
    write(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    for code in fenced(page, "python"):
        exec(compile(re.sub(r"epochs=\d+", "epochs=1", code), page, "exec"), {"__name__": "example"})
    shown = capsys.readouterr().out
    assert ("CD79A" in shown) if page == "cells" else ("bill_length_mm" in shown)
