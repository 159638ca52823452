"""What a strong reader can say about labels from codes: from draws, which is what a decoder gets, or from means.

Small probes say what is easily read; this reader has three layers, fresh draws of every code at every step, and weighs all
classes of a label alike, so that it sees rare ones. It reads all labels at once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema, frequencies
from labelspace.metrics import Score, balanced, statistic
from labelspace.models.networks import mlp
from labelspace.models.parts import class_weights, cross_entropy

STEPS = 1200
_BATCH, _RATE, _WIDTH = 256, 1e-3, 256


class Codes:
    """Posteriors of samples and what is to be read off them.

    Args:
        posterior: of ``n`` samples.
        values, observed: ``(n, labels)``.
    """

    def __init__(self, posterior: DiagonalGaussian, values: np.ndarray | Tensor, observed: np.ndarray | Tensor) -> None:
        self.posterior = posterior
        self.values = torch.as_tensor(values, dtype=torch.float32)
        self.observed = torch.as_tensor(observed)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, chosen: Tensor) -> Codes:
        """Some of the samples."""
        q = self.posterior
        return Codes(DiagonalGaussian(q.mean[chosen], q.scale[chosen]), self.values[chosen], self.observed[chosen])


def read(train: Codes, held: Codes, schema: Schema, *, drawn: bool, steps: int = STEPS, seed: int = 0) -> dict[str, Score]:
    """How well a strong reader that is trained on some codes reads others: balanced accuracy, and R^2 of numbers, by label.

    Labels of which fewer than two values are in the codes that it is scored on are left out.

    Args:
        train: codes to learn from.
        held: codes to be scored on.
        schema: the labels.
        drawn: on draws of the posteriors; otherwise on their means.
        steps: of training, of 256 codes each.
        seed: of the reader and of all draws.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = train.posterior.mean.shape[1]
        reader = mlp(size, [_WIDTH, _WIDTH], schema.parameters, "relu")
    centre = train.posterior.mean.mean(0)
    variance = train.posterior.mean.var(0) + (train.posterior.scale.square().mean(0) if drawn else 0.0)
    unit = variance.sqrt().clamp_min(1e-6)

    def points(codes: Codes) -> Tensor:
        q = codes.posterior
        return ((q.sample(generator) if drawn else q.mean) - centre) / unit

    known = frequencies(schema, train.values.numpy(), train.observed.numpy())
    marginal = torch.tensor([p for label, row in zip(schema, known, strict=True) for p in label.prior_parameters(row)])
    weights = class_weights(schema.distribution(marginal[None]), train.values)
    optimizer = torch.optim.Adam(reader.parameters(), _RATE)
    with torch.enable_grad():
        for _ in range(steps):
            chosen = torch.randint(len(train), (_BATCH,), generator=generator)
            part = train.rows(chosen)
            answer = schema.distribution(reader(points(part)))
            loss = cross_entropy(answer, part.values, part.observed, weights[chosen]).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        said = schema.distribution(reader(points(held))).mode().numpy()
    return scores(schema, said, held.values.numpy(), held.observed.numpy())


def scores(schema: Schema, said: np.ndarray, values: np.ndarray, observed: np.ndarray) -> dict[str, Score]:
    """What is said of labels beside what is true: balanced accuracy, and R^2 of numbers, by label.

    Args:
        schema: the labels.
        said, values, observed: ``(n, labels)``.
    """
    found = {}
    for i, label in enumerate(schema):
        seen = observed[:, i]
        if len(np.unique(values[seen, i])) < 2:
            continue
        if label.discrete:
            found[label.name] = statistic(balanced, values[seen, i].astype(int), said[seen, i].astype(int))
        else:
            found[label.name] = statistic(explained, values[seen, i], said[seen, i])
    return found


def explained(truth: np.ndarray, said: np.ndarray) -> float:
    """R^2, not below 0: the share of the variance of a number that is said."""
    variance = float(np.var(truth))
    return max(0.0, 1 - float(np.mean((truth - said) ** 2)) / variance) if variance > 0 else 0.0
