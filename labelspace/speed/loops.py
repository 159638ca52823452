"""What a person would write instead of :func:`labelspace.fit`: plain PyTorch steps with the networks of our models.

Each function takes one of our models, copies its networks (in PyTorch's usual memory layout) and returns a step: a function of
``x (n, *shape)`` and label ``values (n, labels)``, both float32, that trains the copies on one batch with Adam and returns the
loss. Labels are binary and none is missing. Nothing else of this package is used in a step.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo import graph_break

from labelspace.models.base import Model
from labelspace.models.ccvae import CCVAE
from labelspace.models.csvae import CSVAE
from labelspace.models.vae import VAE

Step = Callable[[Tensor, Tensor], Tensor]

_DRAWS = 100  # of z_c, for q(y | x) of CCVAE, as published
_RATE = 1e-3


WRITTEN = ("vae", "ccvae", "csvae")  # models that there is a step for


def by_hand(model: Model, fused: bool = False) -> Step:
    """The step for a model's objective as its paper has it; with Adam's fused kernel where asked for."""
    return {VAE: _vae, CCVAE: _ccvae, CSVAE: _csvae}[type(model)](model, fused)


def gathered(step: Step, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Samples a second of one pass, each batch gathered from a tensor in memory."""
    began = time.perf_counter()
    for rows in torch.randperm(len(x)).split(batch_size):
        step(x[rows], y[rows])
    return len(x) / (time.perf_counter() - began)


def loaded(step: Step, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Samples a second of one pass over a DataLoader, the loss summed up as most loops do."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=batch_size, shuffle=True)
    began, total = time.perf_counter(), 0.0
    for some, labels in loader:
        total += step(some, labels).item()
    if not math.isfinite(total):
        raise ArithmeticError("the loop diverged")
    return len(x) / (time.perf_counter() - began)


def _copies(*modules: nn.Module) -> list[nn.Module]:
    return [copy.deepcopy(m).to(memory_format=torch.contiguous_format) for m in modules]  # pyright: ignore[reportCallIssue]


def _adam(fused: bool, *modules: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam([p for module in modules for p in module.parameters()], lr=_RATE, fused=fused)


def _gaussian(raw: Tensor) -> tuple[Tensor, Tensor]:
    mean, raw = raw.chunk(2, 1)
    return mean, F.softplus(raw) + 1e-3


def _log_normal(x: Tensor, mean: Tensor | float, scale: Tensor) -> Tensor:
    return -0.5 * ((x - mean) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)


def _kl_standard(mean: Tensor, scale: Tensor) -> Tensor:
    return (0.5 * (mean**2 + scale**2 - 1) - scale.log()).sum(1).mean()


def _vae(model: VAE, fused: bool) -> Step:
    trunk, head, decoder = _copies(model.trunk, model.head.linear, model.decoder)
    optimizer = _adam(fused, trunk, head, decoder)

    def step(x: Tensor, y: Tensor) -> Tensor:
        mean, scale = _gaussian(head(trunk(x)))
        logits = decoder(mean + scale * torch.randn_like(scale))
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        loss = reconstruction + _kl_standard(mean, scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _ccvae(model: CCVAE, fused: bool) -> Step:
    """The objective of Joy et al. 2021 for labelled samples, with ``_DRAWS`` draws for q(y | x)."""
    trunk, head, label_head, decoder = _copies(model.trunk, model.head.linear, model.label_head.linear, model.decoder)
    labels, free = len(model.schema), model.blocks[0].size
    classifier = nn.ParameterList([torch.ones(labels), torch.zeros(labels)])  # a line per label, as published
    prior = nn.ParameterList([torch.zeros(2, labels), torch.zeros(2, labels)])  # means and raw scales of p(z_c | y)
    optimizer = _adam(fused, trunk, head, label_head, decoder, classifier, prior)
    log_p_y = -labels * math.log(2)

    def log_q(codes: Tensor, y: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(codes * classifier[0] + classifier[1], y, reduction="none").sum(-1)

    def step(x: Tensor, y: Tensor) -> Tensor:
        features = trunk(x)
        free_raw, label_raw = head(features), label_head(features)
        mean = torch.cat([free_raw[:, :free], label_raw[:, :labels]], 1)
        scale = F.softplus(torch.cat([free_raw[:, free:], label_raw[:, labels:]], 1)) + 1e-3
        z = mean + scale * torch.randn_like(scale)
        chosen = y.long()
        p_mean = prior[0].gather(0, chosen)
        p_scale = F.softplus(prior[1].gather(0, chosen)) + 1e-3
        log_p = _log_normal(z[:, free:], p_mean, p_scale).sum(1) + _log_normal(z[:, :free], 0.0, torch.ones(())).sum(1)
        log_q_z = _log_normal(z, mean, scale).sum(1)
        log_px = -(x - decoder(z)).abs().flatten(1).sum(1)
        drawn = mean[:, free:] + scale[:, free:] * torch.randn(_DRAWS, len(x), labels)
        log_q_y_x = log_q(drawn, y.expand(_DRAWS, -1, -1)).logsumexp(0) - math.log(_DRAWS)
        log_q_y_z = log_q(z[:, free:].detach(), y)
        weight = (log_q_y_z - log_q_y_x).exp()
        loss = -(weight * (log_px + log_p - log_q_z - log_q_y_z) + log_p_y + log_q_y_x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _csvae(model: CSVAE, fused: bool) -> Step:
    """The objective of Klys et al. 2018 with its weights, its adversary, and a label head beside it."""
    named = (model.trunk, model.head.linear, model.w_trunk, model.w_hidden, model.w_head.linear, model.decoder)
    trunk, head, w_trunk, w_hidden, w_head, decoder = networks = _copies(*named)
    assert model.adversary is not None
    adversary, label_head = _copies(model.adversary, model.label_head)
    optimizer = _adam(fused, *networks)
    auxiliary = _adam(fused, adversary, label_head)
    size = model.w_prior.subspace

    def step(x: Tensor, y: Tensor) -> Tensor:
        mean, scale = _gaussian(head(trunk(x)))
        features = w_trunk(x)
        on = y.repeat_interleave(size, 1)
        p_mean, p_scale = 3 * on, 0.1 + 0.9 * on
        w_mean, w_scale = _gaussian(w_head(F.silu(w_hidden(torch.cat([features, y], 1)))))
        z = mean + scale * torch.randn_like(scale)
        w = w_mean + w_scale * torch.randn_like(w_scale)
        graph_break()  # where the step is compiled: what the readers go back through is a graph of its own
        read = F.binary_cross_entropy_with_logits(adversary(z.detach()), y) * y.shape[1]
        read = read + F.binary_cross_entropy_with_logits(label_head(features.detach()), y) * y.shape[1]
        auxiliary.zero_grad()
        read.backward()
        auxiliary.step()
        reconstruction = -_log_normal(x, decoder(torch.cat([z, w], 1)), torch.ones(())).flatten(1).sum(1).mean()
        ratio = w_scale / p_scale
        kl_w = (0.5 * (ratio**2 + ((w_mean - p_mean) / p_scale) ** 2 - 1) - ratio.log()).sum(1).mean()
        answer = adversary(z)
        p = torch.sigmoid(answer)
        entropy = -(p * F.logsigmoid(answer) + (1 - p) * F.logsigmoid(-answer)).sum(1).mean()
        loss = 20 * reconstruction + kl_w + 0.2 * _kl_standard(mean, scale) - 10 * entropy
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
