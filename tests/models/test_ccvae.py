"""CCVAE: both forms of the bound against integrals on fine grids, with a decoder whose expectations are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
import torch.distributions as td
from torch import Tensor, nn

from labelspace.blocks import Latents, concatenate, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.ccvae import CCVAE
from labelspace.models.diva import DIVA
from labelspace.models.networks import Network

ONE = Schema([binary("a")])
TWO = Schema([binary("a"), binary("b")])
MIXED = Schema([binary("a"), categorical("k", ("x", "y", "z"))])
FREQUENCIES = {"a": [0.7, 0.3], "b": [0.4, 0.6], "k": [0.5, 0.3, 0.2], "c": []}
SCALE = 0.8


def model(schema: Schema = ONE, **changes) -> CCVAE:
    """CCVAE with a linear decoder and with classifiers and priors moved away from where they start."""
    torch.manual_seed(0)
    arguments = {
        "latent": 1,
        "subspace": 1,
        "estimator": "quadrature",
        "classification": 1.0,
        "samples": 128,
        "hidden": 8,
        "likelihood": "gaussian",
        "scale": SCALE,
        "network": Network(width=8, depth=1),
    }
    frequencies = [FREQUENCIES[label.name] for label in schema]
    m = CCVAE((2,), schema, frequencies, **{**arguments, **changes}).eval()
    m.decoder = nn.Linear(m.blocks.size, 2)
    with torch.no_grad():
        for p in [*m.label_prior.parameters(), *m.classifiers.parameters()]:
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2)))
    return m


def place(m: CCVAE, monkeypatch: pytest.MonkeyPatch, codes: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """The encoder answers with these means and deviations, whatever it reads."""
    gaussians = {name: torch.tensor(parts).T for name, parts in codes.items()}

    def posterior(x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        n = len(x)
        return Latents(m.blocks, {k: DiagonalGaussian(p[0].expand(n, -1), p[1].expand(n, -1)) for k, p in gaussians.items()})

    monkeypatch.setattr(m, "posterior", posterior)


def repeated(x: Sequence[float], values: Sequence[float], observed: Sequence[bool], n: int) -> Batch:
    return Batch(*(torch.tensor(part).expand(n, -1) for part in (x, values, observed)))


@torch.no_grad()
def averaged(m: CCVAE, b: Batch, runs: int = 10) -> tuple[dict[str, Tensor], Tensor]:
    """Means over runs of every term and of the negative bound; and the standard errors of the latter's parts."""
    found = [m.losses(b, torch.Generator().manual_seed(seed)).objectives["model"]() for seed in range(runs)]
    terms = {name: torch.stack([t[name] for t in found]) for name in found[0]}
    total = terms["reconstruction"] + terms["kl_z"] + terms["kl_y"].sum(1) + terms.get("joint_classification", 0.0)
    return {**{name: t.mean(0) for name, t in terms.items()}, "total": total.mean()}, total.std() / math.sqrt(runs)


# -- grids -------------------------------------------------------------------------------------------------------------


def grid_of(q: DiagonalGaussian, points: int = 4001) -> tuple[Tensor, Tensor]:
    """Codes ``(points, 1)`` over eight deviations of a one-dimensional Gaussian, and weights that integrate under it."""
    at = torch.linspace(-8, 8, points, dtype=torch.float64)
    weights = td.Normal(0.0, 1.0).log_prob(at).exp()
    return (q.mean + q.scale * at[:, None]).float(), weights / weights.sum()


def square_of(q: DiagonalGaussian, points: int = 301) -> tuple[Tensor, Tensor]:
    """The same for two coordinates."""
    at = torch.linspace(-6, 6, points, dtype=torch.float64)
    pairs = torch.cartesian_prod(at, at)
    weights = td.Normal(0.0, 1.0).log_prob(pairs).sum(1).exp()
    return (q.mean + q.scale * pairs).float(), weights / weights.sum()


