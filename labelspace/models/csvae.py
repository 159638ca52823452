"""CSVAE, the conditional subspace VAE (Klys, Snell, Zemel, NeurIPS 2018).

For: changing one attribute of a sample and keeping the rest, with many ways of having it; transferring one sample's way to
another. Not for: predicting labels (a head does it, nothing more), or labels that are only a few per cent observed.

    p(z) = N(0, I)          p(w_i | y_i): where label i is off, N(0, 0.1^2 I); where it is on, N(3, I)
    p(x | z, w)             likelihood of decoder(z, w)
    q(z | x)                does not see labels          q(w | x, y)  does
    q(y | z)                the adversary: what a small network can read of the labels from z

The model minimises (paper's weights 20, 1, 0.2, 10)

    -log p(x | z, w)  +  KL(q(w | x, y) || p(w | y))  +  KL(q(z | x) || p(z))  +  leak(q(y | z)), adversary frozen

and the adversary minimises -log q(y | z) with z detached. The paper's leak is the adversary's negative entropy, which is least
where its answer is uniform; ``adversary_target="marginal"`` takes KL(p(y) || q(y | z)) instead, because z is independent of y
where the answer is p(y), uniform or not.

``balance="dual"`` (ours, the default of ``labelspace.build``) balances the terms without weights tuned by hand: the leak
has a weight per label, driven by dual ascent on the adversary's cross entropy; what is linearly readable is erased from z in
closed form; one small adversary per w block keeps the other labels out of it; the model's own counterfactuals, encoded again,
must have the z and the w that they were made from; and z opens only after labels have settled in w. docs/csvae.md has the
reasons, :mod:`labelspace.models.balance` the parts.

Blocks: ``z``, free; ``w.<label>``, two coordinates for a binary or continuous label, two for each class of a categorical one
(the paper's one-hot treatment of exclusive classes). Continuous labels: p(w_i | y_i) = N(3 y_i, 0.3^2 I) with y_i standardised.

Missing labels (the future work that the paper names) are summed out under a label head q(y | x), which is trained on the
observed ones and touches nothing else: a sample counts once for every way of filling what is missing, weighted by q. Where
there are more than 16 ways, and for continuous labels, one draw takes the place of the sum. With all labels observed the
objective is exactly the one above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks, Latents, concatenate, modes, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian
from labelspace.errors import UserError, unknown
from labelspace.labels import LabelDistribution, Schema
from labelspace.likelihoods import DataDistribution, build_likelihood
from labelspace.models import networks
from labelspace.models.balance import Erasure, SubspaceBalance, by_density
from labelspace.models.base import About, Head, Losses, Model, Player, frozen
from labelspace.models.parts import Completions, cross_entropy, split

OFF_SCALE, ON_MEAN, ON_SCALE, CONTINUOUS_SCALE = 0.1, 3.0, 1.0, 0.3  # of p(w | y), per coordinate
_COMPLETIONS = 16  # the most ways of filling a sample's missing labels that are summed out
_NEAR = 2.2  # prior standard deviations that the mean of q(w | x, y) may be away from that of p(w | y), under balance
_TRIED_EXACT, _WORSE = 2000, 1.25  # training samples on which the exact erasure is tried, and how much error it may add
_TYPICAL_FROM, _CANDIDATES, _TRIED_ON = 4000, 24, 96  # typical points: found among, points tried, samples tried on


class _Encoded(NamedTuple):
    """What the encoders make of a batch: p(w | y) side by side, too, the mean of z before erasure, and w's features of x."""

    posterior: Latents[DiagonalGaussian]
    w_prior: DiagonalGaussian
    raw: Tensor
    features: Tensor


