"""The hand-written steps once more in JAX, compiled as a whole: what a training loop could cost on this machine.

For models whose networks are perceptrons. The arithmetic is that of :mod:`labelspace.speed.loops`, from the same weights, with
Adam as Kingma and Ba (2015) have it. Needs JAX (``pip install 'labelspace[bench]'``).
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from torch import Tensor, nn

from labelspace.models.base import Model
from labelspace.models.csvae import CSVAE
from labelspace.models.vae import VAE

Objective = Callable[[Sequence[Any], Any, Any, Any], Any]
"""All players' weights, ``x``, ``y`` and a random key -> the loss of one player."""

_ACTIVATIONS = {nn.SiLU: jax.nn.silu, nn.ReLU: jax.nn.relu}
_SHAPES = (nn.Flatten, nn.Unflatten)
_RATE, _DECAYS, _EPSILON = 1e-3, (0.9, 0.999), 1e-8  # of Adam, as the loops by hand have it


def can(model: Model) -> bool:
    """Whether there is a step for a model."""
    known = (nn.Linear, *_ACTIVATIONS, *_SHAPES)
    networks = [part for name, part in model.named_children() if name in ("trunk", "decoder")]
    leaves = [leaf for part in networks for leaf in part.modules() if not list(leaf.children())]
    return type(model) in (VAE, CSVAE) and all(isinstance(leaf, known) for leaf in leaves)


def rate(model: Model, x: Tensor, y: Tensor, batch_size: int) -> tuple[float, float]:
    """Samples a second of one pass, each batch gathered from an array in memory, and the seconds that compiling took before.

    Args:
        model: whose weights the step begins with; it is not changed.
        x: ``(n, *shape)`` float32.
        y: ``(n, labels)`` float32, binary.
        batch_size: samples a step, which divides ``n``.
    """
    step, state = _step(model)
    samples, labels = x.flatten(1).numpy(), y.numpy()
    began = time.perf_counter()
    state, loss = step(state, samples[:batch_size], labels[:batch_size], 0)
    loss.block_until_ready()
    compiling = time.perf_counter() - began
    began = time.perf_counter()
    for i, rows in enumerate(np.random.default_rng(0).permutation(len(x)).reshape(-1, batch_size)):
        state, loss = step(state, samples[rows], labels[rows], i + 1)
    loss.block_until_ready()
    took = time.perf_counter() - began
    if not math.isfinite(float(loss)):
        raise ArithmeticError("the loop diverged")
    return len(x) / took, compiling


def _step(model: Model) -> tuple[Callable[..., tuple[Any, Any]], Any]:
    """The compiled step, and the state that it begins with: weights and both moments of every player."""
    players = _csvae(model) if isinstance(model, CSVAE) else _vae(model)
    weights = [own for own, _ in players]
    moments = jax.tree.map(np.zeros_like, weights)

    @jax.jit
    def step(state: Any, x: Any, y: Any, count: Any) -> tuple[Any, Any]:
        weights, first, second = (list(part) for part in state)
        key, loss = jax.random.fold_in(jax.random.key(0), count), jnp.nan
        for i, (_, objective) in enumerate(players):  # the last reads what the others have become

            def of_own(own: Any, i: int = i, objective: Objective = objective) -> Any:
                return objective([*weights[:i], own, *weights[i + 1 :]], x, y, key)

            loss, slopes = jax.value_and_grad(of_own)(weights[i])
            weights[i], first[i], second[i] = _adam(weights[i], slopes, first[i], second[i], count + 1)
        return (weights, first, second), loss

    return step, (weights, moments, moments)


def _adam(weights: Any, slopes: Any, first: Any, second: Any, count: Any) -> tuple[Any, Any, Any]:
    one, two = _DECAYS
    first = jax.tree.map(lambda m, g: one * m + (1 - one) * g, first, slopes)
    second = jax.tree.map(lambda v, g: two * v + (1 - two) * g * g, second, slopes)

    def moved(w: Any, m: Any, v: Any) -> Any:
        return w - _RATE * (m / (1 - one**count)) / (jnp.sqrt(v / (1 - two**count)) + _EPSILON)

    return jax.tree.map(moved, weights, first, second), first, second