def log_reader(m: CCVAE, i: int, codes: Tensor) -> Tensor:
    """log q(y_i | z_i) of every value ``(points, values)``, from the reader's network."""
    raw = m.classifiers.get_submodule(f"networks.{i}")(codes)
    return torch.cat([torch.zeros_like(raw), raw], -1).log_softmax(-1) if raw.shape[1] == 1 else raw.log_softmax(-1)


def log_prior(m: CCVAE, i: int, codes: Tensor) -> Tensor:
    """log p(z_i | y_i) of every value ``(points, values)``."""
    table = m.label_prior.table(i)
    return torch.stack([td.Normal(a, s).log_prob(codes).sum(-1) for a, s in zip(table.mean, table.scale, strict=True)], -1)


def block_cost(m: CCVAE, i: int, q: DiagonalGaussian, value: int | None, grid=grid_of) -> Tensor:
    """KL(q(z_i | x, y_i) || p(z_i | y_i)) - log p(y_i), or without a value what eq. 5 has in its place."""
    codes, weights = grid(q)
    reader, prior = log_reader(m, i, codes).double(), log_prior(m, i, codes).double()
    log_q = td.Normal(q.mean, q.scale).log_prob(codes).sum(-1).double()
    log_p_y = torch.tensor(FREQUENCIES[m.schema.names[i]], dtype=torch.float64).log()
    if value is None:
        return weights @ (log_q + (reader.exp() * (reader - prior - log_p_y)).sum(1))
    log_answer = (weights @ reader[:, value].exp()).log()
    w = (reader[:, value] - log_answer).exp()
    return weights @ (w * (reader[:, value] - log_answer + log_q - prior[:, value])) - log_p_y[value]


def tilted_moments(m: CCVAE, i: int, q: DiagonalGaussian, value: int | None) -> tuple[Tensor, Tensor]:
    """Mean and variance of q(z_i | x, y_i); of q(z_i | x) where the label is missing."""
    if value is None:
        return q.mean[0], q.scale[0] ** 2
    codes, weights = grid_of(q)
    w = weights * log_reader(m, i, codes)[:, value].double().exp()
    w = w / w.sum()
    mean = w @ codes.double()
    return mean.float(), (w @ (codes.double() - mean) ** 2).float()


@torch.no_grad()
def exact(m: CCVAE, x: Tensor, values: Sequence[int | None]) -> dict[str, Tensor]:
    """The terms of one sample whose label blocks have one coordinate each."""
    q = m.posterior(x[None], torch.zeros(1, len(values)), torch.zeros(1, len(values), dtype=torch.bool))
    names = [f"z.{name}" for name in m.schema.names]
    moments = [tilted_moments(m, i, q[names[i]], v) for i, v in enumerate(values)]
    mean = torch.cat([q["z"].mean[0], *(a for a, _ in moments)])
    variance = torch.cat([q["z"].scale[0] ** 2, *(v for _, v in moments)])
    spread = (m.decoder.get_parameter("weight").square() @ variance).sum() / (2 * SCALE**2)
    terms = {
        "reconstruction": -td.Normal(m.decoder(mean), SCALE).log_prob(x).sum() + spread,
        "kl_z": td.kl_divergence(td.Normal(q["z"].mean, q["z"].scale), td.Normal(0.0, 1.0)).sum(),
        "kl_y": torch.stack([block_cost(m, i, q[names[i]], v).float() for i, v in enumerate(values)]),
    }
    return {**terms, "total": terms["reconstruction"] + terms["kl_z"] + terms["kl_y"].sum()}


# -- the labelled bound ------------------------------------------------------------------------------------------------

CODES = {"z": [(0.4, 0.6)], "z.a": [(0.3, 0.9)], "z.b": [(-0.8, 0.5)]}
X = (0.5, -0.7)


