"""Scores of codes with known answers: perfect, rotated and meaningless ones, beside textbook recomputations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelspace.errors import UserError
from labelspace.metrics import disentanglement as dis
from labelspace.metrics import scoring
from labelspace.metrics.agreement import _correlations, _lasso
from labelspace.metrics.boosting import boost
from labelspace.metrics.fixed_factor import _Groups
from labelspace.metrics.independence import _total_correlation
from labelspace.metrics.scoring import gap

DSPRITES = (3, 6, 40, 32, 32)


def _grid(n: int, sizes: Sequence[int] = DSPRITES, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, n) for size in sizes], 1)


def _codes(
    kind: str, factors: np.ndarray, sizes: Sequence[int] = DSPRITES, latents: int = 10, rotation: int = 35
) -> np.ndarray:
    rng = np.random.default_rng(1)
    n, k = factors.shape
    perfect = 4 * factors / (np.array(sizes) - 1) - 2
    noise = rng.normal(size=(n, latents - k))
    if kind == "perfect and noise":
        return np.concatenate([perfect, noise], 1)
    if kind == "perfect and dead":
        return np.concatenate([perfect, 0.01 * noise], 1)
    if kind == "rotated and dead":
        turn = np.linalg.qr(np.random.default_rng(rotation).normal(size=(k, k)))[0]
        return np.concatenate([perfect @ turn, 0.01 * noise], 1)
    return rng.normal(size=(n, latents))


def _split(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(n)
    return order[n // 3 :], order[: n // 3]


# -- the ceilings and floors of the dSprites grid ---------------------------------------------------------------------
# beta-VAE, FactorVAE, MIG, SAP, SAP (R^2), modularity, IRS, Gaussian total correlation, information between latents.
# Values of other draws of the same codes. Those of the rotated row depend on the rotation: the tolerance is their standard
# deviation over 40 rotations, of which the one here is the nearest.

TABLE = {
    "perfect and noise": (1.000, 1.000, 0.896, 0.243, 1.000, 0.824, 0.571, 0.002, 0.011),
    "perfect and dead": (1.000, 1.000, 0.896, 0.249, 1.000, 0.839, 0.973, 0.003, 0.012),
    "rotated and dead": (0.914, 0.758, 0.050, 0.026, 0.134, 0.727, 0.426, 0.073, 0.023),
    "noise": (0.196, 0.202, 0.000, 0.002, 0.000, 0.656, 0.383, 0.003, 0.015),
}
TOLERANCE = (0.02, 0.02, 0.004, 0.01, 0.001, 0.04, 0.04, 0.003, 0.003)
TOLERANCE_ROTATED = (0.06, 0.11, 0.07, 0.04, 0.11, 0.03, 0.04, 0.016, 0.005)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if kind != "noise" else ()) for kind in TABLE])
def test_known_codes_get_what_they_are_known_to_get(kind: str) -> None:
    factors = _grid(15_000)
    codes, discrete = _codes(kind, factors), [True] * 5
    some, few = codes[:10_000], factors[:10_000]
    found = [
        dis.beta_vae(codes, factors, votes=(5000, 2500), discrete=discrete),
        dis.factor_vae(codes, factors, discrete=discrete),
        dis.mig(some, few, discrete=discrete),
        dis.sap(codes, factors, discrete=discrete),
        dis.sap(codes, factors, discrete=[False] * 5),
        dis.modularity(some, few, discrete=discrete),
        dis.irs(some, few, discrete=discrete),
        dis.gaussian_total_correlation(some),
        dis.mutual_information_score(some),
    ]
    tolerance = TOLERANCE_ROTATED if kind.startswith("rotated") else TOLERANCE
    for metric, printed, within in zip(found, TABLE[kind], tolerance, strict=True):
        assert metric.score.value == pytest.approx(printed, abs=within)
        assert metric.score.low <= metric.score.value <= metric.score.high
    assert found[2].ceiling == pytest.approx(0.897, abs=0.002), "the factors themselves, of which 40 values share 20 bins"
    assert found[3].ceiling == 1
    assert found[3].parameters["of_factors"] == pytest.approx(0.25, abs=0.01)
    assert found[5].floor == pytest.approx(0.656, abs=0.04)
    assert found[6].floor == pytest.approx(0.383, abs=0.04)


@pytest.mark.parametrize(("kind", "printed"), [("perfect and noise", 0.983), ("noise", 0.502)])
def test_known_explicitness(kind: str, printed: float) -> None:
    factors = _grid(15_000)
    found = dis.explicitness(_codes(kind, factors), factors, discrete=[True] * 5)
    assert found.score.value == pytest.approx(printed, abs=0.006)
    assert found.floor == pytest.approx(0.5, abs=0.01)


def test_ceilings_of_mig_follow_from_the_bins() -> None:
    factors = np.stack([np.arange(1200) % 24, np.arange(1200) // 40 % 10], 1)
    codes = factors.astype(float)
    by_bins = {bins: dis.mig(codes, factors, discrete=[True, True], bins=bins).ceiling for bins in (20, 24)}
    assert by_bins[20] == pytest.approx((0.927 + 1) / 2, abs=1e-3)
    assert by_bins[24] == pytest.approx(1)


# -- textbook ----------------------------------------------------------------------------------------------------------

SIZES = (3, 4, 8)


def _mixed(n: int = 1200, sizes: Sequence[int] = SIZES) -> tuple[np.ndarray, np.ndarray]:
    """Two clean latents with some noise, one of two factors, one of nothing."""
    factors = _grid(n, sizes)
    rng = np.random.default_rng(5)
    unit = (factors - factors.mean(0)) / factors.std(0)
    codes = np.stack([unit[:, 0], -unit[:, 1], unit[:, 2] + 0.6 * unit[:, 1], 0 * unit[:, 0]], 1)
    return codes + rng.normal(size=codes.shape) * [0.1, 0.5, 0.2, 1.0], factors


def _digitised(codes: np.ndarray, bins: int = 20) -> np.ndarray:
    return np.stack([np.digitize(c, np.histogram(c, bins)[1][:-1]) for c in codes.T], 1)


def _textbook_information(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    from sklearn.metrics import mutual_info_score

    binned = _digitised(codes)
    return np.array([[mutual_info_score(f, c) for f in factors.T] for c in binned.T])


def test_mig_and_modularity_are_the_textbook_ones() -> None:
    from sklearn.metrics import mutual_info_score

    codes, factors = _mixed()
    information = _textbook_information(codes, factors)
    assert dis.mutual_information(codes, factors, discrete=[True] * 3) == pytest.approx(information, abs=1e-9)
    gaps = []
    for k in range(3):
        ordered = sorted(information[:, k])
        gaps.append((ordered[-1] - ordered[-2]) / mutual_info_score(factors[:, k], factors[:, k]))
    assert dis.mig(codes, factors, discrete=[True] * 3).score.value == pytest.approx(np.mean(gaps))
    scores = []
    for row in information**2:
        best = row.argmax()
        scores.append(1 - sum(row[k] for k in range(3) if k != best) / (row[best] * 2))
    assert dis.modularity(codes, factors, discrete=[True] * 3).score.value == pytest.approx(np.mean(scores))


def test_information_between_latents_is_the_textbook_one() -> None:
    codes, _ = _mixed()
    binned = _digitised(codes)
    information = _textbook_information(codes, binned)
    found = dis.mutual_information_score(codes)
    assert found.score.value == pytest.approx(information[~np.eye(4, dtype=bool)].mean())
    assert found.floor == pytest.approx(19**2 / 2400, rel=0.4)


@pytest.mark.parametrize("sizes", [SIZES, (2, 5, 2)])
def test_sap_is_the_textbook_one(sizes: tuple[int, ...]) -> None:
    from sklearn.svm import LinearSVC

    codes, factors = _mixed(sizes=sizes)
    codes = codes * [0.3, 1, 3, 1] + 0.2
    fit, held = _split(len(codes))
    scaled = (codes - codes[fit].mean(0)) / codes[fit].std(0)
    gaps = []
    for y in factors.T:
        predictable = []
        for c in scaled.T:
            machine = LinearSVC(C=0.01, class_weight="balanced").fit(c[fit, None], y[fit])
            predictable.append(machine.score(c[held, None], y[held]))
        predictable.sort()
        gaps.append(predictable[-1] - predictable[-2])
    assert dis.sap(codes, factors, discrete=[True] * 3).score.value == pytest.approx(np.mean(gaps), abs=0.01)


def test_sap_of_continuous_factors_is_in_squared_correlations() -> None:
    codes, factors = _mixed()
    fit, _ = _split(len(codes))
    squares = np.sort(np.corrcoef(np.concatenate([codes, factors], 1)[fit].T)[:4, 4:] ** 2, 0)
    found = dis.sap(codes, factors, discrete=[False] * 3)
    assert found.score.value == pytest.approx((squares[-1] - squares[-2]).mean())
    mixed = dis.sap(codes, factors, discrete=[True, False, False]).score.value
    first = dis.sap(codes, factors[:, :1], discrete=[True]).score.value
    assert mixed == pytest.approx((first + (squares[-1] - squares[-2])[1:].sum()) / 3)


def test_explicitness_is_the_textbook_one() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    codes, factors = _mixed()
    codes[:, 3] = np.round(codes[:, 3])
    factors[:, 0] = factors[:, 0] > 0  # a factor of two values too
    fit, held = _split(len(codes))
    scaled = StandardScaler().fit(codes[fit]).transform(codes)
    areas = []
    for y in factors.T:
        p = LogisticRegression().fit(scaled[fit], y[fit]).predict_proba(scaled[held])
        areas.append(np.mean([roc_auc_score(y[held] == c, p[:, c]) for c in range(p.shape[1])]))
    found = dis.explicitness(codes, factors, discrete=[True] * 3)
    assert found.score.value == pytest.approx(np.mean(areas), abs=1e-3)
    continuous = dis.explicitness(codes, codes[:, :1] + codes[:, 1:2], discrete=[False])
    assert continuous.score.value == pytest.approx(1)
    assert continuous.floor == pytest.approx(0, abs=0.02)


def test_irs_is_the_textbook_one() -> None:
    codes, factors = _mixed()
    sums, weights = [], []
    for c in codes.T:
        largest = np.abs(c - c.mean()).max()
        per_factor = []
        for y in factors.T:
            deviations = []
            for v in np.unique(y):
                inside = c[y == v]
                deviations.append(np.percentile(np.abs(inside - inside.mean()), 99))
            per_factor.append(1 - np.mean(deviations) / largest)
        sums.append(largest * max(per_factor))
        weights.append(largest)
    found = dis.irs(codes, factors, discrete=[True] * 3)
    assert found.score.value == pytest.approx(sum(sums) / sum(weights))


def test_votes_are_the_textbook_ones() -> None:
    from sklearn.linear_model import LogisticRegression

    codes, factors = _mixed(3000)
    codes = codes @ np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]  # scores in the middle of the range
    rng = np.random.default_rng(7)
    fit, held = _split(len(codes))

    def pairs(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        features, truth = [], []
        for _ in range(count):
            k = rng.integers(3)
            difference = np.zeros(4)
            for _ in range(8):
                one = rng.choice(rows)
                other = rng.choice(rows[factors[rows, k] == factors[one, k]])
                difference += np.abs(codes[one] - codes[other]) / 8
            features.append(difference)
            truth.append(k)
        return np.array(features), np.array(truth)

    reader = LogisticRegression().fit(*pairs(fit, 600))
    given: dict[str, Any] = {"discrete": [True] * 3, "group": 8}
    found = dis.beta_vae(codes, factors, votes=(600, 2000), **given).score
    assert 0.4 < found.value < 0.95
    assert found.value == pytest.approx(reader.score(*pairs(held, 1000)), abs=0.06)

    def votes(rows: np.ndarray, count: int) -> np.ndarray:
        table = np.zeros((4, 3))
        for _ in range(count):
            k = rng.integers(3)
            same = rows[factors[rows, k] == factors[rng.choice(rows), k]]
            local = codes[rng.choice(same, 8)].var(0, ddof=1)
            table[(local / codes.var(0, ddof=1)).argmin(), k] += 1
        return table

    assigned = votes(fit, 1000).argmax(1)
    expected = sum(row[k] for row, k in zip(votes(held, 1000), assigned, strict=True)) / 1000
    found = dis.factor_vae(codes, factors, votes=(2000, 2000), **given).score
    assert 0.35 < found.value < 0.95
    assert found.value == pytest.approx(expected, abs=0.05)


def _textbook_dci(codes: np.ndarray, factors: np.ndarray, discrete: Sequence[bool]) -> tuple[float, float, float]:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    fit, held = _split(len(codes))
    importances, scores = [], []
    for y, classes in zip(factors.T, discrete, strict=True):
        trees = (GradientBoostingClassifier if classes else GradientBoostingRegressor)(random_state=0)
        trees.fit(codes[fit], y[fit])
        importances.append(trees.feature_importances_)
        scores.append(trees.score(codes[held], y[held]))
    matrix = np.array(importances).T + 1e-11
    d, k = matrix.shape
    per_latent = [1 + sum(p * np.log(p) for p in row / row.sum()) / np.log(k) for row in matrix]
    per_factor = [1 + sum(p * np.log(p) for p in column / column.sum()) / np.log(d) for column in matrix.T]
    return (
        float(np.average(per_latent, weights=matrix.sum(1))),
        float(np.average(per_factor, weights=matrix.sum(0))),
        float(np.mean(scores)),
    )


@pytest.mark.parametrize("kind", ["perfect and noise", "rotated and dead", "noise"])
def test_dci_is_the_textbook_one(kind: str) -> None:
    sizes = (2, 3, 5)
    factors = _grid(900, sizes)
    codes = _codes(kind, factors, sizes, latents=5)
    found = [m.score.value for m in dis.dci(codes, factors, discrete=[True] * 3)]
    assert found == pytest.approx(_textbook_dci(codes, factors, [True] * 3), abs=0.02)


def test_dci_of_continuous_factors_is_the_textbook_one() -> None:
    codes, _ = _mixed(900)
    factors = np.stack([codes[:, 0] + codes[:, 1], codes[:, 2] ** 2, codes[:, 1] > 0], 1)
    discrete = [False, False, True]
    metrics = dis.dci(codes, factors, discrete=discrete)
    assert [m.score.value for m in metrics] == pytest.approx(_textbook_dci(codes, factors, discrete), abs=0.02)
    assert metrics[2].floor == pytest.approx(0.5 / 3, abs=0.05)  # R^2 of noise counts as zero


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["perfect and noise", "rotated and dead"])
def test_dci_is_the_textbook_one_at_full_size(kind: str) -> None:
    factors = _grid(15_000)
    codes = _codes(kind, factors)
    metrics = dis.dci(codes, factors, discrete=[True] * 5)
    assert [m.score.value for m in metrics] == pytest.approx(_textbook_dci(codes, factors, [True] * 5), abs=0.02)
    assert all(m.score.low <= m.score.value <= m.score.high for m in metrics)
    if kind == "perfect and noise":
        assert [m.score.value for m in metrics] == pytest.approx([1, 1, 1], abs=0.005)


def test_shares_of_rows_add_up_to_the_importances() -> None:
    codes, factors = _mixed(600)
    found = boost(codes[:400], factors[:400], codes[400:], discrete=[True] * 3, stages=10, shares=True)
    assert found.shares is not None
    sums = found.shares.sum(0)
    assert sums / sums.sum(0) == pytest.approx(found.importances, abs=1e-4)
    assert found.importances.sum(0) == pytest.approx(1)


# -- facts -------------------------------------------------------------------------------------------------------------


def test_identical_codes_are_ideal_and_zeros_are_nothing() -> None:
    factors = np.random.default_rng(0).integers(1, 11, (3000, 10))
    given: dict[str, Any] = {"discrete": [True] * 10}
    votes: dict[str, Any] = {"votes": (1000, 500)}
    codes = factors.astype(float)
    ideal = [
        dis.beta_vae(codes, factors, **votes, **given),
        dis.factor_vae(codes, factors, **votes, **given),
        dis.mig(codes, factors, **given),
        *dis.dci(codes[:1500], factors[:1500], stages=10, **given)[:2],
        dis.sap(codes, factors, discrete=[False] * 10),  # a line cannot read ten ordered classes
        dis.modularity(codes, factors, **given),
        dis.irs(codes, factors, **given),
    ]
    assert min(metric.score.value for metric in ideal) >= 0.9
    zeros = np.zeros_like(codes)
    assert dis.factor_vae(zeros, factors, **votes, **given).score.value <= 0.2
    assert dis.mig(zeros, factors, **given).score.value <= 0.2
    assert dis.sap(zeros, factors, **given).score.value <= 0.2
    assert dis.irs(zeros, factors, **given).score.value <= 0.1
    assert dis.modularity(zeros, factors, **given).score.value == 0


def test_two_equal_entries_of_ten() -> None:
    matrix = np.zeros((10, 10))
    matrix[np.arange(10), np.arange(10)] = matrix[np.arange(10), (np.arange(10) + 1) % 10] = 1
    assert dis.modularity_of(matrix) == pytest.approx(1 - 1 / 9)
    assert dis.disentanglement_of(matrix) == pytest.approx(1 - np.log(2) / np.log(10))
    assert dis.completeness_of(matrix) == pytest.approx(1 - np.log(2) / np.log(10))
    assert dis.disentanglement_of(np.eye(10)) == pytest.approx(1)
    assert dis.disentanglement_of(np.zeros((4, 3))) == 0
    assert dis.modularity_of(np.zeros((4, 3))) == 0


def test_dead_latents_vote_only_if_they_are_not_pruned() -> None:
    factors = _grid(3000, SIZES)
    codes = _codes("perfect and dead", factors, SIZES, latents=5)
    codes[:, 3] = 0.0  # fully dead: always left out
    given: dict[str, Any] = {"discrete": [True] * 3, "votes": (1000, 500)}
    assert dis.factor_vae(codes, factors, **given).score.value == 1
    assert dis.factor_vae(codes, factors, prune=10.0, **given).score.value == 0


def test_total_correlation_and_wasserstein_of_a_gaussian() -> None:
    rng = np.random.default_rng(0)
    rho, x = 0.8, rng.normal(size=(20_000, 3))
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1]
    tc = dis.gaussian_total_correlation(x)
    assert tc.score.value == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.02)
    assert tc.score.low < -0.5 * np.log(1 - rho**2) < tc.score.high
    assert tc.floor == pytest.approx(0, abs=1e-3)
    expected = 4 - 2 * (np.sqrt(1 + rho) + np.sqrt(1 - rho))
    assert dis.gaussian_wasserstein(x).score.value == pytest.approx(expected, abs=0.02)
    assert dis.gaussian_wasserstein(x, normalised=True).score.value == pytest.approx(expected / 3, abs=0.01)
    dead = np.concatenate([x, np.zeros((len(x), 1))], 1)
    assert dis.gaussian_total_correlation(dead).score.value == pytest.approx(tc.score.value)
    twice = np.concatenate([x, x[:, :1]], 1)
    assert 10 < dis.gaussian_total_correlation(twice).score.value < 20


def test_an_interval_is_as_wide_as_values_of_fresh_samples_vary() -> None:
    values, widths = [], []
    for seed in range(30):
        factors = _grid(600, SIZES, seed)
        noise = np.random.default_rng([seed, 9]).normal(size=(600, 3))
        score = dis.mig(factors + noise * factors.std(0), factors, discrete=[True] * 3).score
        values.append(score.value)
        widths.append(score.high - score.low)
    assert np.mean(widths) / 3.92 == pytest.approx(np.std(values), rel=0.4)


# -- several models ----------------------------------------------------------------------------------------------------


def test_udr_of_agreeing_and_disagreeing_models() -> None:
    factors = _grid(1000)
    perfect = 4 * factors / (np.array(DSPRITES) - 1) - 2
    perfect = perfect / perfect.std(0)
    flipped = perfect[:, [3, 1, 4, 0, 2]] * [1, -1, 1, -1, -1]
    one, other = (np.linalg.qr(np.random.default_rng(s).normal(size=(5, 5)))[0] for s in (0, 1))
    noise = [np.random.default_rng(s).normal(size=(1000, 5)) for s in (3, 4)]
    pairs = {
        "perfect": ([perfect, flipped], 0.9, 0.92),
        "same rotation": ([perfect @ one, perfect @ one], 0.9, 0.92),
        "other rotation": ([perfect @ one, perfect @ other], 0.27, 0.27),
        "noise": (noise, 0.0, 0.02),
    }
    for name, (models, lasso, spearman) in pairs.items():
        within = 0.08 if name == "other rotation" else 0.02
        for similarity, printed in (("lasso", lasso), ("spearman", spearman)):
            metrics = dis.udr(models, similarity=similarity)  # type: ignore[arg-type]
            assert len(metrics) == 2
            for metric in metrics:
                assert metric.score.value == pytest.approx(printed, abs=within), (name, similarity)
                assert metric.score.low <= metric.score.value <= metric.score.high
                assert metric.floor == pytest.approx(0.01, abs=0.02)


def test_udr_uses_the_lasso_and_the_rank_correlation() -> None:
    from scipy.stats import rankdata, spearmanr
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(0)
    a = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))
    b = np.round(a[:, :3] + rng.normal(size=(300, 3)), 1)
    x, y = ((v - v.mean(0)) / v.std(0) for v in (a, b))
    own = _lasso((x.T @ x / 300)[None], (x.T @ y / 300)[None], 0.1)[0]
    assert own == pytest.approx(Lasso(alpha=0.1, tol=1e-8).fit(x, y).coef_.T, abs=1e-4)
    ranks = _correlations(rankdata(np.concatenate([a, b], 1), axis=0), np.ones((1, 300)))[0]
    assert ranks == pytest.approx(spearmanr(a, b)[0], abs=1e-9)


def test_udr_leaves_uninformative_latents_out() -> None:
    factors = _grid(500, SIZES)
    unit = (factors - factors.mean(0)) / factors.std(0)
    rng = np.random.default_rng(0)
    models = [np.concatenate([unit[:, order], rng.normal(size=(500, 2))], 1) for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0])]
    without = dis.udr(models)
    informed = dis.udr(models, divergences=[np.array([2, 2, 2, 0.005, 0.0])] * 3)
    assert informed[0].score.value == pytest.approx(0.9, abs=0.02)
    assert without[0].score.value == pytest.approx(0.9 * 3 / 5, abs=0.03)
    assert informed[0].parameters["informative"] == 3
    nothing = dis.udr(models, divergences=[np.zeros(5)] * 3)
    assert [m.score.value for m in nothing] == [0, 0, 0]


# -- properties --------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.permutations(range(4)), st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4), st.permutations(range(3)))
def test_order_and_sign_of_latents_do_not_matter(order: list[int], signs: list[float], turn: list[int]) -> None:
    codes, factors = _mixed(400)
    other = (codes * signs)[:, order]
    information = dis.mutual_information(codes, factors, discrete=[True] * 3)
    moved = dis.mutual_information(other, factors[:, turn], discrete=[True] * 3)
    assert moved == pytest.approx(information[order][:, turn], abs=1e-9)
    assert gap(moved).mean() == pytest.approx(gap(information).mean())
    assert dis.modularity_of(moved) == pytest.approx(dis.modularity_of(information))


_MATRICES = st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=5).map(np.array)


@given(_MATRICES, st.floats(0.01, 100))
def test_summaries_of_matrices_are_shares(matrix: np.ndarray, scale: float) -> None:
    for summary in (dis.modularity_of, dis.disentanglement_of, dis.completeness_of):
        assert -1e-9 <= summary(matrix) <= 1 + 1e-9
        if matrix.max() > 1e-3:
            assert summary(matrix * scale) == pytest.approx(summary(matrix), abs=1e-6)
            assert summary(np.stack([matrix, matrix])) == pytest.approx([summary(matrix)] * 2)


@settings(max_examples=20)
@given(st.lists(st.floats(0.01, 100), min_size=4, max_size=4))
def test_total_correlation_does_not_depend_on_scales(scales: list[float]) -> None:
    codes, _ = _mixed(200)
    covariance = np.cov(codes.T)
    scaled = covariance * np.outer(scales, scales)
    assert _total_correlation(scaled) == pytest.approx(_total_correlation(covariance), abs=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_rows_of_a_group_share_their_level(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.append(rng.integers(0, 8, 60), 99)  # 99 is alone
    rows = np.append(rng.choice(60, 40, replace=False), 60)
    groups = _Groups(levels, rows)
    one, other = groups.pairs(rng, (200, 2))
    assert (levels[one] == levels[other]).all()
    assert (one != other).all()
    assert set(one.ravel()) <= set(rows) - {60}
    sharing = levels[groups.sharing(rng, 50, size)]
    assert (sharing == sharing[:, :1]).all()


# -- all of them -------------------------------------------------------------------------------------------------------


def test_a_suite_is_plain_data_of_every_score() -> None:
    codes, factors = _mixed(400)
    mixed = np.concatenate([factors[:, :2], codes[:, 2:3] ** 3], 1)
    codes[:, 3] = 0.0
    found = dis.suite(codes, mixed, discrete=[True, True, False])
    assert found == json.loads(json.dumps(found))
    assert found == dis.suite(codes, mixed, discrete=[True, True, False])
    assert set(found) == {
        "beta_vae",
        "factor_vae",
        "mig",
        "dci_disentanglement",
        "dci_completeness",
        "dci_informativeness",
        "sap",
        "modularity",
        "explicitness",
        "irs",
        "gaussian_total_correlation",
        "gaussian_wasserstein",
        "mutual_information_score",
    }
    for name, entry in found.items():
        assert {"value", "low", "high", "n", "floor", "ceiling", "parameters"} == set(entry), name
        assert entry["low"] <= entry["value"] <= entry["high"], name
        if entry["ceiling"] is not None:
            assert entry["floor"] < entry["ceiling"], name


def test_what_cannot_be_scored_is_refused() -> None:
    codes, factors = _mixed(200)
    given: dict[str, Any] = {"discrete": [True] * 3}
    cases = [
        ("one row per sample", codes[:, 0], factors, [True] * 3),
        ("n = 200", codes, factors[:150], [True] * 3),
        ("n = 200", codes, factors[None], [True] * 3),
        ("at least 2", codes, factors[:, 0], None),
        ("each of 3 factors", codes, factors, [True]),
        ("codes contain NaN", np.where(codes > 1, np.nan, codes), factors, [True] * 3),
        ("factors contain NaN", codes, np.where(factors == 1, np.nan, factors), [True] * 3),
        ("factor 1 is constant", codes, factors * [1, 0, 1], [True] * 3),
        ("too few samples", codes[:40], factors[:40], [True] * 3),
        ("not discrete", codes, np.concatenate([factors[:, :2], codes[:, :1]], 1), [True] * 3),
        ("nearly always", codes, np.stack([factors[:, 0], np.arange(200) == 0], 1), [True] * 2),
    ]
    for message, c, f, discrete in cases:
        with pytest.raises(UserError, match=message):
            dis.suite(c, f, discrete=discrete)
    for score in (dis.beta_vae, dis.factor_vae, dis.dci, dis.modularity):
        with pytest.raises(UserError, match="at least 2"):
            score(codes, factors[:, :1], discrete=[True])
    for score in (dis.mig, dis.dci, dis.sap):
        with pytest.raises(UserError, match="at least 2"):
            score(codes[:, :1], factors, **given)
    with pytest.raises(UserError, match="bins"):
        dis.mig(codes, factors, bins=1, **given)
    with pytest.raises(UserError, match="two representations"):
        dis.udr([codes])
    with pytest.raises(UserError, match="same samples"):
        dis.udr([codes, codes[:100]])
    with pytest.raises(UserError, match="divergences"):
        dis.udr([codes, codes], divergences=[np.ones(4), np.ones(3)])
    with pytest.raises(UserError, match="lasso"):
        dis.udr([codes, codes], similarity="laso")  # type: ignore[arg-type]


# -- in the corners ---------------------------------------------------------------------------------------------------


def test_sap_does_not_mind_the_scale_and_has_a_ceiling_of_one() -> None:
    codes, factors = _mixed()
    found = dis.sap(codes, factors, discrete=[True] * 3)
    assert dis.sap(codes * [1e-4, 1, 1e4, 1] + 7, factors, discrete=[True] * 3).score == found.score
    assert found.ceiling == 1
    many = _grid(1200, (3, 20))
    itself = dis.sap(many.astype(float), many, discrete=[True] * 2)
    assert itself.score.value == pytest.approx(itself.parameters["of_factors"])
    assert itself.parameters["of_factors"] < 0.6, "a line tells few ordered classes apart"


def test_ceilings_are_those_of_the_factors_themselves() -> None:
    """Factors that go together cannot have a latent each: MIG's ceiling says so."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 2000)
    factors = np.stack([first, np.where(rng.random(2000) < 0.7, first, rng.integers(0, 4, 2000))], 1)
    given: dict[str, Any] = {"discrete": [True, True]}
    for score in (dis.mig, dis.factor_vae):
        found = score(factors.astype(float), factors, **given)
        assert found.score.value == pytest.approx(found.ceiling, abs=0.02)
    assert (dis.mig(factors.astype(float), factors, **given).ceiling or 1) < 0.7


