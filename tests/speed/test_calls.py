"""Calls a training step: they are what a small model's step costs, and must not creep up."""

from __future__ import annotations

import pytest

from labelspace.models import build
from labelspace.speed import calls
from labelspace.speed.training import noise
from labelspace.training.options import Options

OPTIONS = Options(epochs=1, batch_size=64, muon_learning_rate=0.0)
MOST = {"lsvae": 1400, "csvae": 530, "ccvae": 520, "m2": 460, "diva": 400, "vae": 180}  # on 20 columns and 3 labels


def of(name: str, labels: int) -> int:
    data = noise((20,), labels, 128)
    return calls.per_step(build(name, data), data, OPTIONS)


@pytest.mark.parametrize("name", MOST)
def test_calls_of_a_step_stay_few(name: str) -> None:
    assert of(name, 3) <= MOST[name]


@pytest.mark.parametrize("name", ["lsvae", "m2", "vae"])
def test_labels_that_are_alike_cost_no_calls(name: str) -> None:
    assert of(name, 12) <= 1.1 * of(name, 3)


def test_draws_of_the_published_estimator_cost_no_calls() -> None:
    def of_draws(samples: int) -> int:
        data = noise((20,), 3, 128)
        return calls.per_step(build("ccvae", data, estimator="paper", samples=samples), data, OPTIONS)

    assert of_draws(100) == of_draws(5) <= 1.2 * MOST["ccvae"]
