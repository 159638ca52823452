"""Leakage: what a fresh probe can predict from codes, how far classes are apart in them, and which blocks are used at all.

All classes weigh alike, in training and in scores: a classifier that is right most often hardly ever names a rare class, and
then reads 50% where 69% can be had (one sample in twenty, a shift of one deviation).

Probes answer "can it be predicted?" with classifiers and regressions; the nearest-neighbour KL needs no training but a floor
beside it; :func:`block_use` says whether there is anything in a block to leak.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from labelspace.errors import UserError
from labelspace.metrics.diversity import as_matrix
from labelspace.metrics.scores import Score, area_score, balanced_rate, mean, statistic

_LEAST_NATS = 0.01  # a block with a smaller KL carries nothing
_LEAST_VARIANCE = 0.01  # a coordinate whose mean varies less is inactive (Burda et al. 2016)
_KD_TREE = 8  # coordinates up to which a KD-tree is faster than comparing all pairs
_MLP = {
    "hidden_layer_sizes": (64,),
    "alpha": 1e-2,
    "learning_rate_init": 3e-3,
    "n_iter_no_change": 20,
    "early_stopping": True,
    "max_iter": 400,
}


def probe(codes: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> dict[str, Score]:
    """Balanced accuracy of fresh classifiers that predict a discrete label from codes.

    The classifiers are trained on one random half of the samples, all classes weighing alike, and scored on the other; the
    codes are standardised by the first half. Chance is one over the number of classes.

    Args:
        codes: ``(n, d)``.
        labels: ``(n,)`` whole numbers or words.
        seed: of the halves and of the networks.

    Returns:
        "logistic" and "mlp" (one hidden layer of 64, early stopping).

    Raises:
        UserError: fewer than 20 samples, or only one class.
    """
    return {name: scores["balanced_accuracy"] for name, scores in probe_scores(codes, labels, seed=seed).items()}


def probe_nats(codes: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> dict[str, Score]:
    """Nats that fresh classifiers find about a discrete label in codes: H(y) - cross entropy, on the held-out half.

    On average at most the mutual information of codes and label. Floor: 0; a probe that learnt noise may fall below, and is
    shown so. Ceiling: H(y), :func:`entropy`. Classifiers, arguments and errors are those of :func:`probe`.

    A classifier that stops early for the sake of accuracy is too unsure, and one that learnt by heart too sure. So its evidence
    is scaled by one number before it is put beside the classes' frequencies, fitted on one half of the held-out samples for the
    other. What it gets of shuffled labels is "nats_floor" of :func:`probe_scores`.
    """
    return {name: scores["nats"] for name, scores in probe_scores(codes, labels, seed=seed).items()}


def probe_scores(codes: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> dict[str, dict[str, Score]]:
    """All scores (:func:`reader_scores`) of the classifiers of :func:`probe`, which are trained once: by classifier."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    codes, labels = np.asarray(codes), np.unique(_known(labels), return_inverse=True)[1]
    if len(labels) < 20 or len(np.unique(labels)) < 2:
        raise UserError(f"a probe needs at least 20 samples of two classes, got {len(labels)} of {len(np.unique(labels))}")
    _checked_codes(codes, len(labels))
    fit, held = _halves(len(labels), seed)
    counts = np.unique(labels[fit], return_counts=True)[1]
    if len(counts) < 2 or (len(counts) == 2 and counts.min() < 2):  # early stopping divides two classes evenly
        raise UserError(f"a probe needs two samples of each of two classes in one half, got {counts.tolist()} there")
    scores = {}
    for name, classifier in {
        "logistic": LogisticRegression(max_iter=2000),
        "mlp": MLPClassifier(**_MLP, random_state=seed),
    }.items():
        scores[name] = _read_by(classifier, codes[fit], labels[fit], codes[held], labels[held], seed)
    return scores


