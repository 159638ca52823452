"""What a strong reader can say about labels from codes: from draws, which is what a decoder gets, or from means.

This reader has three layers and a line beside them, fresh draws of every code at every step, and weighs all classes of a label
alike, so that it sees rare ones. A fifth of what it learns from says when it has learnt enough: of a label of which there are
few samples it would else know these by heart. It reads all labels at once.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from labelspace.distributions import DiagonalGaussian
from labelspace.labels import LabelDistribution, Schema, frequencies
from labelspace.metrics import Score, balanced_rate, reader_scores, statistic
from labelspace.models.networks import mlp
from labelspace.models.parts import class_weights, cross_entropy
from labelspace.optimizers import Adam

STEPS = 1200
_BATCH, _WIDTH = 128, 128
_RATES, _DECAY = (1e-2, 1e-3), 1.0  # of the line and of the network, which is to know no sample by heart
_PASSES = 60  # over what it learns from, at most
_LOOK, _PATIENCE = 25, 6  # steps between two looks at what is kept back, and looks without a better one that end it
_FEW = 50  # codes of which none are kept back for that


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

    Args and what is left out: as of :func:`read_scores`.
    """
    found = read_scores(train, held, schema, drawn=drawn, steps=steps, seed=seed)
    return {name: row.get("balanced_accuracy") or row["r2"] for name, row in found.items()}


def read_scores(
    train: Codes, held: Codes, schema: Schema, *, drawn: bool, steps: int = STEPS, seed: int = 0
) -> dict[str, dict[str, Score]]:
    """Everything that a strong reader that is trained on some codes says of others, by label.

    Labels of which fewer than two values are in the codes that it is scored on are left out.

    Args:
        train: codes to learn from.
        held: codes to be scored on.
        schema: the labels.
        drawn: on draws of the posteriors; otherwise on their means.
        steps: of training at most, of 128 codes each; of few codes no more than 60 passes.
        seed: of the reader and of all draws.

    Returns:
        Of discrete labels what :func:`~labelspace.metrics.reader_scores` gives, of numbers "r2".
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = _Reader(train.posterior.mean.shape[1], schema.parameters)
    centre = train.posterior.mean.mean(0)
    variance = train.posterior.mean.var(0) + (train.posterior.scale.square().mean(0) if drawn else 0.0)
    unit = variance.sqrt().clamp_min(1e-6)

    def points(codes: Codes) -> Tensor:
        q = codes.posterior
        return ((q.sample(generator) if drawn else q.mean) - centre) / unit

    known = frequencies(schema, train.values.numpy(), train.observed.numpy())
    marginal = torch.tensor([p for label, row in zip(schema, known, strict=True) for p in label.prior_parameters(row)])
    weights = class_weights(schema.distribution(marginal[None]), train.values)

    def loss(codes: Codes, weights: Tensor) -> Tensor:
        return cross_entropy(schema.distribution(reader(points(codes))), codes.values, codes.observed, weights).sum()

    order = torch.randperm(len(train), generator=generator)
    back = len(train) // 5 if len(train) >= _FEW else 0
    kept_back, fit = order[:back], order[back:]
    watched, best, kept = train.rows(kept_back), float("inf"), reader.state_dict()
    parts = zip((reader.line, reader.network), _RATES, (0.0, _DECAY), strict=True)
    optimizer = Adam([{"params": [*m.parameters()], "lr": r, "weight_decay": d} for m, r, d in parts])
    since, steps = 0, min(steps, max(_LOOK, _PASSES * len(fit) // _BATCH))
    for step in range(1, steps + 1):
        chosen = fit[torch.randint(len(fit), (_BATCH,), generator=generator)]
        with torch.enable_grad():
            part = loss(train.rows(chosen), weights[chosen])
            optimizer.zero_grad()
            part.backward()
        optimizer.step()
        if back and (step % _LOOK == 0 or step == steps):
            with torch.no_grad():
                score = float(loss(watched, weights[kept_back]))
            since += 1
            if score < best:
                best, kept, since = score, copy.deepcopy(reader.state_dict()), 0
            if since == _PATIENCE:
                break
    if back:
        reader.load_state_dict(kept)
    with torch.no_grad():
        answer = schema.distribution(reader(points(held)))
    return _scored(answer, train, held, seed)


class _Reader(nn.Module):
    """A line and a network side by side: what is linear is learnt at once, and from few samples."""

    def __init__(self, size: int, parameters: int) -> None:
        super().__init__()
        self.line, self.network = nn.Linear(size, parameters), mlp(size, [_WIDTH, _WIDTH], parameters, "relu")
        nn.init.zeros_(self.network[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.network[-1].bias)  # type: ignore[arg-type]

    def forward(self, points: Tensor) -> Tensor:
        return self.line(points) + self.network(points)


def _scored(answer: LabelDistribution, train: Codes, held: Codes, seed: int) -> dict[str, dict[str, Score]]:
    found: dict[str, dict[str, Score]] = {}
    for i, label in enumerate(answer.schema):
        seen, learnt = held.observed[:, i].numpy(), train.observed[:, i].numpy()
        truth = held.values[:, i].numpy()[seen]
        if len(np.unique(truth)) < 2:
            continue
        if label.discrete:
            shares = np.bincount(train.values[:, i].numpy()[learnt].astype(int), minlength=len(label.values)) + 1e-3
            found[label.name] = reader_scores(
                answer.log_table(i).numpy()[seen].astype(np.float64),
                truth.astype(int),
                np.arange(len(label.values)),
                shares / shares.sum(),
                int(learnt.sum()),
                seed=seed,
            )
        else:
            found[label.name] = {"r2": statistic(explained, truth, answer.mode()[:, i].numpy()[seen])}
    return found


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
            found[label.name] = balanced_rate(values[seen, i].astype(int), said[seen, i].astype(int))
        else:
            found[label.name] = statistic(explained, values[seen, i], said[seen, i])
    return found


def explained(truth: np.ndarray, said: np.ndarray) -> float:
    """R^2, not below 0: the share of the variance of a number that is said."""
    variance = float(np.var(truth))
    return max(0.0, 1 - float(np.mean((truth - said) ** 2)) / variance) if variance > 0 else 0.0
