"""Lr-LiVAE and Lr-LiVAE-GAN (Zheng & Sun, CVPR 2019): label-relevant and label-irrelevant codes.

For: classes as clusters in their own code, exchange of class and style, generation under a class.
Not for: likelihoods (z_s is a deterministic code), numbers as labels, or several ways of having a label when z_s is small.

    z_s = f(x), deterministic            p(z_s | y) = N(mean_y, 1 / precision_y), free parameters
    q(z_u | x) = N(mean(x), scale(x)^2)  p(z_u) = N(0, I)                            x = decoder(z_s, z_u)
    class logits of z_s: the log-densities of its Gaussians, in log space, with equal class probabilities
    C(y | z_u): the adversarial classifier

    encoder_s, means, precisions   gm * cross entropy of the logits + gaussian * -log p(z_s | y)
    encoder_s                      -log p(x | z_s, z_u) + pull * -log p(z_s | y), means and precisions held
    encoder_u                      -log p(x | z_s, z_u) + kl_u KL(q(z_u | x) || p(z_u)) + leak * KL(uniform || C), C frozen
    decoder                        -log p(x | z_s, z_u)  [+ gan * (-D of reconstructions and of prior samples)]
    C                              its cross entropy, z_u detached
    D                              the hinge loss: data against reconstructions and prior samples, each under its labels

The Gaussians never see the reconstruction and the encoders never see the discriminator. D is a projection discriminator,
spectrally normalised. Published weights, which the constructor has: 10 times the mean squared error of pictures in [-1, 1] (40
times that of pictures in [0, 1]), the mean KL over coordinates of z_u, CE + 0.1 * -log p(z_s | y) in L_GM, 1 for the pull, the
leak and D.

L_GM sets the Gaussians where they tell classes apart best; where classes overlap that is wider than the codes lie, and what is
drawn from them is of no class. ``drawn="fitted"`` draws from the mean and standard deviation that every class's codes have when
training ends, and tells classes as before.

``independence="dual"`` (ours) has the game of the LSVAE about z_u: C reads standardised codes between mean and draw, all
classes alike, and the weight of its term finds itself (:class:`~labelspace.models.parts.Independence`).

Adapted: L_GM and everything else are one objective and one step on one batch (the published code takes three steps of L_GM on
fresh batches first); likelihoods in log space (the published float32 densities vanish in high dimension); classes of several
labels have one code each. Where a label is missing, its terms of L_GM and of C are left out, and D is told the class that
z_s is nearest to.

Blocks: ``z_u``, free; ``z_s.<label>``, ``subspace`` coordinates each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks, Latents, sample
from labelspace.data.batches import Batch
from labelspace.distributions import DiagonalGaussian, Point
from labelspace.errors import unknown
from labelspace.labels import LabelDistribution, Schema
from labelspace.models import networks, schedules
from labelspace.models.base import About, Common, Head, Losses, Model, Player
from labelspace.models.parts import (
    Balance,
    Discriminator,
    Independence,
    Terms,
    cross_entropy,
    frozen,
    hinge,
    is_dual,
    needs_numbers,
)

_SHARPEST = 1e4  # precision; without a bound the density at a deterministic code has none


class LrLiVAE(Model):
    """Lr-LiVAE; see the module for the objective.

    Args:
        shape: shape of one sample.
        schema: the labels, binary or categorical.
        frequencies: label frequencies p(y), for the marginal target and for generation.
        latent: coordinates of ``z_u``.
        subspace: coordinates of each ``z_s``.
        reconstruction: weight of -log p(x | z_s, z_u), a number or a schedule; None is the published one for a Gaussian of
            standard deviation 1 and data in [0, 1].
        kl_u: weight of the KL of z_u; None is the published 1 / latent.
        gm: weight of the cross entropy of the class logits.
        gaussian: weight of -log p(z_s | y) for encoder_s, means and precisions together.
        pull: weight of -log p(z_s | y) for encoder_s with means and precisions held.
        leak: weight of C's answer in encoder_u's objective, where ``independence`` is "paper".
        target: the answer that encoder_u pushes C to, "uniform" (the paper's) or "marginal", where ``independence`` is "paper".
        independence: "paper", or "dual": a weight that finds itself; see the module.
        drawn: what generation and edits take for p(z_s | y): "learned" (the paper's) or "fitted"; see the module.
        **common: what x is like and how networks are built, as for every model (:class:`~labelspace.models.base.Common`).
    """

    about = About(
        purpose="classes as clusters in their own code; exchange of class and style",
        avoid="you need likelihoods, or labels that are numbers",
        labels="binary, categorical",
        missing="yes (left out of the class terms)",
        blocks="z_u, z_s.<label>",
        adversaries="one on z_u",
        paper="Zheng & Sun 2019",
    )
    label_kinds = ("binary", "categorical")
    encoder_needs_labels = False

    def __init__(
        self,
        shape: Sequence[int],
        schema: Schema,
        frequencies: Sequence[Sequence[float]] | None = None,
        latent: int = 100,
        subspace: int = 32,
        reconstruction: float | str | None = None,
        kl_u: float | str | None = None,
        gm: float | str = 1.0,
        gaussian: float | str = 0.1,
        pull: float | str = 1.0,
        leak: float | str = 1.0,
        target: Literal["uniform", "marginal"] = "uniform",
        drawn: Literal["learned", "fitted"] = "learned",
        independence: Balance = "paper",
        **common: Unpack[Common],
    ) -> None:
        if target not in ("uniform", "marginal"):
            raise unknown("target", target, ("uniform", "marginal"))
        if drawn not in ("learned", "fitted"):
            raise unknown("drawn", drawn, ("learned", "fitted"))
        named = [Block(f"z_s.{label.name}", subspace, label.name) for label in schema]
        weights = {
            "reconstruction": 80 / math.prod(shape) if reconstruction is None else reconstruction,
            "kl_u": 1 / latent if kl_u is None else kl_u,
            "gm": gm,
            "gaussian": gaussian,
            "pull": pull,
            "leak": leak,
        }
        super().__init__(shape, schema, frequencies, Blocks([Block("z_u", latent), *named]), weights, **common)
        self.target, self.drawn = target, drawn
        self.trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.head = Head(features, latent)
        self.label_trunk, features = networks.encoder(self.likelihood.input_shape, self.network)
        self.label_head = nn.Linear(features, subspace * len(schema))
        self.means, self.raw_precisions = nn.ParameterList(), nn.ParameterList()
        for label in schema:
            mean = nn.init.xavier_normal_(torch.empty(len(label.values), subspace))
            self.means.append(nn.Parameter(mean))
            self.raw_precisions.append(nn.Parameter(torch.full_like(mean, math.log(math.expm1(1.0)))))
        self.decoder = networks.decoder(self.blocks.size, self.likelihood.output_shape, self.network)
        dual = is_dual(independence)
        self.adversary = None if dual else networks.mlp(latent, [256], schema.parameters)
        self.independence = Independence(latent, schema) if dual else None

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        balanced = {
            "reconstruction": 1.0,
            "kl_u": 1.0,
            "gm": 20.0,
            "gaussian": 2.0,
            "pull": 20.0,
            "leak": 20.0,
            "target": "marginal",
            "drawn": "fitted",
        }
        return {**super().defaults(shape, labels), **balanced, "subspace": 8 if len(shape) == 3 else 2}

    # -- p ------------------------------------------------------------------------------------------------------------

    def prior(self, values: Tensor, observed: Tensor | None = None) -> Latents[DiagonalGaussian]:
        """p(z_u) and p(z_s | y) that samples and edits are drawn from; for a missing label, that of its most probable value."""
        return self._prior(self.fill_with_mode(values, observed), self._fitted if self.drawn == "fitted" else self._classes)

    def _prior(self, values: Tensor, classes: Callable[[int], DiagonalGaussian]) -> Latents[DiagonalGaussian]:
        labelled = {b.name: classes(i)[values[:, i].long()] for i, b in enumerate(self.blocks[1:])}
        return Latents(self.blocks, {"z_u": self.free_prior(values), **labelled})

    def _classes(self, i: int) -> DiagonalGaussian:
        """The Gaussians of a label's values, ``(values, subspace)``."""
        precision = nn.functional.softplus(self.raw_precisions[i]).clamp(1e-6, _SHARPEST)
        return DiagonalGaussian(self.means[i], precision**-0.5)

    def _fitted(self, i: int) -> DiagonalGaussian:
        """The Gaussians that a label's values have by their codes; the learned ones until they are measured."""
        learned, found = self._classes(i), self.aggregate.of(self.blocks[1 + i].name)
        assert found is not None
        mean = torch.where(found.mean.isnan(), learned.mean, found.mean)
        return DiagonalGaussian(mean, torch.where(found.scale.isnan(), learned.scale, found.scale))

    def intervene(self, codes: Latents[Tensor], label: str, value: Tensor, previous: Tensor) -> Latents[Tensor]:
        """To the mean of the Gaussian that ``drawn`` says."""
        name = self.blocks.of(label).name
        return codes.replace({name: self.prior(*self.only(label, value))[name].mode})

    # -- q ------------------------------------------------------------------------------------------------------------

    def posterior(self, x: Tensor, values: Tensor, observed: Tensor) -> Latents[DiagonalGaussian]:
        """q(z_u | x), and z_s as a point; labels are not read."""
        x = self.likelihood.inputs(x)
        points = self.label_head(self.label_trunk(x)).float().split([block.size for block in self.blocks[1:]], -1)
        named = {block.name: Point.at(point) for block, point in zip(self.blocks[1:], points, strict=True)}
        return Latents(self.blocks, {"z_u": self.head(self.trunk(x)), **named})

    def label_distribution(self, x: Tensor) -> LabelDistribution:
        """The class posterior of z_s under its Gaussians."""
        return self.classify(self.posterior(x, *self.known(x, None, None)).map(lambda part: part.mean))

    def classify(self, codes: Latents[Tensor]) -> LabelDistribution:
        """Class probabilities from codes ``z_s``: log-densities of the Gaussians as logits."""
        parameters = []
        for i, block in enumerate(self.blocks[1:]):
            logits = self._classes(i).log_prob(codes[block.name][:, None])
            parameters.append(logits[:, 1:] - logits[:, :1] if self.schema.labels[i].kind == "binary" else logits)
        return self.schema.distribution(torch.cat(parameters, -1))

    # -- training -----------------------------------------------------------------------------------------------------

    @property
    def _reader(self) -> nn.Module:
        """C, or what has it."""
        reader = self.adversary or self.independence
        assert reader is not None
        return reader

    def players(self) -> dict[str, Player]:
        adversary = Player(list(self._reader.parameters()), steps=1 if self.adversary else 2, auxiliary=True)
        return {"adversary": adversary, "model": Player(self.parameters_except(self._reader))}

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        objectives = self._objectives(batch, posterior, sample(posterior, generator), generator)
        return Losses(objectives, self.weights(), seen=batch.observed.any(0))

    def _objectives(
        self, batch: Batch, posterior: Latents[DiagonalGaussian], codes: Latents[Tensor], generator: torch.Generator
    ) -> dict[str, Terms]:
        if self.independence is not None:
            leak, read = self.independence.game(batch, posterior["z_u"], codes["z_u"], self.label_marginal(1), generator)
        else:
            leak, read = self._game(batch, codes["z_u"])
        return {"adversary": read, "model": lambda: self._model(batch, posterior, codes) | leak()}

    def _game(self, batch: Batch, z_u: Tensor) -> tuple[Terms, Terms]:
        """The published game: encoder_u's term, and that of C."""
        assert self.adversary is not None
        network = self.adversary

        def read(z_u: Tensor) -> LabelDistribution:
            return self.schema.distribution(network(z_u).float())

        def leak() -> dict[str, Tensor]:
            with frozen(network):
                answer = read(z_u)
            uniform = self.schema.distribution(torch.zeros_like(self.label_parameters))
            wanted = uniform if self.target == "uniform" else self.schema.distribution(self.label_parameters)
            # KL(wanted || answer): the cross entropy with the wanted answer, up to its entropy
            return {"leak": wanted.kl_to(answer).mean(0)}

        return leak, lambda: {"adversary": cross_entropy(read(z_u.detach()), batch.values, batch.known)}

    def _model(self, batch: Batch, posterior: Latents[DiagonalGaussian], codes: Latents[Tensor]) -> dict[str, Tensor]:
        standard = self.free_prior(batch.x)
        seen = batch.observed.float()
        gaussian, pull = [], []
        for i, block in enumerate(self.blocks[1:]):
            own, share = self._classes(i)[batch.values[:, i].long()], seen[:, i] / seen[:, i].sum().clamp_min(1)
            gaussian.append(-(own.log_prob(codes[block.name]) * share).sum())
            pull.append(-(own.detach().log_prob(codes[block.name]) * share).sum())
        return {
            "reconstruction": -self.decode(codes).log_prob(batch.x).mean(),
            "kl_u": posterior["z_u"].kl(standard).mean(),
            "gm": cross_entropy(self.classify(codes), batch.values, batch.known),
            "gaussian": torch.stack(gaussian),
            "pull": torch.stack(pull),
        }

    def adapt(self, losses: Losses) -> None:
        """Dual ascent, where it is asked for."""
        if self.independence is not None:
            assert losses.seen is not None
            self.independence.update(losses.terms, losses.seen)

    def weights(self) -> dict[str, float | Tensor]:
        return {**super().weights(), **({} if self.independence is None else {"leak": self.independence.weight.value})}

    def term_names(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(("adversary", "adversary_chance", "gm", "gaussian", "pull", "leak"), self.schema.names)

    def score(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of reconstruction, KL and class cross entropy: there is no ELBO of a deterministic code.

        With dual ascent, what is said beyond what may be is added.
        """
        weights = {name: schedule.end for name, schedule in self.schedules.items()}
        score = torch.stack([weights[name] * terms[name].sum() for name in ("reconstruction", "kl_u", "gm")]).sum()
        return score if self.independence is None else score + self.independence.excess(terms)


class LrLiVAEGAN(LrLiVAE):
    """Lr-LiVAE with a projection discriminator on samples; see the module for the objective.

    Args:
        *args, **rest: the arguments of :class:`LrLiVAE`.
        gan: weight of the discriminator's verdicts in the decoder's objective.
    """

    about = About(
        purpose="Lr-LiVAE with sharper samples from a discriminator",
        avoid="you need likelihoods, numbers as labels, or quick training",
        labels="binary, categorical",
        missing="yes (left out of the class terms)",
        blocks="z_u, z_s.<label>",
        adversaries="one on z_u, one on samples",
        paper="Zheng & Sun 2019",
    )

    def __init__(self, *args: Any, gan: float | str = 1.0, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.schedules["gan"] = schedules.parse(gan)
        needs_numbers("Lr-LiVAE-GAN", self.likelihood)
        self.discriminator = Discriminator(self.shape, self.schema.width, self.network.narrowed(self.shape))

    @classmethod
    def defaults(cls, shape: tuple[int, ...], labels: int) -> dict[str, Any]:
        return {**super().defaults(shape, labels), "gan": 5.0}

    def players(self) -> dict[str, Player]:
        discriminator = Player(list(self.discriminator.parameters()), auxiliary=True)
        model = Player(self.parameters_except(self._reader, self.discriminator))
        return {**super().players(), "discriminator": discriminator, "model": model}

    def losses(self, batch: Batch, generator: torch.Generator) -> Losses:
        posterior = self.posterior(batch.x, batch.values, batch.observed)
        codes = sample(posterior, generator)
        plain = self._objectives(batch, posterior, codes, generator)
        # No gradient on the codes: the discriminator's verdicts reach the decoder alone.
        codes = codes.map(Tensor.detach)
        with torch.no_grad():
            values = torch.where(batch.observed, batch.values, self.classify(codes).mode())
            # classes of prior samples are drawn uniformly, as published
            uniform = self.schema.distribution(torch.zeros_like(self.label_parameters).expand(len(batch), -1))
            drawn = uniform.sample(generator)
            prior = sample(self._prior(drawn, self._classes), generator)
        y, y_drawn = self.schema.features(values), self.schema.features(drawn)

        def discriminator() -> dict[str, Tensor]:
            with torch.no_grad():
                fakes = self.decode(codes).mean, self.decode(prior).mean
            real = self.discriminator(batch.x, y)
            return {"discriminator": hinge(real, self.discriminator(fakes[0], y), self.discriminator(fakes[1], y_drawn))}

        def model() -> dict[str, Tensor]:
            with frozen(self.discriminator):
                made = self.discriminator(self.decode(codes).mean, y).mean()
                drawn_made = self.discriminator(self.decode(prior).mean, y_drawn).mean()
            return plain["model"]() | {"gan": -made - drawn_made}

        objectives = {"adversary": plain["adversary"], "discriminator": discriminator, "model": model}
        return Losses(objectives, self.weights(), seen=batch.observed.any(0))