class CSVAE(Model):
    """The conditional subspace VAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, of any kind.
        frequencies: label frequencies p(y), for the marginal target and for generation.
        latent: coordinates of ``z``.
        subspace: coordinates of w for each binary or continuous label and for each class.
        prior: "fixed" is the paper's p(w | y); "learned" learns mean and scale from y (an ablation).
        flip: turn the binary prior round: on is the compact point, off the wide one.
        adversary: False leaves adversary and leak out (an ablation).
        adversary_target: what the adversary's answer is pushed to, "uniform" (the paper's) or "marginal".
        adversary_steps: the adversary's optimiser steps per batch.
        balance: "fixed" is the paper; "dual" balances itself as the module says, and ``leak`` is then a starting weight.
        reconstruction, kl_w, kl_z, leak: the paper's weights b1..b4, numbers or schedules.
        likelihood: see :mod:`labelspace.likelihoods`.
        scale: standard deviation (gaussian) or scale (laplace) of p(x | z, w).
        learn_scale: learn that scale.
        network: how encoders and decoder are built.
    """

    about = About(
        purpose="change one attribute and keep the rest; several styles of having it; style transfer",
        avoid="you mainly predict labels, or only a few per cent of them are known",
        labels="binary, categorical, continuous",
        missing="yes (summed out under a label head)",
        blocks="z, w.<label>",
        adversaries="one on z (balance=dual: also one per w block)",
        paper="Klys, Snell, Zemel 2018",
    )

    points: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 16,
        subspace: int = 2,
        prior: Literal["fixed", "learned"] = "fixed",
        flip: bool = False,
        adversary: bool = True,
        adversary_target: Literal["uniform", "marginal"] = "uniform",
        adversary_steps: int = 1,
        balance: Literal["fixed", "dual"] = "fixed",
        reconstruction: float | str = 20.0,
        kl_w: float | str = 1.0,
        kl_z: float | str = 0.2,
        leak: float | str = 10.0,
        likelihood: str = "gaussian",
        scale: float = 1.0,
        learn_scale: bool = False,
        network: networks.Network = networks.Network(),
    ) -> None:
        for name, given, known in (
            ("prior", prior, ("fixed", "learned")),
            ("adversary_target", adversary_target, ("uniform", "marginal")),
            ("balance", balance, ("fixed", "dual")),
        ):
            if given not in known:
                raise unknown(name, given, known)
        if adversary_steps < 1:
            raise UserError(f"adversary_steps must be at least 1, got {adversary_steps}; adversary=false leaves it out")
        if balance == "dual" and not adversary:
            raise UserError("balance=dual balances the adversary; leave it out or set balance=fixed")
        sizes = [subspace * label.features for label in schema]
        blocks = Blocks([Block("z", latent), *(Block(f"w.{y.name}", n, y.name) for y, n in zip(schema, sizes, strict=True))])
        weights = {"reconstruction": reconstruction, "kl_w": kl_w, "kl_z": kl_z, "leak": leak}
        described = build_likelihood(likelihood, tuple(shape), scale, learn_scale)
        super().__init__(shape, schema, frequencies, blocks, described, weights)
        self.subspace, self.flip, self.target, self.adversary_steps = subspace, flip, adversary_target, adversary_steps
        self.w_sizes = sizes
        width = sum(sizes)

        self.trunk, features = networks.encoder(described.input_shape, network)
        self.head = Head(features, latent)
        # Labels and their styles need less of a network than everything else.
        self.label_trunk, features = networks.encoder(described.input_shape, network.narrowed(self.shape))
        self.label_head = networks.mlp(features + schema.width, [128], 2 * width)
        self.decoder = networks.decoder(latent + 2 * width, described.output_shape, network)
        self.prior_network = nn.Linear(schema.width, 2 * width) if prior == "learned" else None
        self.labeller = networks.mlp(features, [128], schema.parameters)
        self.adversary = networks.mlp(latent, [256, 256], schema.parameters) if adversary else None
        self.balance = SubspaceBalance(self.blocks, schema, float(self.schedules["leak"](0))) if balance == "dual" else None
        # Per label value, where in its block the data are densest; nan until calibrate has measured it.
        values = sum(len(label.values) for label in schema)
        self.register_buffer("points", torch.full((values, max(sizes)), torch.nan))

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        balanced = {"balance": "dual", "adversary_target": "marginal", "adversary_steps": 2, "leak": 20.0}
        unit = {"reconstruction": 1.0, "kl_w": 1.0, "kl_z": 1.0}
        defaults = super().defaults(shape, labels)
        if len(shape) == 1:
            defaults["latent"] += labels  # erasing a label takes a direction of z; small codes have none to spare
        return {**defaults, **balanced, **unit}

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z) and p(w_i | y_i); for a missing label, the prior at its prior mean."""
        standard = self.free_prior(values)
        return self._latents(standard, self._w_prior(self.schema.features(values, observed, self.label_features)))

    def _w_prior(self, features: Tensor) -> DiagonalGaussian:
        """p(w | y), all blocks side by side, ``(n, width)``, from label features."""
        if self.prior_network is not None:
            mean, raw = self.prior_network(features).float().chunk(2, dim=-1)
            return DiagonalGaussian(mean, nn.functional.softplus(raw) + 1e-3)
        means, scales = [], []
        for label, part in zip(self.schema, features.split(self.schema.feature_widths, dim=-1), strict=True):
            on = 1 - part if self.flip and label.kind == "binary" else part
            means.append(ON_MEAN * on)
            scales.append(OFF_SCALE + (ON_SCALE - OFF_SCALE) * on if label.discrete else torch.full_like(on, CONTINUOUS_SCALE))
        return DiagonalGaussian(*(torch.cat(parts, -1).repeat_interleave(self.subspace, -1) for parts in (means, scales)))

    def decode(self, codes: Latents[Tensor]) -> DataDistribution:
        code = concatenate(codes)
        w = code[:, self.blocks[0].size :]
        # w spans 0.1 where a label is off and 3 where it is on; the second view lets the decoder see both scales alike.
        return self.likelihood(self.decoder(torch.cat([code, torch.tanh(w / OFF_SCALE)], 1)).float())

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z | x) and q(w | x, y)."""
        return self._encoded(x, values).posterior

    def _encoded(self, x: Tensor, values: Tensor) -> _Encoded:
        x = self.likelihood.inputs(x)
        z = self.head(self.trunk(x))
        raw = z.mean
        if self.balance is not None:
            z = DiagonalGaussian(self.balance.erasure(raw), z.scale)
        features, y = self.label_trunk(x), self.schema.features(values)
        w_prior = self._w_prior(y)
        return _Encoded(self._latents(z, self._w_posterior(features, y, w_prior)), w_prior, raw, features)

    def _w_posterior(self, features: Tensor, y: Tensor, w_prior: DiagonalGaussian) -> DiagonalGaussian:
        """q(w | x, y), all blocks side by side, from label features and p(w | y)."""
        # Relative to the prior: at initialisation q(w | x, y) is near p(w | y), whatever its mean and scale.
        shift, spread = self.label_head(torch.cat([features, y.to(features.dtype)], 1)).float().chunk(2, dim=-1)
        if self.balance is not None:  # near enough to the prior that the values of a label stay apart
            shift = _NEAR * torch.tanh(shift / _NEAR)
        floor = 1e-3 if self.balance is None else 0.08 + 0.22 * (w_prior.scale <= OFF_SCALE)
        scale = w_prior.scale * (floor + nn.functional.softplus(spread - 1))
        return DiagonalGaussian(w_prior.mean + w_prior.scale * shift, scale)

    def _latents(self, z: DiagonalGaussian, w: DiagonalGaussian) -> Latents[DiagonalGaussian]:
        return Latents(self.blocks, {"z": z, **split(self.blocks[1:], w)})

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """q(y | x) of the label head."""
        return self.schema.distribution(self.labeller(self.label_trunk(self.likelihood.inputs(x))).float())

    # -- training -----------------------------------------------------------------------------------------------------

    def players(self) -> dict[str, Player]:
        adversaries = [module for module in (self.adversary, self.balance and self.balance.readers) if module is not None]
        owned = {"adversary": adversaries, "labeller": [self.labeller]}
        parameters = {name: [p for module in modules for p in module.parameters()] for name, modules in owned.items()}
        taken = {id(p) for own in parameters.values() for p in own}
        players = {"adversary": Player(parameters["adversary"], self.adversary_steps, reader=True)} if adversaries else {}
        players["labeller"] = Player(parameters["labeller"], reader=True)
        players["model"] = Player([p for p in self.parameters() if id(p) not in taken])
        return players

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        balance = self.balance
        values, every = batch.values, None
        if not batch.complete:
            with torch.no_grad():
                answer = self.label_distribution(batch.x)
                every = Completions.of(batch, answer, generator, _COMPLETIONS)
                values = torch.where(batch.observed, batch.values, answer.sample(generator))
        posterior, w_prior, raw, features = self._encoded(batch.x, values)
        prior, codes = self._latents(self.free_prior(values), w_prior), sample(posterior, generator)
        if balance is not None and self.training:
            known = self.schema.features(batch.values, batch.observed, self.label_features)
            balance.clock(self.progress)
            share = self.schema.spread(batch.observed.float()).mean(0).clamp_min(1e-6)
            balance.erasure.update(raw.detach(), known - self.label_features, share)

        def read(parameters: Tensor) -> Tensor:
            return cross_entropy(self.schema.distribution(parameters.float()), batch.values, batch.observed)

        def labeller() -> dict[str, Tensor]:
            return {"labeller": read(self.labeller(features.detach()))}

        def adversary() -> dict[str, Tensor]:
            assert self.adversary is not None
            if balance is None:
                return {"adversary": read(self.adversary(codes["z"].detach()))}
            return balanced_adversary(self.adversary, balance)

        def balanced_adversary(on_z: nn.Module, balance: SubspaceBalance) -> dict[str, Tensor]:
            near = posterior.map(lambda part: balance.near(part.detach(), generator))
            crossed = [read(reader(near[b.name])) for reader, b in zip(balance.readers, self.blocks[1:], strict=True)]
            return {
                "adversary": read(on_z(near["z"])),
                "block_adversary": balance.crossed(crossed),
            }

        def model() -> dict[str, Tensor]:
            # the posterior of w, its prior and its codes, one row per way of filling missing labels
            q, p, drawn, x = posterior, prior, codes, batch.x
            if every is not None:
                rows, x, y = every.rows, batch.x[every.rows], self.schema.features(every.values)
                given = self._w_prior(y)
                p = self._latents(self.free_prior(every.values), given)
                q = self._latents(posterior["z"][rows], self._w_posterior(features[rows], y, given))
                drawn = sample(q, generator).replace({"z": codes["z"][rows]})
            if balance is not None:
                drawn = drawn.replace({"z": balance.opening() * drawn["z"]})

            def average(term: Tensor) -> Tensor:
                """Over samples, each counted once for all its ways."""
                return term.mean() if every is None else (every.weight * term).sum() / len(batch)

            terms = {
                "reconstruction": -average(self.decode(drawn).log_prob(x)),
                "kl_z": posterior["z"].kl(prior["z"]).mean(),
                "kl_w": torch.stack([average(q[b.name].kl(p[b.name])) for b in self.blocks[1:]]),
            }
            if self.adversary is None:
                return terms
            with frozen(self.adversary):
                if balance is None:
                    return terms | {"leak": self._leak(self.adversary(codes["z"]))}
                terms["leak"] = self._leak(self.adversary(torch.cat([codes["z"], posterior["z"].mode])))
            with frozen(balance.readers):
                crossed = [
                    self._leak(reader(torch.cat([codes[b.name], posterior[b.name].mode])))
                    for reader, b in zip(balance.readers, self.blocks[1:], strict=True)
                ]
                terms["block_leak"] = balance.crossed(crossed)
            if balance.is_consistent_now:
                terms |= self._consistency(batch.x, posterior, codes, values, generator)
            return terms

        players = {"labeller": labeller, "model": model}
        if self.adversary is not None:
            players = {"adversary": adversary, **players}
        return Losses(players, self.weights(), seen=batch.observed.any(0))

    def _leak(self, parameters: Tensor) -> Tensor:
        """What an adversary's answer is worth, per label in nats: its negative entropy, or KL(p(y) || answer)."""
        answer = self.schema.distribution(parameters.float())
        marginal = self.schema.distribution(self.label_parameters).kl_to(answer).mean(0)
        if self.target == "marginal":
            return marginal
        # no answer about a number is uniform; continuous labels always take the marginal
        discrete = torch.tensor([label.discrete for label in self.schema], device=marginal.device)
        return torch.where(discrete, -answer.entropy().mean(0), marginal)

    def _consistency(
        self,
        x: Tensor,
        posterior: Latents[DiagonalGaussian],
        codes: Latents[Tensor],
        values: Tensor,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """What the encoders make of the model's own counterfactuals.

        Half of the batch is decoded with some w blocks (each with probability one half) taken from other samples. Encoded
        again, the picture must have the z that it was made from, whatever its labels are now, and the w that it was given.
        """
        n = max(1, len(values) // 2)
        device = values.device
        new_values, changed = values[:n].clone(), {}
        half = codes.rows(slice(0, n))
        for i, block in enumerate(self.blocks[1:]):
            donors = torch.randperm(len(values), generator=generator, device=device)[:n]
            swap = torch.rand(n, 1, generator=generator, device=device) < 0.5
            changed[block.name] = torch.where(swap, codes[block.name][donors], half[block.name]).detach()
            new_values[:, i] = torch.where(swap[:, 0], values[donors, i], values[:n, i])
        made = half.map(Tensor.detach).replace(changed)
        # The decoder is in this graph: it must draw pictures that show the w that it was given.
        picture = self.decode(made).mean_like(x[:n])
        picture = picture.clamp(0, 1) if len(self.shape) == 3 else picture
        again = self._encoded(picture, new_values).posterior
        distance = (again["z"].mean - made["z"]) / posterior["z"].scale[:n].detach()
        return {
            # logarithmic, so that a picture that went wrong does not outvote the rest
            "consistency_z": torch.log1p(0.5 * distance**2).sum(1).mean(),
            "consistency_w": torch.stack([-again[b.name].log_prob(made[b.name]).mean() for b in self.blocks[1:]]),
        }

    def adapt(self, losses: Losses) -> None:
        if self.balance is not None:
            entropy = self.schema.distribution(self.label_parameters).entropy()
            assert losses.seen is not None
            self.balance.update(entropy, losses.terms, losses.seen)

    def weights(self) -> dict[str, float | Tensor]:
        return super().weights() | (self.balance.weights() if self.balance is not None else {})

    def term_names(self) -> dict[str, tuple[str, ...]]:
        names = self.schema.names
        pairs = tuple(f"{block}.{label}" for block in names for label in names if block != label)
        per_label = dict.fromkeys(("kl_w", "leak", "adversary", "labeller", "consistency_w"), names)
        return per_label | {"block_leak": pairs, "block_adversary": pairs}

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """The negative ELBO; under balance also the weighted leaks, at their largest weight, so that epochs compare."""
        score = super().score(terms)
        if self.balance is not None:
            score = score + self.balance.leak.most * terms["leak"].sum()
        return score

    # -- edits --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def calibrate(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Makes the erasure exact where that costs little, and finds the typical point of every label value."""
        if self.balance is not None:
            self._make_exact(self.balance.erasure, batches)
        super().calibrate(batches)
        parts, values, observed, found = [], [], [], 0
        for batch in batches():
            if found >= _TYPICAL_FROM:
                break
            some = batch.observed.any(1)
            if not bool(some.any()):
                continue
            full = self.complete(batch.x[some], batch.values[some], batch.observed[some])
            parts.append(modes(self.posterior(batch.x[some], full, batch.observed[some])))
            values.append(batch.values[some])
            observed.append(batch.observed[some])
            found += int(some.sum())
        codes = Latents(self.blocks, {b.name: torch.cat([part[b.name] for part in parts]) for b in self.blocks})
        values, observed = torch.cat(values), torch.cat(observed)
        row = 0
        for i, label in enumerate(self.schema):
            name = self.blocks.of(label.name).name
            for value in range(len(label.values)):
                mine = observed[:, i] & (values[:, i] == value)
                others = codes.rows(observed[:, i] & (values[:, i] != value)).rows(slice(0, _TRIED_ON))
                if bool(mine.any()):
                    self.points[row, : self.w_sizes[i]] = self._typical(codes[name][mine], others, name, i, value)
                row += 1

    def _make_exact(self, erasure: Erasure, batches: Callable[[], Iterable[Batch]]) -> None:
        """Erases by the statistics of all training codes, unless the error of reconstructions grows by a quarter.

        Running statistics leave to a linear probe what a few thousand codes do not show. But where a code is nearly flat, a
        small change of the projection moves codes far from those that the decoder was trained on.
        """
        raws, labels, shares, some = [], [], [], []
        for batch in batches():
            raws.append(self.head(self.trunk(self.likelihood.inputs(batch.x))).mean)
            labels.append(self.schema.features(batch.values, batch.observed, self.label_features) - self.label_features)
            shares.append(self.schema.spread(batch.observed.float()))
            some += [batch] if sum(map(len, some)) < _TRIED_EXACT else []

        def error() -> Tensor:
            squares = []
            for batch in some:
                codes = modes(self.encode(batch.x, batch.values, batch.observed))
                squares.append(((self.decode(codes).mean_like(batch.x) - batch.x) ** 2).flatten())
            return torch.cat(squares).nanmean()

        before, running = error(), {name: tensor.clone() for name, tensor in erasure.state_dict().items()}
        erasure.fix(torch.cat(raws), torch.cat(labels), torch.cat(shares).mean(0).clamp_min(1e-6))
        if not bool(error() <= _WORSE * before):
            erasure.load_state_dict(running)

    def _typical(self, candidates: Tensor, others: Latents[Tensor], name: str, index: int, value: int) -> Tensor:
        """Where in a block a label has a value: among dense codes of data that have it, the least change that works.

        A code works if the label head reads the value off samples of other values that are decoded with it, within 2% as
        often as with the best of the candidates; the change is the mean squared difference of those pictures.
        """
        order = by_density(candidates[:_TYPICAL_FROM], _CANDIDATES)
        if len(others[name]) == 0:
            return order[0]
        before = self.decode(others).mean
        read, change = [], []
        for candidate in order:
            after = self.decode(others.replace({name: candidate.expand(len(before), -1)})).mean
            read.append((self.label_distribution(after).mode()[:, index] == value).float().mean())
            change.append(((after - before) ** 2).mean())
        rates = torch.stack(read)
        return order[int(torch.where(rates >= rates.max() - 0.02, torch.stack(change), torch.inf).argmin())]

    def place(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """The typical point of a discrete label's value, once measured; else the prior's mean."""
        index = self.schema.index(label)
        if not self.schema[label].discrete:
            return super().place(codes, label, value, previous)
        start = sum(len(other.values) for other in self.schema.labels[:index])
        points = self.points[start + value.long(), : self.w_sizes[index]]
        if bool(points.isnan().any()):
            return super().place(codes, label, value, previous)
        return codes.replace({self.blocks.of(label).name: points})
