"""The room as strangers use it: without torch, with names at its door, and with factors of any kind."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

from labelspace import metrics
from labelspace.errors import UserError

_ALONE = """
import sys

class WithoutTorch:  # scipy looks into sys.modules["torch"], so that None there would break it
    def find_spec(name, *_):
        if name == "torch":
            raise ImportError(name)

sys.meta_path.insert(0, WithoutTorch)
import numpy as np
import labelspace.metrics
from labelspace.metrics import dci, mig, strong_probe, suite

for name in labelspace.metrics.__all__:
    getattr(labelspace.metrics, name)
import labelspace.metrics.morphology
rng = np.random.default_rng(0)
factors = rng.integers(0, 3, (200, 2))
codes = factors + 0.1 * rng.normal(size=(200, 2))
assert mig(codes, factors).score.value > 0.8
assert dci(codes, factors, stages=5)[0].score.value > 0.8
assert strong_probe(codes, factors[:, 0]).value > 0.9
assert suite(codes, factors)["explicitness"]["value"] > 0.9
others = {name.split(".")[1] for name in sys.modules if name.startswith("labelspace.")} - {"metrics", "errors", "cores"}
assert not others, others
"""


def test_metrics_need_neither_torch_nor_the_rest_of_the_package() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", _ALONE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_offered_is_there_and_in_the_table() -> None:
    rows = [line.split() for line in (metrics.__doc__ or "").splitlines() if line.endswith(".py")]
    named = {name.strip(","): row[-1] for row in rows for name in (row[:2] if row[0].endswith(",") else row[:1])}
    assert set(named) - {"morphology"} == set(metrics.__all__) == set(dir(metrics))
    for name in metrics.__all__:
        assert getattr(metrics, name) is getattr(importlib.import_module(f"labelspace.metrics.{named[name][:-3]}"), name)
    with pytest.raises(AttributeError, match="migg"):
        _ = metrics.migg


@pytest.mark.parametrize(
    ("column", "discrete"),
    [
        (np.array([3, 1, 2]), True),
        (np.array([True, False, True]), True),
        (np.array(["red", "blue", "red"]), True),
        (np.array([0.0, 2.0, 2.0]), True),
        (np.array([0.0, 1.0, 2.0]), False),
        (np.array([0.0, 0.5, 0.5]), False),
    ],
)
def test_factors_are_discrete_by_convention(column: np.ndarray, discrete: bool) -> None:
    assert metrics.is_discrete(column) == discrete


def test_factors_may_be_words_and_columns_of_several_kinds() -> None:
    rng = np.random.default_rng(0)
    colours, sizes = rng.integers(0, 3, 600), rng.normal(size=600)
    codes = np.stack([colours, sizes, rng.normal(size=600)], 1)
    words = np.array(["blue", "green", "red"])[colours]
    assert metrics.mig(codes, words) == metrics.mig(codes, colours[:, None], discrete=[True])
    numbers = metrics.suite(codes, np.stack([colours, sizes], 1), discrete=[True, False])
    mixed = np.empty((600, 2), object)
    mixed[:, 0], mixed[:, 1] = words, sizes
    assert metrics.suite(codes, mixed) == numbers
    mixed[0, 0] = None
    with pytest.raises(UserError, match="factors contain NaN"):
        metrics.mig(codes, mixed)
    with pytest.raises(UserError, match="holds words, such as 'blue'"):
        metrics.mig(codes, words, discrete=False)


def test_a_strong_probe_holds_out_half_where_nothing_else_is_held_out() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    codes = rng.normal(size=(300, 2)) + 3 * labels[:, None]
    found = metrics.strong_probe(codes, labels)
    assert found.n == 150
    order = np.random.default_rng(0).permutation(300)
    fit, held = order[:150], order[150:]
    words = np.array(["off", "on"])[labels]
    assert found == metrics.strong_probe(codes[fit], words[fit], held_codes=codes[held], held_labels=words[held])
    with pytest.raises(UserError, match="belong together"):
        metrics.strong_probe(codes, labels, held_codes=codes)