def test_one_outlier_empties_bins_of_equal_width_and_is_noted() -> None:
    codes, factors = _mixed()
    spoiled = codes.copy()
    spoiled[0, 0], spoiled[1, 1] = 1e6, -1e6
    with pytest.warns(scoring.Crowded, match="latents 0, 1 have 95% of their samples in one of 20 bins"):
        lost = dis.mutual_information(spoiled, factors, discrete=[True] * 3)
    assert lost[0].max() < 0.05
    even = dis.mutual_information(codes, factors, discrete=[True] * 3, binning="quantile")
    kept = dis.mutual_information(spoiled, factors, discrete=[True] * 3, binning="quantile")
    assert kept == pytest.approx(even, abs=0.01)
    plain = dis.mig(codes, factors, discrete=[True] * 3).score.value
    assert dis.mig(spoiled, factors, discrete=[True] * 3, binning="quantile").score.value == pytest.approx(plain, abs=0.1)
    with pytest.raises(UserError, match="binning must be 'width' or 'quantile'"):
        dis.mig(codes, factors, binning="even")  # type: ignore[arg-type]


def test_of_very_many_classes_modularity_is_its_floor() -> None:
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, 300, 2000), rng.integers(0, 3, 2000)], 1)
    found = dis.modularity(rng.normal(size=(2000, 3)), factors)
    assert found.floor == pytest.approx(1, abs=1e-3)
    assert found.score.value == pytest.approx(found.floor, abs=1e-3)


def test_a_nearly_constant_factor_does_not_take_the_votes() -> None:
    rng = np.random.default_rng(0)
    factors = np.stack([(rng.random(2000) < 0.02).astype(int), rng.integers(0, 3, 2000), rng.integers(0, 5, 2000)], 1)
    found = dis.factor_vae(factors.astype(float), factors, discrete=[True] * 3)
    assert found.score.value > 0.95
    assert (found.ceiling or 0) > 0.95
    assert dis.factor_vae(factors[:, ::-1].astype(float), factors, discrete=[True] * 3).score.value > 0.95


def test_words_are_factors_and_what_is_discrete_is_seen() -> None:
    codes, factors = _mixed()
    words = np.array(["a", "b", "c", "d", "e", "f", "g", "h"])[factors.astype(int) - factors.min().astype(int)]
    numbers = factors.astype(int)
    for score in (dis.mig, dis.sap, dis.modularity, dis.explicitness, dis.irs, dis.beta_vae, dis.factor_vae):
        assert score(codes, words).score == score(codes, numbers).score, score.__name__
