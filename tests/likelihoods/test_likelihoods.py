"""Likelihoods against torch.distributions and scipy, their moments, gradients and faults."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch import distributions as td

from labelspace.errors import UserError
from labelspace.likelihoods import Bernoulli, Gaussian, Laplace, Likelihood, NegativeBinomial, Table, build_likelihood
from labelspace.likelihoods.location_scale import GaussianDistribution, Scale

SHAPE = (2, 3, 4)


def build(text: str, *shape: int, scale: Scale = 1.0, learned: bool = False) -> Likelihood:
    return build_likelihood(text, shape or SHAPE, scale, learned)


def data(seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand((5, *SHAPE), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_gradients(found: Tensor, likelihood: Likelihood, raw: Tensor) -> None:
    found.sum().backward()
    for gradient in [raw.grad, *(p.grad for p in likelihood.parameters())]:
        assert gradient is not None
        assert gradient.isfinite().all()


# -- one kind of entry ----------------------------------------------------------------------------------------------

REFERENCES: list[tuple[Likelihood, Callable[[Tensor], td.Distribution]]] = [
    (Bernoulli(SHAPE), lambda raw: td.Bernoulli(logits=raw, validate_args=False)),
    (Gaussian(SHAPE, 0.7), lambda raw: td.Normal(raw, 0.7)),
    (Laplace(SHAPE, 0.7), lambda raw: td.Laplace(raw, 0.7)),
]
each = pytest.mark.parametrize(("likelihood", "reference"), REFERENCES, ids=["bernoulli", "gaussian", "laplace"])


@each
def test_log_prob_agrees_with_torch_and_is_summed_over_a_sample(likelihood: Likelihood, reference):
    raw, x = data(0, -3, 3), data(1)
    found = likelihood(raw).log_prob(x)
    assert found.shape == (5,)
    torch.testing.assert_close(found, reference(raw).log_prob(x).flatten(1).sum(1), check_dtype=False)
    vectors = likelihood(raw.flatten(1)).log_prob(x.flatten(1))
    torch.testing.assert_close(vectors, found)


@each
def test_samples_have_the_moments(likelihood: Likelihood, reference):
    raw = torch.tensor([[-1.0, 0.0, 2.0]]).expand(100_000, 3)
    drawn = likelihood(raw).sample(seeded())
    expected = reference(raw[:1])
    torch.testing.assert_close(drawn.mean(0), expected.mean[0], atol=0.015, rtol=0)
    torch.testing.assert_close(drawn.std(0), expected.stddev[0], atol=0.015, rtol=0)
    torch.testing.assert_close(likelihood(raw[:1]).mean, expected.mean)
    if not isinstance(likelihood, Bernoulli):
        quartile = 0.5 * (drawn.quantile(0.75, 0) - drawn.quantile(0.25, 0))
        torch.testing.assert_close(quartile, expected.icdf(torch.tensor(0.75))[0] - raw[0], atol=0.015, rtol=0)


@pytest.mark.parametrize(
    "text", ["bernoulli", "gaussian", "laplace", "negative-binomial", "table(continuous,count,categorical:3)"]
)
def test_samples_depend_on_the_generator_alone(text: str):
    likelihood = build(text, 3)
    raw = torch.randn(50, *likelihood.output_shape, generator=seeded())
    draws = [likelihood(raw).sample(seeded(seed)) for seed in (3, 3, 4)]
    assert draws[0].shape == likelihood(raw).mean.shape == likelihood(raw).mean_like(draws[0]).shape == (50, 3)
    assert likelihood.inputs(draws[0]).shape == (50, *likelihood.input_shape)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert likelihood(raw).log_prob(draws[0]).isfinite().all()
    likelihood.check(draws[0])


def test_bernoulli_stays_finite_at_certain_logits():
    found = build("bernoulli")(torch.tensor([[1e4, -1e4], [1e4, 0.0]])).log_prob(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert found.tolist() == pytest.approx([0, -1e4 - math.log(2)])


def test_bernoulli_takes_data_in_the_unit_interval_only():
    build("gaussian").check(torch.tensor([[-1e9, 1e9]]))
    for bad in (-0.1, 1.5):
        with pytest.raises(UserError, match=r"bernoulli.*likelihood='gaussian'"):
            build("bernoulli").check(torch.tensor([[0.0, bad]]))


@pytest.mark.parametrize("text", ["bernoulli", "gaussian", "laplace"])
def test_only_tables_take_missing_cells(text: str):
    build(text).check(torch.tensor([[0.0, 1.0], [0.25, 0.5]]))
    with pytest.raises(UserError, match=rf"NaN.*{text}.*table"):
        build(text).check(torch.tensor([[0.0, math.nan]]))


@pytest.mark.parametrize("text", ["gaussian", "laplace"])
@pytest.mark.parametrize("learned", [True, False])
def test_a_learned_scale_is_trained_and_a_fixed_one_is_not(text: str, learned: bool):
    likelihood = build(text, 3, scale=0.5, learned=learned)
    trained = [p for p in likelihood.parameters() if p.requires_grad]
    assert len(trained) == int(learned)
    raw, x = torch.zeros(2, 3, requires_grad=True), torch.full((2, 3), 2.0)
    before = likelihood(raw).log_prob(x).sum()
    (-before).backward()
    if learned:
        torch.optim.SGD(trained, 0.01).step()
        assert likelihood(raw).log_prob(x).sum() > before


@pytest.mark.parametrize("text", ["gaussian", "laplace"])
def test_a_scale_is_saved_and_must_be_positive(text: str):
    other = build(text, scale=1.0)
    other.load_state_dict(build(text, scale=0.25).state_dict())
    x = torch.ones(1, 2)
    torch.testing.assert_close(other(x * 0).log_prob(x), build(text, scale=0.25)(x * 0).log_prob(x))
    for scale in (0.0, -1.0, math.nan):
        with pytest.raises(UserError, match="positive"):
            build(text, scale=scale)


def test_likelihoods_by_name():
    assert isinstance(build("bernoulli"), Bernoulli)
    assert build("bernoulli").input_shape == build("bernoulli").output_shape == SHAPE
    assert [build(text, 1).additive for text in ("bernoulli", "negative-binomial", "table(count)")] == [True, False, False]
    with pytest.raises(UserError, match="did you mean 'gaussian'"):
        build("gausian")
    with pytest.raises(UserError, match="did you mean 'table'"):
        build("tabel(count)", 1)


# -- counterfactuals --------------------------------------------------------------------------------------------------

TABLE = "table(continuous,categorical:3,count,continuous)"


def samples_for(text: str, n: int, rng: np.random.Generator) -> Tensor:
    """Samples of four entries that a likelihood takes."""
    if text == TABLE:
        columns = [rng.normal(5, 3, n), rng.integers(0, 3, n), rng.poisson(4, n), rng.normal(0, 0.01, n)]
        return torch.tensor(np.stack(columns, 1), dtype=torch.float32)
    x = rng.poisson(4, (n, 4)) if text == "negative-binomial" else rng.random((n, 4))
    return torch.tensor(x, dtype=torch.float32)


@given(st.integers(0, 1000), st.sampled_from(["bernoulli", "gaussian", "laplace", "negative-binomial", TABLE]))
def test_a_counterfactual_of_no_change_is_the_sample_and_every_other_can_be_data(seed: int, text: str) -> None:
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    likelihood, x = build(text, 4, scale="auto" if text in ("gaussian", "laplace") else 1.0), samples_for(text, 20, rng)
    likelihood.measure(x)
    raws = [torch.randn(20, *likelihood.output_shape, generator=generator) for _ in range(2)]
    before, after = (likelihood(raw) for raw in raws)
    torch.testing.assert_close(likelihood.counterfactual(x, before, before), x, rtol=1e-4, atol=1e-4)
    changed = likelihood.counterfactual(x, before, after)
    if likelihood.additive:
        likelihood.check(changed)
    elif text == "negative-binomial":
        torch.testing.assert_close(changed.sum(1), x.sum(1).clamp_min(1), rtol=1e-3, atol=1e-3)
        likelihood.check(changed.round())
    else:
        likelihood.check(changed)


def test_columns_of_a_table_change_by_their_kinds() -> None:
    table, rng = build(TABLE, 4), np.random.default_rng(0)
    x = samples_for(TABLE, 400, rng)
    table.measure(x)
    raw = torch.zeros(1, 6)  # two numbers, a count, three classes
    raw[0, 3] = 1.0
    other = raw.clone()
    other[0, 0], other[0, 1], other[0, 2], other[0, 4] = 0.01, 5.0, 1.0, 2.0
    row = torch.tensor([[1.0, 2.0, 0.0, torch.nan]])
    before, after = table(raw), table(other)
    changed = table.counterfactual(row, before, after)[0]
    assert isinstance(table, Table)
    assert float(changed[0]) == pytest.approx(1 + 0.01 * float(table.sd[0]), abs=0.02), "a change is added"
    assert float(changed[1]) == 1, "the most probable class has changed"
    start, end = float(before.mean[0, 2]), float(after.mean[0, 2])
    assert float(changed[2]) == round((1 + end) / (1 + start) - 1) == 1, "a count of zero can grow, and stays whole"
    assert bool(changed[3].isnan()), "a missing cell stays missing"
    large = table.counterfactual(torch.tensor([[1.0, 2.0, 0.0, 0.005]]), before, after)[0]
    assert float(large[3]) == float(table.high[3]), "nothing leaves the range of the training data"
    same = raw.clone()
    same[0, 0] = 1.0
    assert float(table.counterfactual(row, before, table(same))[0, 1]) == 2, "a class stays where the most probable one does"


# -- counts -----------------------------------------------------------------------------------------------------------


def scipy_counts(x: Tensor, mean: Tensor, theta: Tensor) -> Tensor:
    """Log-probabilities by scipy in double precision."""
    x, mean, theta = x.double(), mean.double(), theta.double()
    return torch.from_numpy(np.asarray(stats.nbinom.logpmf(x.numpy(), theta.numpy(), (theta / (theta + mean)).numpy())))


@given(seed=st.integers(0, 99), largest=st.sampled_from([1, 10, 1000, 100_000]), spread=st.floats(0.1, 4))
@settings(deadline=None, max_examples=40)
def test_counts_agree_with_scipy(seed: int, largest: int, spread: float):
    likelihood = NegativeBinomial((6,))
    with torch.no_grad():
        likelihood.log_theta.copy_(torch.randn(6, generator=seeded(seed + 1)) * 2)
    x = torch.randint(0, largest + 1, (4, 6), generator=seeded(seed)).float()
    raw = spread * torch.randn(4, 6, generator=seeded(seed + 2))
    total = x.sum(1, keepdim=True).clamp_min(1)
    expected = scipy_counts(x, total * raw.double().softmax(1), likelihood.log_theta.detach().double().exp())
    torch.testing.assert_close(likelihood(raw).log_prob(x), expected.sum(1), check_dtype=False, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("log_theta", [-50.0, 0.0, 50.0])
def test_counts_stay_finite_at_extremes(log_theta: float):
    likelihood = NegativeBinomial((3,))
    likelihood.log_theta.data.fill_(log_theta)
    x = torch.tensor([[0.0, 0.0, 0.0], [1e5, 0.0, 1.0], [0.0, 1e7, 0.0]])
    raw = torch.tensor([[1e3, -1e3, 0.0]]).repeat(3, 1).requires_grad_()
    found = likelihood(raw).log_prob(x)
    assert found.isfinite().all()
    check_gradients(found, likelihood, raw)
    assert likelihood(raw).sample(seeded()).isfinite().all()


def test_means_of_counts_have_the_total_of_the_sample_or_a_typical_one():
    likelihood = NegativeBinomial((2,))
    raw = torch.tensor([[math.log(3.0), 0.0]])
    assert likelihood(raw).mean.sum().item() == pytest.approx(1e4)
    likelihood.measure(torch.tensor([[1.0, 1.0], [30.0, 10.0], [500.0, 500.0]]))
    torch.testing.assert_close(likelihood(raw).mean, torch.tensor([[30.0, 10.0]]))
    torch.testing.assert_close(likelihood(raw).mean_like(torch.tensor([[0.0, 8.0]])), torch.tensor([[6.0, 2.0]]))
    assert likelihood.inputs(torch.tensor([[0.0, math.e - 1]])).tolist() == [[0, pytest.approx(1)]]
    other = NegativeBinomial((2,))
    other.load_state_dict(likelihood.state_dict())
    assert other.typical_total == 40


def test_sampled_counts_have_the_mean_and_the_variance():
    likelihood = NegativeBinomial((2,))
    likelihood.log_theta.data = torch.tensor([0.0, 2.0])
    likelihood.measure(torch.tensor([[20.0, 20.0]]))
    drawn = likelihood(torch.tensor([[0.0, 1.0]]).expand(200_000, 2)).sample(seeded())
    mean = 40 * torch.tensor([0.0, 1.0]).softmax(0)
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0.02, atol=0)
    torch.testing.assert_close(drawn.var(0), mean + mean**2 / likelihood.log_theta.detach().exp(), rtol=0.03, atol=0)


@pytest.mark.parametrize(("bad", "shown"), [(-1.0, "-1"), (0.5, "0.5"), (math.nan, "nan"), (math.inf, "inf")])
def test_what_is_no_count_is_refused_naming_the_cell(bad: float, shown: str):
    x = torch.zeros(5, 3)
    NegativeBinomial((3,)).check(x)
    x[3, 1] = x[4, 0] = bad
    with pytest.raises(UserError, match=rf"holds {shown} in row 4, column 2 \(2 such cells\).*whole numbers"):
        NegativeBinomial((3,)).check(x)


# -- tables -----------------------------------------------------------------------------------------------------------

COLUMNS = "table(categorical:3,continuous,count,categorical:2,continuous)"
ROWS = torch.tensor(
    [
        [2.0, 100.0, 0.0, 1.0, -3.0],
        [0.0, math.nan, 7.0, math.nan, -1.0],
        [math.nan, 300.0, math.nan, 0.0, math.nan],
        [math.nan] * 5,
    ]
)


def measured() -> Table:
    likelihood = build(COLUMNS, 5)
    assert isinstance(likelihood, Table)
    likelihood.check(ROWS)
    likelihood.measure(ROWS)
    return likelihood


def test_a_table_measures_columns_and_keeps_what_it_measured():
    likelihood = build(COLUMNS, 5)
    likelihood.load_state_dict(measured().state_dict())
    # Raw: means of the continuous columns, the count's ratio to the mean, logits of three and of two classes.
    found = likelihood(torch.tensor([[1.0, 0.0, math.log(2.0), 0.0, 1.0, 2.0, 3.0, 0.0]])).mean
    torch.testing.assert_close(found, torch.tensor([[2.0, 300.0, 7.0, 0.0, -2.0]]))


def test_the_encoder_reads_missing_cells_as_zeros_and_flags():
    likelihood = measured()
    assert likelihood.output_shape == (8,)
    assert likelihood.input_shape == (13,)
    expected = [
        [-1, -1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0],
        [0, 1, math.log(8), 1, 0, 0, 0, 0, 0, 1, 0, 1, 0],
        [1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1],
        [0] * 8 + [1] * 5,
    ]
    torch.testing.assert_close(likelihood.inputs(ROWS), torch.tensor(expected, dtype=torch.float32))


@given(seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_tables_sum_the_densities_of_the_cells_that_are_there(seed: int):
    likelihood = measured()
    with torch.no_grad():
        likelihood.log_theta.fill_(0.7)
        likelihood.log_scale.copy_(torch.tensor([-0.5, 0.3]))
    raw = torch.randn(4, 8, generator=seeded(seed))
    scale = (likelihood.log_scale.detach().exp() + 1e-3) * torch.tensor([100.0, 1.0])
    expected = [
        td.Categorical(logits=raw[:, 3:6], validate_args=False).log_prob(ROWS[:, 0].nan_to_num(0)),
        td.Normal(200 + 100 * raw[:, 0], scale[0], validate_args=False).log_prob(ROWS[:, 1]),
        scipy_counts(ROWS[:, 2].nan_to_num(0), 3.5 * raw[:, 2].exp(), torch.tensor(0.7).exp()),
        td.Categorical(logits=raw[:, 6:8], validate_args=False).log_prob(ROWS[:, 3].nan_to_num(0)),
        td.Normal(-2 + raw[:, 1], scale[1], validate_args=False).log_prob(ROWS[:, 4]),
    ]
    total = torch.where(ROWS.isnan(), 0, torch.stack([e.float() for e in expected], 1)).sum(1)
    torch.testing.assert_close(likelihood(raw).log_prob(ROWS), total)


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_gradients_of_tables_are_finite_with_missing_cells_and_extreme_values(size: float):
    likelihood = measured()
    x = torch.cat([ROWS, torch.tensor([[1.0, 1e9, 1e5, 1.0, -1e9]])])
    raw = (size * torch.randn(5, 8, generator=seeded())).requires_grad_()
    found = likelihood(raw).log_prob(x)
    assert found.isfinite().all()
    assert found[3] == 0
    check_gradients(found, likelihood, raw)
    assert not raw.grad[3].any()  # type: ignore[index]
    assert likelihood(raw).mean.isfinite().all()
    assert likelihood(raw).sample(seeded()).isfinite().all()


def test_samples_of_tables_have_the_moments():
    likelihood = measured()
    raw = torch.tensor([[0.5, 0.0, 0.3, 0.0, 1.0, -1.0, 0.0, 2.0]])
    drawn = likelihood(raw.expand(100_000, 8)).sample(seeded())
    likelihood.check(drawn)
    assert drawn[:, 1].mean().item() == pytest.approx(250, rel=0.01)
    assert drawn[:, 1].std().item() == pytest.approx(100, rel=0.01)
    mean = 3.5 * math.exp(0.3)
    assert drawn[:, 2].mean().item() == pytest.approx(mean, rel=0.02)
    assert drawn[:, 2].var().item() == pytest.approx(mean + mean**2, rel=0.03)
    for column, logits in [(0, raw[0, 3:6]), (3, raw[0, 6:8])]:
        found = torch.bincount(drawn[:, column].long(), minlength=len(logits)) / len(drawn)
        torch.testing.assert_close(found, logits.softmax(0), atol=0.006, rtol=0)


@pytest.mark.parametrize(
    ("column", "bad", "expected"),
    [(0, 3.0, "indices 0 to 2"), (0, 0.5, "0 to 2"), (3, -1.0, "0 to 1"), (2, -1.0, "whole numbers"), (4, math.inf, "finite")],
)
def test_a_cell_that_does_not_fit_its_column_is_refused(column: int, bad: float, expected: str):
    x = ROWS.clone()
    x[2, column] = bad
    with pytest.raises(UserError, match=rf"holds {bad:g} in row 3, column {column + 1} .*{expected}"):
        measured().check(x)


@pytest.mark.parametrize(
    ("text", "shape", "part"),
    [
        ("table", (1,), "must list its columns"),
        ("table(count", (1,), "must list its columns"),
        ("table()", (1,), "must list its columns"),
        ("table(counts)", (1,), "did you mean 'count'"),
        ("table(count,)", (2,), "kind of column ''"),
        ("table(count:3)", (1,), "only categorical"),
        ("table(categorical)", (1,), "categorical:K"),
        ("table(categorical:1)", (1,), "2 or more"),
        ("table(count,count)", (3,), "2 columns, but samples have 3"),
        ("table(count)", SHAPE, "not samples of shape"),
        ("negative-binomial", SHAPE, "not samples of shape"),
    ],
)
def test_likelihoods_that_cannot_be_built_say_why(text: str, shape: tuple[int, ...], part: str):
    with pytest.raises(UserError, match=part):
        build_likelihood(text, shape, 1.0, False)


@pytest.mark.parametrize("text", ["table(count)", "table( continuous )", "table(categorical:2)"])
def test_a_table_may_have_one_kind_of_column(text: str):
    likelihood = build(text, 1)
    x = torch.tensor([[1.0], [0.0], [math.nan]])
    likelihood.measure(x)
    raw = torch.zeros(3, *likelihood.output_shape)
    assert likelihood.inputs(x)[:, -1].tolist() == [0, 0, 1]
    assert likelihood(raw).log_prob(x)[2] == 0
    likelihood.measure(torch.full((3, 1), math.nan))
    assert likelihood(raw).mean.isfinite().all()


# -- a scale that is found --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["gaussian", "laplace"])
@given(seed=st.integers(0, 1000), power=st.floats(-3, 3), offset=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_units_of_the_data_do_not_matter(text: str, seed: int, power: float, offset: float):
    random = seeded(seed)
    x = torch.randn(50, 3, generator=random) * torch.tensor([1.0, 2.0, 5.0])
    raw = torch.randn(50, 3, generator=random)
    unit = 10.0**power
    found = []
    for data_ in (x, unit * (x + offset)):
        likelihood = build_likelihood(text, (3,), "auto", False)
        likelihood.measure(data_)
        found.append((likelihood.inputs(data_), likelihood(raw).log_prob(data_), likelihood(raw).mean))
    torch.testing.assert_close(found[0][0], found[1][0], atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(found[0][1] - 3 * math.log(unit), found[1][1], atol=0.05, rtol=1e-3)
    torch.testing.assert_close(unit * (found[0][2] + offset), found[1][2], atol=2e-3 * unit, rtol=2e-3)


def test_a_scale_that_is_found_ends_at_the_error_between_its_bounds():
    x = torch.randn(2000, 4, generator=seeded()) * torch.tensor([0.001, 1.0, 30.0, 1000.0])
    likelihood = Gaussian((4,), "auto")
    likelihood.measure(x)
    error = torch.tensor([0.01, 0.15, 0.25, 0.9])  # of each column's deviation: too small, and too large
    raw = (x - likelihood.centre) / likelihood.unit + error * torch.randn(2000, 4, generator=seeded(1))
    optimizer = torch.optim.Adam(likelihood.parameters(), 1e-2)
    for _ in range(600):
        optimizer.zero_grad()
        (-likelihood(raw).log_prob(x).mean()).backward()
        optimizer.step()
    found = likelihood(raw)
    assert isinstance(found, GaussianDistribution)
    share = found.scale / likelihood.unit
    assert share.tolist() == pytest.approx([0.1, 0.15, 0.25, 1 / 3], abs=0.01)


def test_first_gradients_are_alike_whatever_the_units_and_constant_columns_do_no_harm():
    for factor in (1e-3, 1.0, 1e3):
        x = factor * torch.randn(100, 3, generator=seeded())
        x[:, 2] = 7 * factor
        likelihood = build_likelihood("gaussian", (3,), "auto", False)
        likelihood.measure(x)
        raw = torch.zeros(100, 3, requires_grad=True)
        (-likelihood(raw).log_prob(x).mean()).backward()
        assert raw.grad is not None
        assert float(raw.grad.norm()) == pytest.approx(1.4, rel=0.2)
        assert bool(torch.isfinite(likelihood.inputs(x)).all())
        assert float(likelihood(raw).mean[0, 2].detach()) == pytest.approx(7 * factor)


def test_images_have_one_unit():
    x = 0.1 * torch.rand(20, 3, 8, 8, generator=seeded())  # dim pictures
    likelihood = build_likelihood("gaussian", (3, 8, 8), "auto", False)
    likelihood.measure(x)
    assert likelihood.inputs(x).std() == pytest.approx(1.0, abs=0.01)
    found = likelihood(torch.zeros(2, 3, 8, 8))
    assert isinstance(found, GaussianDistribution)
    assert found.scale.ndim == 0
