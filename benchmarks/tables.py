"""What edits of a table's rows leave alone, and how far rows that are drawn are from real ones.

    python benchmarks/tables.py [--seed 100] [--only patients,mixed] [--penguins FILE] [--out FILE.json]

``patients:n=5000`` has known equations: per label and column the mean absolute change by an edit in units of the column's
spread, with and without ``keep_detail``, beside the true one. Then rows that a default ``lsvae`` draws, beside held-out rows
(validation and test splits): the AUC of a classifier that tells them apart, beside the same of a Gaussian copula of the
training rows, and the share of drawn rows that a classifier of real rows reads as asked. The tables are patients (n=2000), two
that are made here, scikit-learn's wine, and the penguins of the palmerpenguins package where their file is given.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import labelspace as ls
from labelspace.data.dataset import Dataset
from labelspace.evaluation.whole import drawn_rows
from labelspace.models.base import Model

VALUES = {"treated": (0, 1), "site": ("north", "south", "west"), "age": (30, 50, 70)}
UNRELATED = 1e-6  # of a column's spread: a true change below is none


def mixed(seed: int, n: int = 2000) -> Dataset:
    """Whole numbers and classes that go together."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["a", "b", "c"], n, p=(0.5, 0.3, 0.2))
    level = np.select([kind == "a", kind == "b"], [0.0, 1.0], 2.0) + rng.normal(0, 0.7, n)
    frame = pd.DataFrame(
        {
            "kind": kind,
            "rooms": np.clip(np.round(3 + level + rng.normal(0, 0.8, n)), 1, 9).astype(int),
            "floor": np.clip(np.round(2 - level + rng.exponential(2, n)), 0, 20).astype(int),
            "year": np.round(1990 + 8 * level + rng.normal(0, 10, n)).astype(int),
            "heating": np.where(level + rng.normal(0, 1, n) > 1.5, "gas", np.where(rng.random(n) < 0.3, "oil", "wood")),
            "area": 40 + 20 * level + rng.normal(0, 8, n),
        }
    )
    return Dataset.from_frame(frame, ["kind"], seed=seed)


def heavy(seed: int, n: int = 2000) -> Dataset:
    """Heavy tails and missing cells."""
    rng = np.random.default_rng(seed)
    on = rng.integers(0, 2, n)
    income = np.exp(rng.normal(3 + 0.6 * on, 0.9))
    columns = {
        "income": income,
        "debt": income * rng.gamma(0.7, 1.0, n),
        "change": rng.standard_t(2, n) + on,
        "score": rng.normal(0, 1, n) + 0.5 * np.log(income),
        "claims": rng.poisson(np.exp(0.4 * on)),
    }
    frame = pd.DataFrame({name: np.where(rng.random(n) < 0.1, np.nan, column) for name, column in columns.items()})
    frame["on"] = on
    return Dataset.from_frame(frame, ["on"], seed=seed, kinds={"claims": "count"})


def wine(seed: int) -> Dataset:
    from sklearn.datasets import load_wine

    frame: pd.DataFrame = load_wine(as_frame=True).frame  # pyright: ignore[reportAttributeAccessIssue]
    frame["target"] = [f"class {value}" for value in frame["target"]]
    return Dataset.from_frame(frame, ["target"], seed=seed)


def trained(data: Dataset, seed: int) -> Model:
    torch.manual_seed(seed)
    return ls.fit(ls.build("lsvae", data), data, seed=seed, progress=False).model


def moved(seed: int) -> dict[str, Any]:
    """Per label, value and column: the change by an edit, with and without keep_detail, and the true one."""
    data = ls.open("patients:n=5000", seed=seed)
    model, rows = trained(data, seed), data.rows("test")
    x, labels, spread = data.samples(rows), data.labels(rows), np.nanstd(data.x[data.rows("train")], 0)
    out: dict[str, Any] = {}
    for name, values in VALUES.items():
        for value in values:
            truths, _ = data.counterfactuals(name, data.schema[name].parse(value), rows)
            change = {"true": (truths.mean(1) - data.expected(rows)).numpy()}
            for keep in (False, True):
                change["kept" if keep else "plain"] = (
                    ls.interventions.set(model, x, {name: value}, labels, keep_detail=keep).x - x
                ).numpy()
            sizes = {what: np.nanmean(np.abs(c), 0) / spread for what, c in change.items()}
            out[f"{name}={value}"] = {
                variable.name: {what: float(size[j]) for what, size in sizes.items()}
                for j, variable in enumerate(data.variables)
            }
    return out


def drawn(data: Dataset, seed: int) -> dict[str, Any]:
    """Rows that a model draws beside held-out ones."""
    model = trained(data, seed)
    rows = np.concatenate([data.rows("val"), data.rows("test")])
    made = ls.interventions.generate(model, n=len(rows), generator=torch.Generator().manual_seed(seed))
    assert made.labels is not None
    return {"held_out": len(rows), **drawn_rows(data, made.tensor, made.labels[0], rows, seed)}


def _say_moved(found: dict[str, Any]) -> None:
    names = list(next(iter(found.values())))
    print("mean absolute change over the column's spread: plain / with keep_detail / true")
    print(" ".join(["".ljust(12), *(name[:16].rjust(18) for name in names)]))
    for what, row in found.items():
        cells = [f"{c['plain']:.3f} / {c['kept']:.3f} / {c['true']:.3f}".rjust(18) for c in row.values()]
        print(" ".join([what.ljust(12), *cells]))
    nothing = [c for row in found.values() for c in row.values() if c["true"] < UNRELATED]
    print(f"most of any unrelated column: {max(c['kept'] for c in nothing):.4f} with keep_detail", end="")
    print(f", {max(c['plain'] for c in nothing):.3f} without")


def _say_drawn(name: str, row: dict[str, Any]) -> None:
    def shown(score: dict[str, float]) -> str:
        return f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"

    print(f"{name}: rows drawn vs real rows: AUC {shown(row['auc'])} (Gaussian copula {shown(row['copula'])}; ", end="")
    print(f"0.5 is indistinguishable; {row['held_out']} held-out rows)")
    for label, read in row["labels"].items():
        print(f"  read as the {label} asked for: {shown(read['asked'])}; real rows {shown(read['real'])}")


def main() -> None:
    given = argparse.ArgumentParser()
    given.add_argument("--seed", type=int, default=100)
    given.add_argument("--only", default="")
    given.add_argument("--penguins")
    given.add_argument("--out")
    asked = given.parse_args()
    torch.set_num_threads(1)
    seed = asked.seed
    tables: dict[str, Callable[[], Dataset]] = {
        "patients": lambda: ls.open("patients:n=2000", seed=seed),
        "mixed": lambda: mixed(seed),
        "heavy": lambda: heavy(seed),
        "wine": lambda: wine(seed),
    }
    if asked.penguins:
        tables["penguins"] = lambda: ls.open(f"table:{asked.penguins}", ["species"], seed=seed)
    only = asked.only.split(",") if asked.only else ["moved", *tables]
    found: dict[str, Any] = {"seed": seed}
    for name in only:
        began = time.monotonic()
        if name == "moved":
            found[name] = moved(seed)
            _say_moved(found[name])
        else:
            found[name] = drawn(tables[name](), seed)
            _say_drawn(name, found[name])
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    if asked.out:
        Path(asked.out).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
