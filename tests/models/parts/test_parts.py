"""Parts of models against brute force: completions, label priors, classifiers, Bayes' rule by bounds, the discriminator."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.distributions as td
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks
from labelspace.data.batches import Batch
from labelspace.labels import LabelDistribution, Schema, binary, categorical, continuous
from labelspace.models.networks import Network
from labelspace.models.parts import (
    AttributeVectors,
    Completions,
    Discriminator,
    LabelClassifiers,
    LabelPrior,
    cross_entropy,
    hinge,
    log_evidence_bound,
    posterior_from_bounds,
    ungroup,
    value_blocks,
    value_points,
)

DISCRETE = Schema([binary("a"), categorical("k", ("x", "y", "z")), binary("b")])
MIXED = Schema([binary("a"), categorical("k", ("x", "y", "z")), continuous("c", 2.0, 3.0)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ways_of(schema: Schema) -> list[tuple[float, ...]]:
    return [tuple(map(float, way)) for way in itertools.product(*(range(len(label.values)) for label in schema))]


def answers(schema: Schema, n: int, seed: int = 0) -> LabelDistribution:
    return schema.distribution(torch.randn(n, schema.parameters, generator=generator(seed)))


@st.composite
def partly_labelled(draw: st.DrawFn, continuous_too: bool = False) -> tuple[Schema, Tensor, Tensor]:
    kinds = st.integers(0 if continuous_too else 2, 4)
    widths = draw(st.lists(kinds, min_size=1, max_size=4))
    labels = [
        continuous(f"l{i}") if w < 2 else binary(f"l{i}") if w == 2 else categorical(f"l{i}", [f"v{j}" for j in range(w)])
        for i, w in enumerate(widths)
    ]
    n = draw(st.integers(1, 4))
    observed = torch.tensor(
        draw(st.lists(st.lists(st.booleans(), min_size=len(widths), max_size=len(widths)), min_size=n, max_size=n))
    )
    values = torch.stack([torch.randint(0, max(w, 2), (n,), generator=generator(draw(st.integers(0, 99)))) for w in widths], 1)
    return Schema(labels), torch.where(observed, values.float(), 0.0), observed


# -- completions -------------------------------------------------------------------------------------------------------


@given(partly_labelled())
def test_completions_are_exactly_the_ways_of_filling_what_is_missing(case: tuple[Schema, Tensor, Tensor]) -> None:
    schema, values, observed = case
    rows, filled = schema.completions(values, observed, torch.full_like(values, -7.0), most=10**6)
    assert rows.tolist() == sorted(rows.tolist())
    for row in range(len(values)):
        choices = [
            range(len(label.values)) if not observed[row, i] else [float(values[row, i])] for i, label in enumerate(schema)
        ]
        expected = {tuple(map(float, way)) for way in itertools.product(*choices)}
        found = [tuple(way) for way in filled[rows == row].tolist()]
        assert len(found) == len(expected)
        assert set(found) == expected


@given(partly_labelled(continuous_too=True), st.integers(1, 9))
def test_completions_draw_numbers_and_samples_with_too_many_ways(case: tuple[Schema, Tensor, Tensor], most: int) -> None:
    schema, values, observed = case
    drawn = torch.full_like(values, -7.0)
    rows, filled = schema.completions(values, observed, drawn, most)
    for row in range(len(values)):
        mine, missing = filled[rows == row], ~observed[row]
        assert torch.equal(mine[:, observed[row]], values[row, observed[row]].expand(len(mine), -1))
        ways = math.prod(len(label.values) for label, gone in zip(schema, missing, strict=True) if gone and label.discrete)
        assert len(mine) == (ways if ways <= most else 1)
        numbers = torch.tensor([not label.discrete for label in schema]) & missing
        assert bool((mine[:, numbers] == -7.0).all())
        if ways > most:
            assert bool((mine[:, missing] == -7.0).all())


@given(partly_labelled(continuous_too=True), st.integers(1, 40), st.integers(0, 99))
def test_weights_of_a_samples_completions_sum_to_one(case: tuple[Schema, Tensor, Tensor], most: int, seed: int) -> None:
    schema, values, observed = case
    done = Completions.of(
        Batch(torch.zeros(len(values), 2), values, observed), answers(schema, len(values)), generator(seed), most
    )
    total = torch.zeros(len(values)).index_add(0, done.rows, done.weight)
    assert torch.allclose(total, torch.ones(len(values)), atol=1e-5)
    assert bool((done.values[observed[done.rows]] == values[done.rows][observed[done.rows]]).all())
    assert not bool((done.drawn & observed[done.rows]).any())


def test_a_completion_weighs_what_the_answer_gives_to_the_filled_in_values() -> None:
    values = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 2.0, 0.0]])
    observed = torch.tensor([[True, False, False], [False, False, True], [True, True, True]])
    answer = answers(DISCRETE, 3)
    done = Completions.of(Batch(torch.zeros(3, 2), values, observed), answer, generator(), 32)
    assert torch.bincount(done.rows).tolist() == [6, 6, 1]
    for row, filled, weight in zip(done.rows.tolist(), done.values, done.weight, strict=True):
        q = math.prod(float(answer.log_table(i)[row, int(filled[i])].exp()) for i in range(3) if not bool(observed[row, i]))
        assert float(weight) == pytest.approx(q, rel=1e-5)


def test_a_sample_with_too_many_completions_has_one_drawn_from_the_answer() -> None:
    n = 4000
    answer = LabelDistribution(DISCRETE, torch.tensor([[0.5, 1.0, 0.0, -1.0, -0.7]]).expand(n, -1))
    batch = Batch(torch.zeros(n, 2), torch.zeros(n, 3), torch.zeros(n, 3, dtype=torch.bool))
    done = Completions.of(batch, answer, generator(), 11)
    assert torch.equal(done.rows, torch.arange(n))
    assert bool((done.weight == 1).all())
    assert bool(done.drawn.all())
    for i in range(3):
        counts = torch.stack([(done.values[:, i] == v).float().mean() for v in range(answer.log_table(i).shape[-1])])
        assert torch.allclose(counts, answer.log_table(i)[0].exp(), atol=0.04)


# -- candidates, weighted values and Bayes' rule -----------------------------------------------------------------------


def test_candidates_are_all_values_of_a_discrete_label_and_reach_three_scales_around_a_number() -> None:
    assert MIXED.candidates("a").tolist() == [0, 1]
    assert MIXED.candidates("k").tolist() == [0, 1, 2]
    points = MIXED.candidates("c")
    assert len(points) == 13
    assert float(points.min()) == pytest.approx(2 - 9, abs=1e-4)
    assert float(points.max()) == pytest.approx(2 + 9, abs=1e-4)


def test_weighed_values_have_the_marginals_of_their_weights() -> None:
    values = torch.tensor(ways_of(DISCRETE))
    log_weights = torch.randn(5, len(values), generator=generator())
    found = DISCRETE.distribution(DISCRETE.moment_matched(values, log_weights + 3.0))
    weights = log_weights.softmax(1)
    for i, label in enumerate(DISCRETE):
        expected = torch.stack([weights[:, values[:, i] == v].sum(1) for v in range(len(label.values))], 1)
        assert torch.allclose(found.log_table(i).exp(), expected, atol=1e-5)


def test_weighed_numbers_have_the_mean_and_deviation_of_their_weights() -> None:
    schema = Schema([continuous("c", 2.0, 3.0)])
    values = torch.linspace(-7, 11, 61)[:, None]
    log_weights = td.Normal(torch.tensor([[0.5], [4.0]]), torch.tensor([[1.5], [1.0]])).log_prob(values[:, 0])
    table = schema.distribution(schema.moment_matched(values, log_weights)).table()["c"]
    assert table["mean"] == pytest.approx([0.5, 4.0], abs=0.02)
    assert table["sd"] == pytest.approx([1.5, 1.0], abs=0.05)


def prior_of(schema: Schema, n: int) -> LabelDistribution:
    return schema.distribution(torch.randn(schema.parameters, generator=generator(5)).expand(n, -1))


def test_bayes_rule_over_all_combinations() -> None:
    n, ways = 4, torch.tensor(ways_of(DISCRETE))
    bounds = 3 * torch.randn(n, 2, 3, 2, generator=generator())

    def bound(values: Tensor, rows: Tensor | slice) -> Tensor:
        a, k, b = values.long().unbind(1)
        return bounds[torch.arange(n), a, k, b]

    prior = prior_of(DISCRETE, n)
    found = DISCRETE.distribution(posterior_from_bounds(DISCRETE, prior, bound, n, most=12))
    tables = [prior.log_table(i) for i in range(3)]
    joint = bounds + tables[0][:, :, None, None] + tables[1][:, None, :, None] + tables[2][:, None, None, :]
    posterior = joint.flatten(1).softmax(1)
    assert len(ways) == posterior.shape[1]
    for i, label in enumerate(DISCRETE):
        expected = torch.stack([posterior[:, ways[:, i] == v].sum(1) for v in range(len(label.values))], 1)
        assert torch.allclose(found.log_table(i).exp(), expected, atol=1e-4)


def test_bayes_rule_in_sweeps_is_exact_for_a_bound_that_is_a_sum_over_labels() -> None:
    n = 6
    tables = [2 * torch.randn(n, len(label.values), generator=generator(i)) for i, label in enumerate(DISCRETE)]

    def bound(values: Tensor, rows: Tensor | slice) -> Tensor:
        return torch.stack([t.gather(1, values[:, [i]].long())[:, 0] for i, t in enumerate(tables)]).sum(0)

    prior = prior_of(DISCRETE, n)
    found = DISCRETE.distribution(posterior_from_bounds(DISCRETE, prior, bound, n, most=1))
    for i, t in enumerate(tables):
        assert torch.allclose(found.log_table(i), (t + prior.log_table(i)).log_softmax(1), atol=1e-4)


def test_the_second_sweep_of_bayes_rule_conditions_the_first_label_on_what_the_first_sweep_found() -> None:
    """The prior starts at (0, 0); the first sweep goes to (0, 1), and only then does (1, 1), the best pair, show."""
    schema = Schema([binary("a"), binary("b")])
    bounds = torch.tensor([[0.0, 3.0], [-4.0, 5.0]])  # [a, b]
    prior = schema.distribution(torch.tensor([[-0.5, -1.0]]))
    found = schema.distribution(
        posterior_from_bounds(schema, prior, lambda v, _: bounds[v[:, 0].long(), v[:, 1].long()], 1, most=1)
    )
    assert torch.allclose(found.log_table(0), (bounds[:, 1] + prior.log_table(0)).log_softmax(1), atol=1e-4)
    assert torch.allclose(found.log_table(1), (bounds[1] + prior.log_table(1)).log_softmax(1), atol=1e-4)


def test_bayes_rule_for_a_number_finds_the_mean_of_a_gaussian_posterior() -> None:
    schema = Schema([continuous("c", 2.0, 3.0)])
    prior = schema.distribution(torch.zeros(2, 2))  # N(2, 3^2)
    seen = torch.tensor([5.0, -1.0])
    found = schema.distribution(
        posterior_from_bounds(schema, prior, lambda v, _: -((v[:, 0] - seen) ** 2) / (2 * 9), 2)
    ).table()["c"]
    assert found["mean"] == pytest.approx(((2 + seen) / 2).tolist(), abs=0.1)  # equal widths: half way
    assert found["sd"] == pytest.approx([3 / math.sqrt(2)] * 2, rel=0.1)


# -- labels as blocks of their own -------------------------------------------------------------------------------------


def test_a_valued_block_is_the_labels_value_and_a_flag_for_missing() -> None:
    values, observed = torch.tensor([[1.0, 2.0, 5.0], [0.0, 0.0, 0.0]]), torch.tensor([[True] * 3, [False] * 3])
    prior = MIXED.prior_features([[0.7, 0.3], [0.5, 0.3, 0.2], []])
    features = MIXED.features(values, observed, prior)
    assert [(b.name, b.size, b.label) for b in value_blocks(MIXED, flags=True)] == [
        ("y.a", 2, "a"),
        ("y.k", 4, "k"),
        ("y.c", 2, "c"),
    ]
    assert [b.size for b in value_blocks(MIXED, flags=False)] == [1, 3, 1]
    points = value_points(MIXED, features, observed)
    assert torch.allclose(points["y.a"].mean, torch.tensor([[1.0, 0.0], [0.3, 1.0]]))
    assert torch.allclose(points["y.k"].mean, torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.5, 0.3, 0.2, 1.0]]))
    assert torch.allclose(points["y.c"].mean, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert torch.allclose(value_points(MIXED, features, None)["y.k"].mean, points["y.k"].mean[:, :3])


# -- p(code | label), q(label | code) and their evidence ---------------------------------------------------------------


def test_label_prior_starts_with_a_binary_labels_means_apart_and_a_numbers_slope() -> None:
    torch.manual_seed(0)
    prior = LabelPrior(MIXED, [2, 3, 1], spread=1.5, scale=0.8)
    table = prior.table(0)
    assert torch.allclose(table.mean, torch.tensor([[-1.5, -1.5], [1.5, 1.5]]))
    assert torch.allclose(table.scale, torch.full((2, 2), 0.8), atol=1e-3)
    assert prior.table(1).mean.shape == (3, 3)
    low, high = prior.given([2], torch.tensor([[0.0], [1.0]])).mean[:, 0, 0].tolist()  # one scale apart
    assert low == pytest.approx(0.0, abs=1e-6)
    assert high - low == pytest.approx(1.5, abs=1e-5)


def test_label_prior_of_values_is_read_from_the_table() -> None:
    torch.manual_seed(0)
    prior = LabelPrior(MIXED, [2, 3, 1])
    with torch.no_grad():
        for p in prior.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator()))
    table, values = prior.table(1), torch.tensor([2.0, 0.0, 2.0, 1.0])
    given_ = prior.given([1], values[:, None])
    assert torch.equal(given_.mean[:, 0], table.mean[values.long()])
    assert torch.equal(given_.scale[:, 0], table.scale[values.long()])
    assert bool((table.scale > 0).all())
    codes = torch.randn(5, 7, 3, generator=generator())
    log_p_y = torch.tensor([0.5, 0.3, 0.2]).log()
    expected = torch.stack([td.Normal(m, s).log_prob(codes).sum(-1) for m, s in zip(table.mean, table.scale, strict=True)], -1)
    assert torch.allclose(prior.log_joint([1], codes[:, None], log_p_y[None])[:, 0], expected + log_p_y, atol=1e-4)


def test_readers_answer_label_by_label_from_their_own_block() -> None:
    torch.manual_seed(0)
    classifiers = LabelClassifiers(MIXED, [2, 3, 1], hidden=[8, 0, 8])
    codes = [torch.randn(6, size, generator=generator(size)) for size in (2, 3, 1)]
    blocks = Blocks(Block(f"z.{label.name}", size, label.name) for label, size in zip(MIXED, (2, 3, 1), strict=True))
    answer = classifiers.answer(blocks.split(torch.cat(codes, 1)))
    for i in range(2):
        assert torch.allclose(
            answer.log_table(i), classifiers.read([i], codes[i][:, None, None]).log_table(0)[:, 0, 0], atol=1e-6
        )
    changed = classifiers.answer(blocks.split(torch.cat([codes[0] + 1, codes[1], codes[2]], 1)))
    assert torch.equal(changed.log_table(1), answer.log_table(1))
    assert not torch.equal(changed.log_table(0), answer.log_table(0))


@pytest.mark.parametrize("i", [0, 1])
def test_evidence_is_the_sum_over_values(i: int) -> None:
    torch.manual_seed(0)
    sizes = [1, 2, 1]
    prior, classifiers = LabelPrior(MIXED, sizes), LabelClassifiers(MIXED, sizes, hidden=[8, 8, 8])
    codes = 2 * torch.randn(4, 5, sizes[i], generator=generator())
    p_y = MIXED.distribution(MIXED.prior_parameters([[0.7, 0.3], [0.5, 0.3, 0.2], []])).stacked([i])
    found = log_evidence_bound(prior, classifiers, [i], codes[:, None], p_y, generator())[:, 0]
    q = classifiers.read([i], codes[:, None]).log_table(0).exp()[:, 0]
    p, table = torch.tensor([[0.7, 0.3], [0.5, 0.3, 0.2]][i]), prior.table(i)
    expected = torch.zeros(4, 5)
    for v in range(len(p)):
        log_p_z = td.Normal(table.mean[v], table.scale[v]).log_prob(codes).sum(-1)
        expected = expected + q[..., v] * (log_p_z + p[v].log() - q[..., v].log())
    assert found.shape == (4, 5)
    assert torch.allclose(found, expected, atol=1e-4)
    exact = torch.stack([td.Normal(m, s).log_prob(codes).sum(-1) for m, s in zip(table.mean, table.scale, strict=True)], -1)
    assert bool((found <= (exact + p.log()).logsumexp(-1) + 1e-5).all())


def test_evidence_of_a_number_is_unbiased_for_its_integral() -> None:
    torch.manual_seed(0)
    schema = Schema([continuous("c", 2.0, 3.0)])
    prior, classifiers = LabelPrior(schema, [1]), LabelClassifiers(schema, [1], hidden=[0])
    p_y = schema.distribution(schema.prior_parameters([[]]))
    code = torch.tensor([[[[0.7]]]])
    found = log_evidence_bound(prior, classifiers, [0], code.expand(20_000, 1, 1, 1), p_y.stacked([0]), generator()).detach()
    grid = torch.linspace(-40, 44, 8001)
    mean, log_scale = classifiers.read([0], code).parameters.flatten().tolist()  # of the standardised number
    q_y = td.Normal(mean, math.exp(log_scale))
    inside = prior.given([0], grid[:, None])
    integrand = td.Normal(inside.mean[:, 0, 0], inside.scale[:, 0, 0]).log_prob(code[0, 0, 0, 0])
    integrand = integrand + td.Normal(0.0, 1.0).log_prob(grid) - q_y.log_prob(grid)
    expected = torch.trapezoid(q_y.log_prob(grid).exp() * integrand, grid).detach()
    assert float(found.mean()) == pytest.approx(float(expected), abs=5 * float(found.std()) / math.sqrt(20_000) + 1e-3)


def test_labels_that_are_alike_are_read_together_as_each_alone() -> None:
    torch.manual_seed(0)
    schema = Schema([binary("a"), continuous("c", 2.0, 3.0), binary("b"), continuous("d", -1.0, 0.5), binary("e")])
    sizes, hidden = [2, 1, 2, 1, 1], [4, 0, 4, 0, 4]
    prior, classifiers = LabelPrior(schema, sizes), LabelClassifiers(schema, sizes, hidden)
    with torch.no_grad():
        for p in [*prior.parameters(), *classifiers.parameters()]:
            p.add_(0.3 * torch.randn(p.shape, generator=generator()))
    assert classifiers.groups == [[0, 2], [1, 3], [4]]
    values = schema.standardised(torch.tensor([[0.0, 5.0, 1.0, -2.0, 1.0], [1.0, 2.0, 0.0, 0.0, 0.0]]))
    assert values[:, [1, 3]].tolist() == [[1.0, -2.0], [0.0, 2.0]]
    for group in classifiers.groups:
        codes = torch.randn(2, len(group), 3, sizes[group[0]], generator=generator())
        for j, i in enumerate(group):
            both, alone = classifiers.read(group, codes), classifiers.read([i], codes[:, j : j + 1])
            assert torch.allclose(both.parameters[:, j], alone.parameters[:, 0], atol=1e-6)
            network = classifiers.networks[i](codes[:, j]).float()
            if schema.labels[i].discrete:
                assert torch.allclose(both.parameters[:, j], network, atol=1e-6)
            given_, one = prior.given(group, values[:, group]), prior.given([i], values[:, [i]])
            assert torch.allclose(given_.mean[:, j], one.mean[:, 0])
            assert torch.allclose(given_.scale[:, j], one.scale[:, 0])


def test_cross_entropy_is_averaged_over_the_samples_that_have_the_label() -> None:
    answer = answers(DISCRETE, 4)
    values = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 0.0]])
    observed = torch.tensor([[True, True, False], [True, False, False], [False, True, False], [True, False, False]])
    a, k = answer.log_table(0), answer.log_table(1)
    expected = torch.stack([-(a[0, 1] + a[1, 0] + a[3, 0]) / 3, -(k[0, 2] + k[2, 1]) / 2, torch.zeros(())])
    assert torch.allclose(cross_entropy(answer, values, observed), expected, atol=1e-6)


# -- attribute vectors -------------------------------------------------------------------------------------------------


def test_attribute_vectors_move_by_differences_of_class_means_and_by_slopes() -> None:
    g = generator()
    n = 600
    values = torch.stack([torch.arange(n) % 2, torch.arange(n) % 3, 2 + 3 * torch.randn(n, generator=g)], 1).float()
    code = torch.randn(n, 4, generator=g)
    code = code + values[:, :1] * torch.tensor([2.0, 0, 0, 0]) + (values[:, 1:2] == 2) * torch.tensor([0.0, -3, 0, 0])
    code = code + values[:, 2:] * torch.tensor([0.0, 0.0, 0.5, 0.0])
    observed = torch.ones(n, 3, dtype=torch.bool)
    observed[::7, 0] = False
    vectors = AttributeVectors(MIXED, 4)
    parts = [slice(0, 250), slice(250, 500), slice(500, 600)]
    vectors.measure([Batch(code[p], values[p], observed[p]) for p in parts], lambda b: b.x)
    here = torch.randn(2, 4, generator=g)

    def moved(label: str, new: float, old: float) -> Tensor:
        return vectors.move(here, label, torch.full((2,), float(new)), torch.full((2,), float(old))) - here

    seen = observed[:, 0]
    a = code[seen & (values[:, 0] == 1)].mean(0) - code[seen & (values[:, 0] == 0)].mean(0)
    assert torch.allclose(moved("a", 1, 0), a.expand(2, -1), atol=1e-3)
    assert torch.allclose(moved("a", 0, 1), -a.expand(2, -1), atol=1e-3)
    assert torch.allclose(moved("a", 1, 1), torch.zeros(2, 4), atol=1e-6)
    k = code[values[:, 1] == 2].mean(0) - code[values[:, 1] == 0].mean(0)
    assert torch.allclose(moved("k", 2, 0), k.expand(2, -1), atol=1e-3)
    y = values[:, 2] - values[:, 2].mean()
    slope = (y[:, None] * code).sum(0) / (y**2).sum()
    assert torch.allclose(moved("c", 8.0, 5.0), 3 * slope.expand(2, -1), atol=1e-2)


# -- discriminator -----------------------------------------------------------------------------------------------------

SHAPES = {"vector": (5,), "grey": (1, 8, 8), "colour": (3, 16, 8)}
UNEVEN = {"odd": (3, 13, 10), "digits": (1, 28, 28)}  # sides that the network's stride does not divide


def used(shape: tuple[int, ...], width: int = 3, box: bool = False) -> Discriminator:
    """A discriminator after forward passes in training mode, each a step of power iteration.

    With ``box`` its trunk has equal weights, which add up most where a kernel overlaps itself, and no dead unit.
    """
    torch.manual_seed(0)
    d = Discriminator(shape, width, Network(width=16, depth=2)).train()
    with torch.no_grad():
        if box:
            for name, p in d.features.trunk.named_parameters():
                p.fill_(50.0 if name.endswith("bias") else 1.0)
        for _ in range(40):
            d(torch.randn(2, *shape), torch.randn(2, width) if width else None)
    return d.eval()


def rate(shape: tuple[int, ...]) -> float:
    return 1.0 if len(shape) == 1 else 3.0


def distance(x: Tensor, y: Tensor) -> Tensor:
    return (x - y).flatten(1).norm(dim=1)


@pytest.mark.parametrize("shape", (SHAPES | UNEVEN).values(), ids=SHAPES | UNEVEN)
def test_every_matrix_and_kernel_of_the_discriminator_has_spectral_norm_one(shape: tuple[int, ...]) -> None:
    weights = [m.weight for m in used(shape).modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    assert len(weights) >= 4
    for weight in weights:
        assert float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("shape", (SHAPES | UNEVEN).values(), ids=SHAPES | UNEVEN)
def test_features_of_random_and_of_sought_pairs_are_at_most_as_far_apart_as_promised(shape: tuple[int, ...]) -> None:
    d = used(shape)
    x, y = (2 * torch.randn(32, *shape, generator=generator(i)) for i in range(2))
    with torch.no_grad():
        for other in (y, x + 1e-2 * y):
            assert bool((distance(d.features(x), d.features(other)) <= 1.01 * rate(shape) * distance(x, other)).all())
    x, y = x[:4].requires_grad_(), (x[:4] + 0.1 * y[:4]).detach().requires_grad_()
    climb = torch.optim.Adam([x, y], 0.05)
    for _ in range(80):
        climb.zero_grad()
        stretch = distance(d.features(x), d.features(y)) / distance(x, y)
        (-stretch.log().sum()).backward()
        climb.step()
        assert bool((stretch.detach() <= 1.01 * rate(shape)).all())


@pytest.mark.parametrize(
    "shape",
    [
        *SHAPES.values(),
        *UNEVEN.values(),
    ],
    ids=[*SHAPES, *UNEVEN],
)
def test_features_keep_their_promise_with_the_weights_that_overlap_most(shape: tuple[int, ...]) -> None:
    """All units are active, so h is linear here and its rate is the largest singular value of its Jacobian."""
    d = used(shape, box=True)
    jacobian = torch.autograd.functional.jacobian(lambda x: d.features.trunk(x[None])[0], torch.zeros(shape))
    assert isinstance(jacobian, Tensor)
    assert float(torch.linalg.matrix_norm(jacobian.flatten(1), 2)) <= 1.01 * rate(shape)


def test_the_verdict_is_a_function_of_features_plus_their_projection_on_the_label() -> None:
    d = used((5,))
    x, y = torch.randn(6, 5, generator=generator()), torch.randn(6, 3, generator=generator(1))
    h = d.features(x)
    without = d(x, torch.zeros(6, 3))
    assert h.shape == (6, 128)
    assert torch.allclose(without, d.out(h)[:, 0], atol=1e-5)
    assert d.projection is not None
    assert torch.allclose(d(x, y) - without, (h * d.projection(y)).sum(1), atol=1e-5)


def test_a_discriminator_without_labels_takes_samples_alone() -> None:
    d = used((1, 8, 8), width=0)
    assert d(torch.randn(2, 1, 8, 8)).shape == (2,)


def test_the_hinge_loss_counts_only_what_is_inside_the_margin() -> None:
    assert float(hinge(torch.tensor([2.0, 1.0]), torch.tensor([-1.0, -3.0]))) == 0
    assert float(hinge(torch.tensor([0.5, -2.0]), torch.tensor([-0.5, -2.0]))) == pytest.approx((0.5 + 3) / 2 + 0.25)
    fakes = torch.tensor([0.0, 1.0]), torch.tensor([-1.5, 2.0])
    assert float(hinge(torch.tensor([1.0, 1.0]), *fakes)) == pytest.approx(1.5 + 1.5)


@pytest.mark.parametrize("groups", [[[0, 1, 2]], [[0, 2], [1]], [[1], [2, 0]]])
def test_entries_of_groups_come_in_the_order_of_the_labels(groups: list[list[int]]) -> None:
    found = [torch.tensor([10.0 * i for i in group]) for group in groups]
    assert ungroup(found, groups).tolist() == [0.0, 10.0, 20.0]
