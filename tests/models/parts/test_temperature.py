"""Temperatures of label heads: what they do to distributions, and that held-out labels find them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.parts import Temperatures

SCHEMA = Schema([binary("on"), continuous("size", 5.0, 2.0), categorical("kind", ("a", "b", "c")), binary("off")])


def answers(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, SCHEMA.parameters, generator=torch.Generator().manual_seed(seed))


def test_logits_are_divided_and_the_scale_of_a_number_is_multiplied() -> None:
    before = SCHEMA.distribution(answers(6))
    after = before.tempered(torch.tensor([2.0, 3.0, 4.0, 1.0]).log())
    on, size, kind, off = before.parameters.split([1, 2, 3, 1], 1)
    expected = torch.cat([on / 2, size + torch.tensor([0.0, np.log(3)]), kind / 4, off], 1)
    torch.testing.assert_close(after.parameters, expected.float())
    assert torch.equal(after.mode(), before.mode())
    assert after.table()["size"]["sd"] == pytest.approx(3 * before.table()["size"]["sd"])


def test_held_out_labels_find_how_sure_an_answer_may_be() -> None:
    honest = answers(4000)
    generator = torch.Generator().manual_seed(1)
    values = SCHEMA.distribution(honest).sample(generator)
    wrong = torch.tensor([3.0, 0.5, 5.0, 1.0])  # how many times too sure each label is
    boasting = SCHEMA.distribution(honest).tempered(-wrong.log())
    temperatures = Temperatures(4)
    temperatures.fit(boasting, values, torch.ones(4000, 4, dtype=torch.bool))
    np.testing.assert_allclose(temperatures.log.exp(), wrong, rtol=0.25)
    observed = torch.ones(4000, 4, dtype=torch.bool)
    better, worse = (-d.log_prob(values).mean(0) for d in (temperatures(boasting), boasting))
    assert bool((better <= worse + 1e-6).all())
    assert bool(observed.all())


def test_of_nothing_follows_nothing_and_of_little_not_much() -> None:
    temperatures = Temperatures(4)
    answer, values = SCHEMA.distribution(answers(3) * 8), torch.zeros(3, 4)
    temperatures.fit(answer, values, torch.zeros(3, 4, dtype=torch.bool))
    assert torch.equal(temperatures.log, torch.zeros(4))
    temperatures.fit(answer, values, torch.ones(3, 4, dtype=torch.bool))
    assert float(temperatures.log.abs().max()) < 4
