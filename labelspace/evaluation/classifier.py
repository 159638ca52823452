"""A plain classifier with a model's encoder: what labels alone can teach it, without a decoder."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.labels import LabelDistribution
from labelspace.likelihoods import build_likelihood
from labelspace.models.networks import Network, encoder
from labelspace.models.parts import cross_entropy
from labelspace.optimizers import Adam


class Classifier(nn.Module):
    """An encoder as every model has it, and a linear layer on it."""

    def __init__(self, data: Dataset, network: Network) -> None:
        super().__init__()
        self.schema = data.schema
        self.likelihood = build_likelihood(data.likelihood or "gaussian", data.shape, 1.0, False)
        rows = data.rows("train")
        # of images, which may be more than memory holds, some are enough to learn their scale from
        self.likelihood.measure(data.samples(rows[:: max(1, len(rows) // 1000)] if data.is_image else rows))
        self.trunk, features = encoder(self.likelihood.input_shape, network)
        self.head = nn.Linear(features, data.schema.parameters)

    def predict(self, x: Tensor) -> LabelDistribution:
        """q(y | x)."""
        return self.schema.distribution(self.head(self.trunk(self.likelihood.inputs(x))).float())


def train(data: Dataset, network: Network, *, steps: int = 2000, batch_size: int = 64, seed: int = 0) -> Classifier:
    """Trains on the labelled training samples alone (AdamW, 1e-3) and keeps the weights that validate best.

    Args:
        data: the data set; samples without any label are left out.
        network: of the encoder.
        steps: optimiser steps.
        batch_size: labelled samples a step.
        seed: of weights and batches.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(data, network).train()
    labelled = Batches(_only_labelled(data), "train", batch_size, seed=seed, prefetch=0)
    optimizer = Adam(model.parameters(), 1e-3, weight_decay=1e-2)
    best, kept, step = float("inf"), copy.deepcopy(model.state_dict()), 0
    rows = _only_labelled(data).rows("val")
    held, (values, observed) = data.samples(rows), data.labels(rows)
    while step < steps:
        for batch in labelled:
            loss = cross_entropy(model.predict(batch.x), batch.values, batch.observed).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
        with torch.no_grad():
            score = float(cross_entropy(model.predict(held), values, observed).sum())
        if score < best:
            best, kept = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return model.eval()


def _only_labelled(data: Dataset) -> Dataset:
    splits = {name: rows[data.observed[rows].any(axis=1)] for name, rows in data.splits.items()}
    if len(splits["train"]) == 0 or len(splits.get("val", ())) == 0:
        raise UserError(f"{data.address}: no sample of the training or the validation split has a label")
    return replace(data, splits=splits)
