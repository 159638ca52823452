"""Leakage: what a fresh probe can read from codes."""

from __future__ import annotations

import warnings

import numpy as np

from labelspace.errors import UserError
from labelspace.evaluation.scores import Score, statistic


def probe(codes: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> dict[str, Score]:
    """Balanced accuracy of fresh classifiers that read a discrete label from codes.

    The classifiers are trained on one random half of the samples and scored on the other; the codes are standardised by
    the first half. Chance is one over the number of classes.

    Args:
        codes: ``(n, d)``.
        labels: ``(n,)`` integer values.
        seed: of the halves and of the networks.

    Returns:
        "logistic" and "mlp" (one hidden layer of 64, early stopping).

    Raises:
        UserError: fewer than 20 samples, or only one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.asarray(labels).astype(int)
    if len(labels) < 20 or len(np.unique(labels)) < 2:
        raise UserError(f"a probe needs at least 20 samples of two classes, got {len(labels)} of {len(np.unique(labels))}")
    order = np.random.default_rng(seed).permutation(len(labels))
    fit, held = order[: len(order) // 2], order[len(order) // 2 :]
    classifiers = {
        "logistic": LogisticRegression(max_iter=2000),
        "mlp": MLPClassifier(
            (64,),
            alpha=1e-2,
            learning_rate_init=3e-3,
            n_iter_no_change=20,
            early_stopping=True,
            max_iter=400,
            random_state=seed,
        ),
    }
    scores = {}
    for name, classifier in classifiers.items():
        read = make_pipeline(StandardScaler(), classifier).fit(codes[fit], labels[fit]).predict(codes[held])
        scores[name] = statistic(_balanced, labels[held], read, seed=seed)
    return scores


def strong_probe(
    train_codes: np.ndarray, train_labels: np.ndarray, codes: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> Score:
    """Balanced accuracy of a large fresh classifier (two layers of 256, 20 passes) trained on all training codes.

    :func:`probe` says what is easily read from codes; this says what is there for a reader with data and patience.

    Args:
        train_codes: ``(m, d)``, of samples that the scored ones are not among.
        train_labels: ``(m,)`` integer values.
        codes, labels: ``(n, d)`` and ``(n,)``, to be scored on.
        seed: of the network.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = MLPClassifier((256, 256), max_iter=20, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 20 passes are the definition, not a limit that was hit
        fitted = make_pipeline(StandardScaler(), classifier).fit(train_codes, train_labels.astype(int))
    return statistic(_balanced, labels.astype(int), fitted.predict(codes), seed=seed)


def _balanced(labels: np.ndarray, read: np.ndarray) -> float:
    """Mean over classes of the rate at which the class is read right (scikit-learn's takes 20 times as long)."""
    counts = np.bincount(labels)
    right = np.bincount(labels, weights=labels == read, minlength=len(counts))
    present = counts > 0
    return float((right[present] / counts[present]).mean())