def _read_by(
    classifier: Any, codes: np.ndarray, labels: np.ndarray, held: np.ndarray, truth: np.ndarray, seed: int
) -> dict[str, Score]:
    """Scores of a classifier that learns from some codes, all classes alike, and reads others."""
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(codes)
    fitted = classifier.fit(scale.transform(codes), labels, sample_weight=class_weights(labels))
    q = fitted.predict_proba(scale.transform(held))
    shares = (labels[:, None] == fitted.classes_).mean(0)
    return reader_scores(
        np.log(np.maximum(q, np.finfo(np.float64).tiny)), truth, fitted.classes_, shares, len(labels), seed=seed
    )


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Weights of samples ``(n,)``, of mean 1, under which all classes weigh alike."""
    _, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (len(labels) / len(counts) / counts)[number]


def reader_scores(
    evidence: np.ndarray,
    truth: np.ndarray,
    classes: np.ndarray,
    shares: np.ndarray,
    learnt_from: int,
    *,
    seed: int = 0,
    draws: int = 8,
) -> dict[str, Score]:
    """What a reader that learned with all classes alike says of held-out samples.

    Args:
        evidence: ``(m, K)`` its log-probabilities, in which all classes weigh alike.
        truth: ``(m,)``.
        classes: ``(K,)`` what its columns stand for.
        shares: ``(K,)`` how frequent the classes were among the samples that it learned from.
        learnt_from: their number.
        seed: of the floor's shuffles and of resampling.
        draws: shuffles.

    Returns:
        "balanced_accuracy" (chance: one over the number of classes); "auc", mean area under the ROC curve of one class against
        the rest (chance .5), which asks for no threshold; "nats", H(y) - cross entropy, resampled by held-out samples'
        log q(y | code) - log p(y); and "nats_floor": what the same answers get under shuffled truths, mean and 95% range.
    """
    frequencies = _log_frequencies(truth)
    hit = truth[:, None] == classes
    trace, count = 1 / (1 + learnt_from), len(np.union1d(classes, truth))
    probabilities = np.exp(evidence - evidence.max(1, keepdims=True))
    nats = _calibrated(evidence, shares, hit, trace, count) - frequencies
    rng = np.random.default_rng(seed)
    floors = []
    for order in (rng.permutation(len(truth)) for _ in range(draws)):
        floors.append(float((_calibrated(evidence, shares, hit[order], trace, count) - frequencies[order]).mean()))
    middle, half = float(np.mean(floors)), 1.96 * float(np.std(floors, ddof=1))
    return {
        "balanced_accuracy": balanced_rate(truth, classes[evidence.argmax(1)]),
        "auc": area_score(truth, probabilities / probabilities.sum(1, keepdims=True), classes),
        "nats": mean(nats, seed),
        "nats_floor": Score(middle, middle - half, middle + half, len(truth)),
    }


def probe_values(codes: np.ndarray, values: np.ndarray, *, seed: int = 0) -> dict[str, Score]:
    """R^2 of fresh regressions that predict a continuous label from codes, on the held-out half.

    1 is perfect, 0 is answering with the mean; what learnt noise is below 0, and shown so.

    Args:
        codes: ``(n, d)``.
        values: ``(n,)``.
        seed: of the halves and of the network.

    Returns:
        "ridge" (weight 1 on standardised codes) and "mlp" (one hidden layer of 64, early stopping).

    Raises:
        UserError: fewer than 20 samples, or values that are all the same or not finite.
    """
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes, values = np.asarray(codes), np.asarray(values, np.float64)
    _checked_codes(codes, len(values))
    if len(values) < 20 or not np.isfinite(values).all() or np.ptp(values) == 0:
        raise UserError(f"a probe of values needs at least 20 samples of different finite values, got {len(values)} samples")
    fit, held = _halves(len(values), seed)
    centre, scale = values[fit].mean(), values[fit].std() or 1.0
    standard = (values - centre) / scale
    scores = {}
    for name, regression in {"ridge": Ridge(), "mlp": MLPRegressor(**_MLP, random_state=seed)}.items():
        fitted = make_pipeline(StandardScaler(), regression).fit(codes[fit], standard[fit])
        scores[name] = _r_squared(standard[held], fitted.predict(codes[held]), seed)
    return scores


def entropy(labels: np.ndarray) -> Score:
    """H(y) in nats of the frequencies of ``labels (n,)``: the most that can be known about them. Resampled are -log p(y)."""
    return mean(-_log_frequencies(_known(labels)))


def _calibrated(evidence: np.ndarray, shares: np.ndarray, truth: np.ndarray, trace: float, classes: int) -> np.ndarray:
    """Log-probability of the true classes after scaling: shares * exp(scale * evidence), normalised; ``(n,)``.

    Args:
        evidence: ``(n, K)`` log-probabilities in which all classes weigh alike.
        shares: ``(K,)`` class frequencies, what is left at scale 0.
        truth: ``(n, K)`` one-hot; no entry where the classifier does not know the class.
        trace: weight of the uniform distribution, which keeps one sure mistake, or an unknown class, from counting infinitely.
        classes: how many there are, known to the classifier or not.
    """

    def log_q(rows: slice, scale: float) -> np.ndarray:
        scaled = np.log(shares) + scale * evidence[rows]
        p = np.exp(scaled - scaled.max(1, keepdims=True))
        return np.log((1 - trace) * (p * truth[rows]).sum(1) / p.sum(1) + trace / classes)

    out = np.empty(len(evidence))
    for mine, other in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        best = max([0.0, *np.geomspace(0.05, 20, 24)], key=lambda scale: log_q(other, scale).mean())
        out[mine] = log_q(mine, best)
    return out


def strong_probe(
    codes: np.ndarray,
    labels: np.ndarray,
    *,
    held_codes: np.ndarray | None = None,
    held_labels: np.ndarray | None = None,
    seed: int = 0,
) -> Score:
    """Balanced accuracy of a large fresh classifier (two layers of 256, 20 passes) on samples held out from its training.

    :func:`probe` says what is easily predicted from codes; this says what is there for a probe with data and patience.

    Args:
        codes: ``(n, d)``, to train on.
        labels: ``(n,)`` whole numbers or words.
        held_codes, held_labels: ``(m, d)`` and ``(m,)``, to be scored on; by default a random half of the samples is held out.
        seed: of the halves and of the network.

    Raises:
        UserError: held-out codes without labels, or the other way round.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    codes, labels = np.asarray(codes), _known(labels)
    held_labels = None if held_labels is None else _known(held_labels)
    if (held_codes is None) != (held_labels is None):
        raise UserError("held_codes and held_labels belong together; give both, or neither to hold out half of the samples")
    _checked_codes(codes, len(labels))
    if held_codes is None or held_labels is None:
        fit, held = _halves(len(labels), seed)
        codes, labels, held_codes, held_labels = codes[fit], labels[fit], codes[held], labels[held]
    _checked_codes(held_codes, len(held_labels))
    number = np.unique(np.concatenate([labels, held_labels]), return_inverse=True)[1]
    labels, held_labels = np.split(number, [len(labels)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 20 passes are the definition, not a limit that was hit
        classifier = MLPClassifier((256, 256), max_iter=20, random_state=seed)
        return _read_by(classifier, codes, labels, held_codes, held_labels, seed)["balanced_accuracy"]


def _known(labels: np.ndarray) -> np.ndarray:
    """Labels of which none is missing."""
    labels = np.asarray(labels)
    missing = np.array([value is None or value != value for value in labels.ravel()])  # NaN differs from itself
    if missing.any():
        raise UserError(f"labels are NaN or None for {missing.sum()} of {len(missing)} samples; leave these out")
    return labels


def _checked_codes(codes: np.ndarray, n: int) -> None:
    if codes.ndim != 2 or len(codes) != n:
        raise UserError(f"codes have shape {codes.shape}; expected (n, d) with a row for each of {n} labels")
    if not np.isfinite(codes).all():
        raise UserError("codes contain NaN or infinity; has the model diverged?")


def _r_squared(truth: np.ndarray, predicted: np.ndarray, seed: int = 0) -> Score:
    """1 - squared error over variance; NaN for constant truth."""
    if np.ptp(truth) == 0:
        return Score(float("nan"), float("nan"), float("nan"), len(truth))

    def explained(error: np.ndarray, y: np.ndarray) -> float:
        variance = y.var()
        return float(1 - error.mean() / variance) if variance > 0 else float("nan")

    return statistic(explained, (truth - predicted) ** 2, truth, seed=seed)


def _halves(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(n)
    return order[: n // 2], order[n // 2 :]


def _log_frequencies(labels: np.ndarray) -> np.ndarray:
    """Log of the share of samples that have each sample's label, ``(n,)``."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.log(counts / len(labels))[inverse]


def nearest_neighbour_kl(p: np.ndarray, q: np.ndarray) -> Score:
    """KL(P || Q) in nats from codes drawn from each, by nearest neighbours (Wang, Kulkarni and Verdu 2009, k = 1).

    log(m / (n - 1)) + (d / n) sum_i log(nu_i / rho_i): rho_i is the distance of code i of P to its nearest other code of P,
    nu_i to the nearest code of Q. Equal sets give about 0, so the value may be negative; its noise is large, and print
    :func:`kl_permuted` beside it. It saturates where sets are far apart: it then measures distances, not densities.

    Codes that repeat in a set have no density: they count once (n and m are of different codes). A code that is in both sets
    is compared with its nearest other code of Q, as in P. Resampled are the codes' log-ratios; the neighbours stay.

    Args:
        p: ``(n, d)``.
        q: ``(m, d)``.

    Raises:
        UserError: fewer than two different codes in a set, or different d.
    """
    p, q = (np.unique(as_matrix(f"codes of {name}", x).astype(np.float64), axis=0) for name, x in (("P", p), ("Q", q)))
    if p.shape[1] != q.shape[1]:
        raise UserError(f"codes of P have {p.shape[1]} coordinates and those of Q {q.shape[1]}; expected those of one block")
    if min(len(p), len(q)) < 2:
        raise UserError(
            f"P has {len(p)} and Q {len(q)} different codes; a density needs two or more of each: use probe instead"
        )
    ratios = np.log(_nearest(p, q) / _nearest(p, p))
    return mean(np.log(len(q) / (len(p) - 1)) + p.shape[1] * ratios)


def _nearest(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Distance of each row of p to its nearest row of q that is not equal to it, ``(n,)``; the rows of q are all different."""
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=2, algorithm="kd_tree" if p.shape[1] <= _KD_TREE else "brute").fit(q)
    places = neighbours.kneighbors(p, return_distance=False)
    # Computed again by differences: from products, small distances are mostly rounding.
    distances = np.stack([np.linalg.norm(p - q[places[:, k]], axis=1) for k in (0, 1)])
    return np.where(distances > 0, distances, np.inf).min(0)


class Floor(NamedTuple):
    """What an estimator gives where there is nothing to find: mean and standard deviation over draws."""

    mean: float
    sd: float


def kl_floor(n: int, m: int, d: int, draws: int = 8, seed: int = 0) -> Floor:
    """:func:`nearest_neighbour_kl` of n and m codes that are all drawn from one Gaussian N(0, I) of d coordinates."""
    rng = np.random.default_rng(seed)
    return _floor(lambda: nearest_neighbour_kl(rng.normal(size=(n, d)), rng.normal(size=(m, d))), draws)


def kl_permuted(p: np.ndarray, q: np.ndarray, draws: int = 8, seed: int = 0) -> Floor:
    """:func:`nearest_neighbour_kl` of the same codes under shuffled labels: the floor to print beside it.

    It has the codes' own shape, where :func:`kl_floor` has a Gaussian's.

    Args:
        p: ``(n, d)``.
        q: ``(m, d)``.
        draws: shuffles, at least two.
        seed: of the shuffles.
    """
    p, q = as_matrix("codes of P", p), as_matrix("codes of Q", q)
    if p.shape[1] != q.shape[1]:
        raise UserError(f"codes of P have {p.shape[1]} coordinates and those of Q {q.shape[1]}; expected those of one block")
    rng = np.random.default_rng(seed)

    def once() -> Score:
        codes = rng.permutation(np.concatenate([p, q]))
        return nearest_neighbour_kl(codes[: len(p)], codes[len(p) :])

    return _floor(once, draws)


def _floor(once: Callable[[], Score], draws: int) -> Floor:
    if draws < 2:
        raise UserError(f"a floor was asked for from {draws} draws; expected at least 2, for their standard deviation")
    values = [once().value for _ in range(draws)]
    return Floor(float(np.mean(values)), float(np.std(values, ddof=1)))


def active_units(means: np.ndarray, least: float = _LEAST_VARIANCE) -> np.ndarray:
    """Which coordinates are used, ``(d,)`` bool: those whose posterior mean varies over samples by more than ``least``.

    Active units as in Burda et al. 2016, for codes whose prior has unit scale.

    Args:
        means: ``(n, d)`` posterior means.
        least: variance, in squared units of the code.
    """
    return as_matrix("posterior means", means).var(0, dtype=np.float64) > least


@dataclass(frozen=True)
class BlockUse:
    """Whether a block carries anything.

    Attributes:
        kl: mean KL(posterior || prior) in nats, summed over coordinates; None where none was given.
        active: coordinates whose posterior mean varies.
        size: all coordinates.
    """

    kl: Score | None
    active: int
    size: int

    @property
    def collapsed(self) -> bool:
        """Whether the posterior is the prior for every sample (KL below 0.01 nats), or its mean the same for all."""
        return self.active == 0 or (self.kl is not None and self.kl.value < _LEAST_NATS)


def block_use(means: Mapping[str, np.ndarray], kl: Mapping[str, np.ndarray]) -> dict[str, BlockUse]:
    """KL, active units and collapse of every block. Resampled are samples' KLs.

    Args:
        means: block -> posterior means ``(n, d)``.
        kl: block -> KL(posterior || prior) of every sample in nats, ``(n,)``, or ``(n, d)`` by coordinate, which is summed.
            Leave out a block whose code is known exactly (a label's own value): its KL is 0 or infinite, and says nothing.

    Raises:
        UserError: a KL of a block without means, or one that is not finite or not of the means' samples.
    """
    if absent := sorted(set(kl) - set(means)):
        raise UserError(f"block {absent[0]!r} has a KL but no means; blocks with means: {', '.join(means)}")
    out = {}
    for name, codes in means.items():
        nats = None
        if name in kl:
            per_sample = np.asarray(kl[name], np.float64).reshape(len(kl[name]), -1).sum(1)
            if len(per_sample) != len(codes) or not np.isfinite(per_sample).all():
                raise UserError(
                    f"the KL of block {name!r} is of {len(per_sample)} samples, {int(np.isfinite(per_sample).sum())} finite; "
                    f"expected {len(codes)} finite ones: leave out a block that is known exactly"
                )
            nats = mean(per_sample)
        active = active_units(codes)
        out[name] = BlockUse(nats, int(active.sum()), len(active))
    return out
