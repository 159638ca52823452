"""Vectors from known equations: a table of patients, and counts of genes in cells. Every edit of a label has its truth.

Labels and hidden factors are causes, columns are effects; an edit of a label changes what follows from it and nothing else.
"""

from __future__ import annotations

import numpy as np

from labelspace.data.truth import Cause, Equations
from labelspace.labels import binary, categorical, continuous
from labelspace.variables import Variable

TREATMENTS = (0.5, 1.0, 1.5)
"""The doses of those who are treated, and of cells that are stimulated: the styles of the label."""

# -- a table of patients ------------------------------------------------------------------------------------------------

_SITES = ("north", "south", "west")
_PATIENT = {"dose": (), "site": _SITES, "age": (), "severity": (), "build": (), "habit": ()}
VARIABLES = (
    Variable("pressure"),
    Variable("platelets"),
    Variable("creatinine"),
    Variable("weight"),
    Variable("glucose"),
    Variable("marker"),
    Variable("conductance"),
    Variable("titre"),
    Variable("visits", "count"),
    Variable("ward", "categorical", ("general", "step-down", "intensive")),
)
_NOISE = np.array([4.0, 15_000.0, 0.04, 3.0, 0.3, 0.05, 2e-4, 60.0])  # of measurement, of the columns that are numbers


def patients(n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of factors ``(n, 6)``: older patients and those of one site are treated more often."""
    site = rng.choice(len(_SITES), n, p=(0.5, 0.3, 0.2))
    age = rng.uniform(20, 80, n)
    log_odds = 0.03 * (age - 50) + np.array([-0.5, 0.0, 1.0])[site]
    dose = np.where(rng.random(n) < 1 / (1 + np.exp(-log_odds)), rng.choice(TREATMENTS, n), 0.0)
    return np.stack([dose, site, age, *rng.standard_normal((3, n))], 1)


def _columns(factors: np.ndarray) -> np.ndarray:
    dose, site, age, severity, build, habit = factors.T
    old = (age - 50) / 17
    pressure = 125 + 8 * old + 9 * severity + 4 * build - 14 * dose
    platelets = 2.5e5 * np.exp(0.2 * severity - 0.15 * habit + 0.1 * (site == 1))
    creatinine = 0.9 + 0.15 * old + 0.2 * np.tanh(severity) + 0.12 * dose
    weight = 76 + 11 * build + 2 * old - 5 * (site == 2)
    glucose = 5.5 + 0.5 * build + 0.6 * habit + 0.8 * np.maximum(0, severity)
    marker = 1.5 * dose * (1 + 0.3 * np.tanh(severity)) + 0.2 * habit
    conductance = 0.004 + 0.001 * habit - 0.0008 * old + 0.0012 * (site == 2)
    titre = 800 * np.exp(0.5 * dose - 0.3 * severity + 0.25 * (site == 0))
    visits = np.exp(1.0 + 0.4 * severity + 0.2 * old - 0.5 * dose)
    need = severity - 0.8 * dose
    ward = (need > 0.4).astype(float) + (need > 1.3)
    numbers = (pressure, platelets, creatinine, weight, glucose, marker, conductance, titre)
    return np.stack([*numbers, visits, ward], 1)


def table(missing: float) -> Equations:
    """The generator of patients: ten columns of scales from 0.001 to 100,000, a share of whose cells is missing."""

    def noise(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        x = x.copy()
        x[:, : len(_NOISE)] += _NOISE * rng.standard_normal((len(x), len(_NOISE)))
        x[:, len(_NOISE)] = rng.poisson(x[:, len(_NOISE)])
        x[rng.random(x.shape) < missing] = np.nan
        return x

    return Equations(
        _PATIENT,
        (
            Cause(binary("treated"), 0, ((0.0,), TREATMENTS), lambda dose: dose > 0),
            Cause(categorical("site", _SITES), 1, ((0.0,), (1.0,), (2.0,))),
            Cause(continuous("age", 50.0, 17.3), 2),
        ),
        _columns,
        noise,
    )


# -- counts of genes in cells -------------------------------------------------------------------------------------------

GENES = 60
_TYPES = ("alpha", "beta", "delta", "rare")
_CELL = {"dose": (), "type": _TYPES, "depth": (), "cycle": ()}
_SPREAD = 8.0  # inverse dispersion of counts beyond what is expected


def cells(n: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of factors ``(n, 4)``: four types, one of them of 6%; two of them are stimulated more often; ``depth`` is the
    expected total of a cell."""
    kind = rng.choice(len(_TYPES), n, p=(0.45, 0.3, 0.19, 0.06))
    dose = np.where(rng.random(n) < np.array([0.5, 0.3, 0.6, 0.5])[kind], rng.choice(TREATMENTS, n), 0.0)
    depth = np.exp(rng.normal(np.log(1500.0), 0.4, n))
    return np.stack([dose, kind, depth, rng.uniform(0, 2 * np.pi, n)], 1)


def _rates(factors: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(20)  # what genes do is the same in all data
    base = rng.normal(0, 1.0, GENES)
    of_type = rng.normal(0, 1.2, (len(_TYPES), GENES)) * (rng.random((len(_TYPES), GENES)) < 0.3)
    of_dose = rng.normal(0, 1.0, GENES) * (rng.random(GENES) < 0.25)
    more = rng.uniform(0.6, 1.4, len(_TYPES))  # types answer more and less
    phase, swing = rng.uniform(0, 2 * np.pi, GENES), 0.8 * (rng.random(GENES) < 0.25)
    dose, kind, depth, cycle = factors.T
    kind = kind.astype(int)
    logits = base + of_type[kind] + (dose * more[kind])[:, None] * of_dose + swing * np.cos(cycle[:, None] - phase)
    shares = np.exp(logits)
    return depth[:, None] * shares / shares.sum(1, keepdims=True)


def counts() -> Equations:
    """The generator of cells: a negative binomial count of each of 60 genes."""
    return Equations(
        _CELL,
        (
            Cause(binary("stimulated"), 0, ((0.0,), TREATMENTS), lambda dose: dose > 0),
            Cause(categorical("type", _TYPES), 1, ((0.0,), (1.0,), (2.0,), (3.0,))),
        ),
        _rates,
        lambda x, rng: rng.poisson(x * rng.gamma(_SPREAD, 1 / _SPREAD, x.shape)),
    )
