"""Leakage: what a fresh probe can read from codes."""

from __future__ import annotations

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
        "mlp": MLPClassifier((64,), alpha=1e-2, early_stopping=True, max_iter=200, random_state=seed),
    }
    scores = {}
    for name, classifier in classifiers.items():
        read = make_pipeline(StandardScaler(), classifier).fit(codes[fit], labels[fit]).predict(codes[held])
        scores[name] = statistic(lambda y, r: _balanced(y, r), labels[held], read, seed=seed)
    return scores


def _balanced(labels: np.ndarray, read: np.ndarray) -> float:
    """Mean over classes of the rate at which the class is read right (scikit-learn's takes 20 times as long)."""
    counts = np.bincount(labels)
    right = np.bincount(labels, weights=labels == read, minlength=len(counts))
    present = counts > 0
    return float((right[present] / counts[present]).mean())