@torch.no_grad()
def test_the_two_forms_of_the_labelled_bound_are_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eq. 4, integrated over both codes at once, against the form with a divergence per block."""
    m = model()
    place(m, monkeypatch, {k: CODES[k] for k in ("z", "z.a")})
    x = torch.tensor(X)
    q = m.posterior(x[None], torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool))
    codes, weights = square_of(
        DiagonalGaussian(torch.cat([q["z"].mean, q["z.a"].mean], 1), torch.cat([q["z"].scale, q["z.a"].scale], 1))
    )
    z, z_a = codes[:, :1], codes[:, 1:]
    reader = log_reader(m, 0, z_a)[:, 1].double()
    log_answer = (weights @ reader.exp()).log()
    bracket = td.Normal(m.decoder(codes), SCALE).log_prob(x).sum(1) + log_prior(m, 0, z_a)[:, 1] - reader
    bracket = bracket + td.Normal(0.0, 1.0).log_prob(z)[:, 0]
    bracket = bracket - sum(td.Normal(g.mean, g.scale).log_prob(c)[:, 0] for g, c in ((q["z"], z), (q["z.a"], z_a)))
    bound = weights @ ((reader - log_answer).exp() * bracket) + log_answer + math.log(0.3)
    assert float(-bound) == pytest.approx(float(exact(m, x, [1])["total"]), abs=1e-4)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("estimator", ["quadrature", "paper"])
def test_the_labelled_bound_is_the_integral(value: int, estimator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    m = model(estimator=estimator, samples=256)
    place(m, monkeypatch, {k: CODES[k] for k in ("z", "z.a")})
    expected = exact(m, torch.tensor(X), [value])
    found, error = averaged(m, repeated(X, [float(value)], [True], 1000))
    assert float(found["total"]) == pytest.approx(float(expected["total"]), abs=4 * float(error) + 0.01)
    assert float(error) < (0.02 if estimator == "quadrature" else 0.05)


@pytest.mark.parametrize("values", [[1, 0], [0, 0], [1, None], [None, 0], [None, None]])
@pytest.mark.parametrize("estimator", ["quadrature", "paper"])
def test_the_bound_of_two_labels_known_or_missing_is_the_integral(
    values: list[int | None], estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = model(TWO, estimator=estimator, samples=256)
    place(m, monkeypatch, CODES)
    expected = exact(m, torch.tensor(X), values)
    given = [float(v or 0) for v in values], [v is not None for v in values]
    found, error = averaged(m, repeated(X, *given, 1000))
    assert float(found["total"]) == pytest.approx(float(expected["total"]), abs=4 * float(error) + 0.01)


@pytest.mark.parametrize("values", [[1, 0], [1, None], [None, None]])
def test_quadrature_gives_each_term_of_a_block_without_noise(values: list[int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    m = model(TWO, samples=8)
    place(m, monkeypatch, CODES)
    expected = exact(m, torch.tensor(X), values)
    b = repeated(X, [float(v or 0) for v in values], [v is not None for v in values], 2)
    found = m.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()
    assert torch.allclose(found["kl_z"], expected["kl_z"], atol=1e-5)
    assert torch.allclose(found["kl_y"], expected["kl_y"], atol=2e-3)
    q = m.posterior(b.x, b.values, b.observed)
    for i, v in enumerate(values):
        codes, weights = grid_of(q[f"z.{'ab'[i]}"][:1])
        answer = 0.0 if v is None else float(-(weights @ log_reader(m, i, codes)[:, v].double().exp()).log().detach())
        assert float(found["classification"][i].detach()) == pytest.approx(answer, abs=1e-4)


@pytest.mark.parametrize("slope", [0.5, 2.0, 6.0])
@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (3.0, 0.3), (-4.0, 2.0)])
def test_quadrature_is_accurate_for_steep_classifiers(
    slope: float, mean: float, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = model(samples=4)
    with torch.no_grad():
        m.classifiers.get_submodule("networks.0.0").get_parameter("weight").fill_(slope)
    place(m, monkeypatch, {"z": CODES["z"], "z.a": [(mean, scale)]})
    q = m.posterior(torch.zeros(1, 2), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool))["z.a"]
    codes, weights = grid_of(q)
    for value in (0, 1):
        found = m.losses(repeated(X, [float(value)], [True], 2), torch.Generator().manual_seed(0)).objectives["model"]()
        expected = -(weights @ log_reader(m, 0, codes)[:, value].double().exp()).log()
        assert float(found["classification"][0].detach()) == pytest.approx(float(expected.detach()), abs=0.02, rel=0.02)
        cost = block_cost(m, 0, q, value)
        assert float(found["kl_y"][0].detach()) == pytest.approx(float(cost.detach()), abs=0.05, rel=0.02)


def test_the_weight_correlates_with_the_bracket_so_an_analytic_divergence_would_be_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One label, prior N(2, 1.3133^2) where it is on, slope 1: the bracket's log p - log q under the weight."""
    m = model()
    with torch.no_grad():
        weight, bias = (m.classifiers.get_submodule("networks.0.0").get_parameter(n) for n in ("weight", "bias"))
        weight.fill_(1.0)
        bias.zero_()
        means, raw = (m.label_prior.get_submodule(n).get_parameter("0") for n in ("means", "raw_scales"))
        means.copy_(torch.tensor([[-2.0], [2.0]]))
        raw.fill_(1.0)
        raw.add_((1.313 - m.label_prior.table(0).scale) / (1 - math.exp(-1.313)))  # softplus', so that the deviation is 1.313
    for mean, bracket, analytic in ((0.0, -0.743, -1.223), (-2.0, -2.888, -4.703)):
        place(m, monkeypatch, {"z": CODES["z"], "z.a": [(mean, 1.0)]})
        q = m.posterior(torch.zeros(1, 2), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool))["z.a"]
        codes, weights = grid_of(q)
        reader = log_reader(m, 0, codes)[:, 1].double()
        w = (reader - (weights @ reader.exp()).log()).exp()
        divergence = float((weights @ (w * w.log())).detach())  # of q(z | x, y) from q(z | x)
        found = m.losses(repeated(X, [1.0], [True], 2), torch.Generator().manual_seed(0)).objectives["model"]()
        assert divergence - float(found["kl_y"][0].detach()) - math.log(0.3) == pytest.approx(bracket, abs=3e-3)
        given = m.label_prior.given([0], torch.ones(1, 1))
        assert float(-q.kl(given).detach()) == pytest.approx(analytic, abs=1e-3)