def _perceptrons(*modules: nn.Module) -> tuple[list[Any], list[Callable[[Any, Any], Any]]]:
    """Weights of perceptrons, and each as a function of its weights and inputs."""
    weights, functions = [], []
    for module in modules:
        leaves = [leaf for leaf in module.modules() if isinstance(leaf, (nn.Linear, *_ACTIVATIONS))]
        linear = [leaf for leaf in leaves if isinstance(leaf, nn.Linear)]
        weights.append([(leaf.weight.detach().numpy().T.copy(), leaf.bias.detach().numpy().copy()) for leaf in linear])

        def function(own: Any, x: Any, leaves: list[nn.Module] = leaves) -> Any:
            layers = iter(own)
            for leaf in leaves:
                if isinstance(leaf, nn.Linear):
                    matrix, bias = next(layers)
                    x = x @ matrix + bias
                else:
                    x = _ACTIVATIONS[type(leaf)](x)
            return x

        functions.append(function)
    return weights, functions


def _gaussian(raw: Any) -> tuple[Any, Any]:
    mean, raw = jnp.split(raw, 2, axis=1)
    return mean, jax.nn.softplus(raw) + 1e-3


def _kl_standard(mean: Any, scale: Any) -> Any:
    return (0.5 * (mean**2 + scale**2 - 1) - jnp.log(scale)).sum(1).mean()


def _cross_entropy(logits: Any, target: Any) -> Any:
    """Of binary targets, in nats, one for each."""
    return jax.nn.softplus(logits) - logits * target


def _vae(model: VAE | Model) -> list[tuple[Any, Objective]]:
    own, (trunk, head, decoder) = _perceptrons(model.trunk, model.head, model.decoder)  # type: ignore[arg-type]

    def objective(weights: Sequence[Any], x: Any, y: Any, key: Any) -> Any:
        of_trunk, of_head, of_decoder = weights[0]
        mean, scale = _gaussian(head(of_head, trunk(of_trunk, x)))
        logits = decoder(of_decoder, mean + scale * jax.random.normal(key, mean.shape))
        return _cross_entropy(logits, x).sum(1).mean() + _kl_standard(mean, scale)

    return [(own, objective)]


def _csvae(model: CSVAE) -> list[tuple[Any, Objective]]:
    """The readers (adversary and label head), then the model, as in Klys et al. 2018."""
    assert model.adversary is not None
    own, functions = _perceptrons(model.trunk, model.head, model.w_trunk, model.w_hidden, model.w_head, model.decoder)
    trunk, head, w_trunk, w_hidden, w_head, decoder = functions
    readers, (adversary, label_head) = _perceptrons(model.adversary, model.label_head)
    size = model.w_prior.subspace

    def codes(weights: Any, x: Any, y: Any, key: Any) -> tuple[Any, ...]:
        of_trunk, of_head, of_w_trunk, of_w_hidden, of_w_head, _ = weights
        mean, scale = _gaussian(head(of_head, trunk(of_trunk, x)))
        features = w_trunk(of_w_trunk, x)
        hidden = jax.nn.silu(w_hidden(of_w_hidden, jnp.concatenate([features, y], 1)))
        w_mean, w_scale = _gaussian(w_head(of_w_head, hidden))
        one, two = jax.random.split(key)
        z = mean + scale * jax.random.normal(one, mean.shape)
        return features, mean, scale, z, w_mean, w_scale, w_mean + w_scale * jax.random.normal(two, w_mean.shape)

    def reading(weights: Sequence[Any], x: Any, y: Any, key: Any) -> Any:
        features, _, _, z, *_ = jax.lax.stop_gradient(codes(weights[1], x, y, key))
        of_adversary, of_label_head = weights[0]
        read = _cross_entropy(adversary(of_adversary, z), y) + _cross_entropy(label_head(of_label_head, features), y)
        return read.sum(1).mean()

    def modelling(weights: Sequence[Any], x: Any, y: Any, key: Any) -> Any:
        _, mean, scale, z, w_mean, w_scale, w = codes(weights[1], x, y, key)
        on = jnp.repeat(y, size, axis=1)
        p_mean, p_scale = 3 * on, 0.1 + 0.9 * on
        away = x - decoder(weights[1][-1], jnp.concatenate([z, w], 1))
        reconstruction = (0.5 * away**2 + 0.5 * math.log(2 * math.pi)).sum(1).mean()
        ratio = w_scale / p_scale
        kl_w = (0.5 * (ratio**2 + ((w_mean - p_mean) / p_scale) ** 2 - 1) - jnp.log(ratio)).sum(1).mean()
        answer = adversary(weights[0][0], z)
        entropy = _cross_entropy(answer, jax.nn.sigmoid(answer)).sum(1).mean()
        return 20 * reconstruction + kl_w + 0.2 * _kl_standard(mean, scale) - 10 * entropy

    return [(readers, reading), (own, modelling)]