def test_a_known_labels_code_is_drawn_from_the_posterior_given_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    m = model(TWO)
    place(m, monkeypatch, CODES)
    decode, seen = m.decode, []
    monkeypatch.setattr(m, "decode", lambda codes: (seen.append(codes.map(lambda c: c.detach())), decode(codes))[1])
    b = repeated(X, [1.0, 0.0], [True, False], 4000)
    with torch.no_grad():
        m.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()
    (codes,) = seen
    q = m.posterior(b.x[:1], b.values[:1], b.observed[:1])
    for name, i, value in (("z.a", 0, 1), ("z.b", 1, None)):
        with torch.no_grad():
            mean, variance = tilted_moments(m, i, q[name], value)
        assert float(codes[name].mean()) == pytest.approx(float(mean), abs=0.05)
        assert float(codes[name].var()) == pytest.approx(float(variance), rel=0.08)
    with torch.no_grad():
        assert abs(float(tilted_moments(m, 0, q["z.a"], 1)[0] - q["z.a"].mean)) > 0.15
    assert float(codes["z"].mean()) == pytest.approx(0.4, abs=0.05)


# -- weights of the published estimator --------------------------------------------------------------------------------


def test_weights_of_eighteen_labels_average_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Schema([binary(f"l{i}") for i in range(18)])
    torch.manual_seed(0)
    m = CCVAE((2,), schema, latent=1, subspace=1, estimator="paper", samples=500, network=Network(width=8, depth=1)).eval()
    with torch.no_grad():
        for i in range(18):
            m.classifiers.get_submodule(f"networks.{i}.0").get_parameter("weight").fill_(1.0)
            m.classifiers.get_submodule(f"networks.{i}.0").get_parameter("bias").zero_()
    g = torch.Generator().manual_seed(1)
    means = 2 * torch.randn(18, generator=g)
    place(m, monkeypatch, {"z": [(0.0, 1.0)], **{f"z.l{i}": [(float(mu), 0.3)] for i, mu in enumerate(means)}})
    values = (torch.rand(18, generator=g) < 0.5).float()
    n = 1500
    b = Batch(torch.zeros(n, 2), values.expand(n, -1), torch.ones(n, 18, dtype=torch.bool))
    with torch.no_grad():
        q = m.posterior(b.x, b.values, b.observed)
        log_w, log_answer = m.log_weight(b, q, sample(q, g), g)
    w = log_w.exp()
    assert log_w.shape == (n,)
    assert float(w.mean()) == pytest.approx(1, abs=4 * float(w.std()) / math.sqrt(n) + 0.01)
    assert 0.2 < float(w.std()) < 1.2
    exact_answer = 0.0
    for mu, y in zip(means, values, strict=True):
        codes, weights = grid_of(DiagonalGaussian(mu.reshape(1, 1), torch.full((1, 1), 0.3)))
        exact_answer += float((weights @ torch.sigmoid((2 * y - 1) * codes[:, 0]).double()).log())
    assert float(log_answer.mean()) == pytest.approx(exact_answer, abs=0.02)


def test_missing_labels_have_no_part_in_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    m = model(TWO, estimator="paper")
    place(m, monkeypatch, CODES)
    b = repeated(X, [1.0, 0.0], [False, False], 3)
    q = m.posterior(b.x, b.values, b.observed)
    log_w, log_answer = m.log_weight(b, q, sample(q, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(0))
    assert torch.allclose(log_w, torch.zeros(3), atol=1e-5)
    assert torch.allclose(log_answer, torch.zeros(3), atol=1e-5)


def test_the_published_numerator_teaches_the_classifier_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    m = model(estimator="paper")
    b = repeated(X, [1.0], [True], 4)
    q = m.posterior(b.x, b.values, b.observed)
    codes = sample(q, torch.Generator().manual_seed(0))
    log_w, log_answer = m.log_weight(b, q, codes, torch.Generator().manual_seed(1))
    numerator = (log_w + log_answer).sum()
    encoder = m.label_head.linear.weight
    reader = m.classifiers.get_submodule("networks.0.0").get_parameter("weight")
    felt = torch.autograd.grad(numerator, [encoder, reader], retain_graph=True, allow_unused=True)
    assert felt[0] is None or float(felt[0].abs().max()) < 1e-6
    assert felt[1] is not None
    assert float(felt[1].abs().max()) > 0
    assert float(torch.autograd.grad(log_answer.sum(), encoder)[0].abs().max()) > 0


# -- missing labels and gradients --------------------------------------------------------------------------------------


def nudged(p: Tensor, function, step: float = 1e-3) -> Tensor:
    """Central differences of a number in every entry of a parameter."""
    slopes = torch.zeros(p.numel(), dtype=torch.float64)
    flat = p.data.view(-1)
    for j in range(p.numel()):
        ends = []
        for by in (step, -step):
            before = float(flat[j])
            flat[j] = before + by
            with torch.no_grad():
                ends.append(function().double())
            flat[j] = before
        slopes[j] = (ends[0] - ends[1]) / (2 * step)
    return slopes.reshape(p.shape).float()


@pytest.mark.parametrize(("estimator", "value"), [("quadrature", None), ("quadrature", 0), ("quadrature", 1), ("paper", None)])
def test_the_classifier_and_the_prior_feel_the_gradient_of_the_exact_bound(
    estimator: str, value: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published estimator stops part of the gradient where the label is known, so there it is not compared."""
    m = model(estimator=estimator)
    with torch.no_grad():
        m.classifiers.get_submodule("networks.0.0").get_parameter("weight").fill_(
            0.7
        )  # away from Bayes' rule, where it is flat
    place(m, monkeypatch, {"z": CODES["z"], "z.a": [(0.6, 1.0)]})
    n = 2 if estimator == "quadrature" else 20_000
    b = repeated(X, [float(value or 0)], [value is not None], n)
    q = m.posterior(b.x[:1], b.values[:1], b.observed[:1])["z.a"]
    term = m.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()["kl_y"][0]
    watched = [*m.classifiers.parameters(), *m.label_prior.parameters()]
    assert len(watched) == 4
    for p, found in zip(watched, torch.autograd.grad(term, watched), strict=True):
        expected = nudged(p, lambda: block_cost(m, 0, q, value), step=1e-2)
        assert torch.allclose(found, expected, atol=5e-3 if n == 2 else 0.02, rtol=0.02)
        assert float(expected.abs().max()) > 0.02


@pytest.mark.parametrize("value", [None, 1])
def test_the_encoder_feels_the_gradient_of_the_exact_cost_of_a_block(
    value: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = model()
    code = torch.tensor([[0.6, 0.8]], requires_grad=True)
    standard = DiagonalGaussian.standard(2, 1)
    own = DiagonalGaussian(code[:, :1].expand(2, 1), code[:, 1:].expand(2, 1))
    monkeypatch.setattr(m, "posterior", lambda *_: Latents(m.blocks, {"z": standard, "z.a": own}))
    b = repeated(X, [float(value or 0)], [value is not None], 2)
    term = m.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()["kl_y"][0]
    (found,) = torch.autograd.grad(term, code)
    expected = nudged(code, lambda: block_cost(m, 0, DiagonalGaussian(code[:, :1], code[:, 1:]), value), step=1e-2)
    assert torch.allclose(found, expected, atol=5e-3, rtol=0.02)


@pytest.mark.parametrize("estimator", ["quadrature", "paper"])
def test_a_class_that_nobody_told_is_summed_out(estimator: str) -> None:
    """Every draw's cost is log q(z | x) + sum_y q(y | z)(log q(y | z) - log p(z | y) - log p(y)), over three classes."""
    m = model(MIXED, estimator=estimator, samples=64)
    n = 4000
    b = repeated(X, [0.0, 0.0], [False, False], n)
    with torch.no_grad():
        found = m.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()["kl_y"]
        q = m.posterior(b.x[:1], b.values[:1], b.observed[:1])
        draws = torch.randn(100_000, q["z.k"].mean.shape[1], generator=torch.Generator().manual_seed(1))
        codes = q["z.k"].mean + q["z.k"].scale * draws
        k = block_cost(m, 1, q["z.k"], None, grid=lambda _: (codes, torch.full((100_000,), 1e-5, dtype=torch.float64)))
        a = block_cost(m, 0, q["z.a"], None)
    assert float(found[0]) == pytest.approx(float(a), abs=0.06)
    assert float(found[1]) == pytest.approx(float(k), abs=0.1)


@pytest.mark.parametrize("value", [None, 0, 1])
def test_a_block_of_two_coordinates_is_integrated_by_draws(value: int | None) -> None:
    m = model(subspace=2, samples=256)
    b = repeated(X, [float(value or 0)], [value is not None], 500)
    with torch.no_grad():
        found = m.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()["kl_y"][0]
        q = m.posterior(b.x[:1], b.values[:1], b.observed[:1])["z.a"]
        assert float(found) == pytest.approx(float(block_cost(m, 0, q, value, grid=square_of)), abs=0.03)


def test_without_any_label_the_cost_of_a_block_is_that_of_diva(monkeypatch: pytest.MonkeyPatch) -> None:
    m = model()
    torch.manual_seed(0)
    diva = DIVA((2,), ONE, [FREQUENCIES["a"]], latent=1, subspace=1, likelihood="gaussian", network=Network(width=8)).eval()
    diva.label_prior.load_state_dict(m.label_prior.state_dict())
    diva.classifiers.load_state_dict(m.classifiers.state_dict())
    place(m, monkeypatch, {k: CODES[k] for k in ("z", "z.a")})
    monkeypatch.setattr(diva, "posterior", m.posterior)
    b = repeated(X, [0.0], [False], 20_000)
    with torch.no_grad():
        one, other = (k.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()["kl_y"] for k in (m, diva))
    assert torch.allclose(one, other, atol=0.03)


@pytest.mark.parametrize("known", [True, False])
def test_a_number_as_label(known: bool) -> None:
    """Gaussian readers and priors: the cost of the block by a grid over code and number."""
    m = model(Schema([continuous("c", 2.0, 3.0)]), samples=64)
    n = 20_000 if not known else 2
    b = repeated(X, [4.0], [known], n)
    with torch.no_grad():
        found = float(m.losses(b, torch.Generator().manual_seed(0)).objectives["model"]()["kl_y"][0])
        q = m.posterior(b.x[:1], b.values[:1], b.observed[:1])["z.c"]
        codes, weights = grid_of(q, 601)
        log_q = td.Normal(q.mean, q.scale).log_prob(codes)[:, 0].double()
        numbers = torch.linspace(-60, 64, 2401) if not known else torch.tensor([4.0])
        answer = m.classifiers.answer(Latents(m.blocks, {"z": m.free_prior(codes).mean, "z.c": codes})).table()["c"]
        mean, sd = (torch.as_tensor(answer[part]).double()[:, None] for part in ("mean", "sd"))
        reader = td.Normal(mean, sd).log_prob(numbers.double())
        given = m.label_prior.given([0], m.schema.standardised(numbers[:, None]))
        prior = td.Normal(given.mean[:, 0, 0], given.scale[:, 0, 0]).log_prob(codes).double()
        log_p = td.Normal(2.0, 3.0).log_prob(numbers).double()
        if known:
            log_answer = (weights @ reader[:, 0].exp()).log()
            log_w = reader[:, 0] - log_answer
            expected = weights @ (log_w.exp() * (log_w + log_q - prior[:, 0])) - log_p[0]
            expected = expected - math.log(3.0)  # densities of the standardised value
        else:
            inside = torch.trapezoid(reader.exp() * (reader - prior - log_p), numbers.double(), dim=1)
            expected = weights @ (log_q + inside)
    assert found == pytest.approx(float(expected), abs=0.01 if known else 0.06)


# -- the rest ----------------------------------------------------------------------------------------------------------


def test_the_classification_term_is_weighed_beside_the_bound() -> None:
    m, g = model(TWO, classification=2.5), torch.Generator().manual_seed(0)
    b = Batch(torch.randn(6, 2, generator=g), torch.ones(6, 2), torch.tensor([[True, False], [True, True], [False, True]] * 2))
    losses = m.losses(b, torch.Generator().manual_seed(0))
    total, t = losses.objective("model").detach(), losses.terms
    bound = t["reconstruction"] + t["kl_z"] + t["kl_y"].sum()
    assert torch.allclose(total, bound + 2.5 * t["classification"].sum(), atol=1e-4)
    assert torch.allclose(m.score(t), total, atol=1e-4)  # epochs are compared by both


def test_the_score_of_the_published_estimator_is_its_bound() -> None:
    m, g = model(TWO, estimator="paper"), torch.Generator().manual_seed(0)
    losses = m.losses(Batch(torch.randn(6, 2, generator=g), torch.ones(6, 2), torch.ones(6, 2) > 0), g)
    assert torch.allclose(losses.objective("model").detach(), m.score(losses.terms), atol=1e-4)


def test_classification_is_averaged_over_the_samples_that_have_the_label() -> None:
    m, g = model(TWO), torch.Generator().manual_seed(0)
    x, values = torch.randn(3, 2, generator=g), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    observed = torch.tensor([[True, False], [True, True], [False, False]])
    stack_blocks = m.losses(Batch(x, values * observed, observed), g).objectives["model"]()["classification"]
    alone = [
        m.losses(Batch(x[[r]], values[[r]], torch.ones(1, 2, dtype=torch.bool)), g).objectives["model"]()["classification"]
        for r in range(3)
    ]
    assert torch.allclose(stack_blocks, torch.stack([(alone[0][0] + alone[1][0]) / 2, alone[1][1]]), atol=1e-5)


def test_a_batch_costs_the_mean_of_its_samples() -> None:
    m, g = model(TWO), torch.Generator().manual_seed(0)
    x, values = torch.randn(3, 2, generator=g), torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    observed = torch.tensor([[True, True], [True, False], [False, False]])

    def cost(rows: slice) -> Tensor:
        return m.losses(Batch(x[rows], values[rows], observed[rows]), g).objectives["model"]()["kl_y"].detach()

    assert torch.allclose(cost(slice(None)), torch.stack([cost(slice(r, r + 1)) for r in range(3)]).mean(0), atol=1e-4)


@pytest.mark.parametrize(
    "frequency",
    [0.5, 0.1],
)
def test_a_new_models_classifier_of_a_binary_label_is_bayes_rule(frequency: float) -> None:
    torch.manual_seed(0)
    m = CCVAE((2,), ONE, [[1 - frequency, frequency]], latent=1, subspace=1, network=Network(width=8))
    table = m.label_prior.table(0)
    assert torch.allclose(table.mean, torch.tensor([[-2.0], [2.0]]))
    assert torch.allclose(table.scale, torch.full((2, 1), 1.3133), atol=2e-3)
    codes = torch.linspace(-3, 3, 7)[:, None]
    joint = log_prior(m, 0, codes) + torch.tensor([1 - frequency, frequency]).log()
    assert torch.allclose(log_reader(m, 0, codes), joint.log_softmax(1), atol=1e-2)


def test_the_decoder_sees_codes_alone_and_the_encoder_no_label() -> None:
    m, b = (
        model(TWO),
        Batch(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), torch.ones(4, 2), torch.ones(4, 2) > 0),
    )
    one, other = (m.posterior(b.x, values, b.observed) for values in (b.values, 1 - b.values))
    assert all(torch.equal(one[name].mean, other[name].mean) for name in one)
    codes = sample(one, torch.Generator().manual_seed(0))
    assert [(block.name, block.size) for block in m.blocks] == [("z", 1), ("z.a", 1), ("z.b", 1)]
    assert torch.allclose(m.decode(codes).mean, m.decoder(concatenate(codes)))


@pytest.mark.parametrize("values", [(1, 0), (1, None), (None, None)])
def test_log_likelihood_of_a_linear_model_is_that_of_its_mixture_of_gaussians(values: tuple[int | None, int | None]) -> None:
    """p(x | known labels): given all labels x is Gaussian; missing ones are summed out under their frequencies."""
    m, x = model(TWO), torch.tensor([X])
    with torch.no_grad():
        for head in (m.head, m.label_head):  # proposals about as wide as the priors
            head.linear.weight.zero_()
            head.linear.bias[: head.linear.bias.numel() // 2] = 0
            head.linear.bias[head.linear.bias.numel() // 2 :] = 2.0
        parts = []
        for a in [0, 1] if values[0] is None else [values[0]]:
            for b in [0, 1] if values[1] is None else [values[1]]:
                p = m.prior(torch.tensor([[float(a), float(b)]]))
                mean, scale = concatenate(p.map(lambda g: g.mean))[0], concatenate(p.map(lambda g: g.scale))[0]
                weight = m.decoder.get_parameter("weight") * scale
                covariance = weight @ weight.T + SCALE**2 * torch.eye(2)
                log_p = td.MultivariateNormal(m.decoder(mean), covariance).log_prob(x[0])
                log_p = log_p + (math.log(FREQUENCIES["a"][a]) if values[0] is None else 0.0)
                parts.append(log_p + (math.log(FREQUENCIES["b"][b]) if values[1] is None else 0.0))
    given, observed = torch.tensor([[float(v or 0) for v in values]]), torch.tensor([[v is not None for v in values]])
    many = [part.expand(200, -1) for part in (x, given, observed)]
    found = m.log_likelihood(*many, draws=30, generator=torch.Generator().manual_seed(0)).logsumexp(0) - math.log(200)
    assert float(found) == pytest.approx(float(torch.stack(parts).logsumexp(0)), abs=0.08)


def test_classifiers_of_binary_labels_may_have_hidden_units() -> None:
    m = CCVAE((2,), ONE, latent=1, hidden=8, linear=False, network=Network(width=8))
    assert [type(layer).__name__ for layer in m.classifiers.networks[0]] == ["Linear", "SiLU", "Linear"]  # type: ignore[arg-type]
