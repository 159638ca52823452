"""Where the codes of training data lie in each block: what new samples are drawn from, and some edits go to."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from labelspace.blocks import Block, Blocks, Latents
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema
from labelspace.precision import as_double_on_cpu

_NARROWEST = 1e-2  # standard deviation of the codes of a value
_ON_LINE = 33  # points at which a number's line is looked at


class AggregatePosterior(nn.Module):
    """A Gaussian of the codes of every block, measured once the weights are final; nan until then.

    Of a free block it has a full covariance. Of the block of a discrete label there is one with independent coordinates for
    every value of which two samples were seen. Of the block of a number there is one whose mean is a line in the number, its
    least-squares fit.

    Args:
        blocks: of the model.
        schema: the labels.
    """

    def __init__(self, blocks: Blocks, schema: Schema) -> None:
        super().__init__()
        self.blocks, self.schema = blocks, schema
        for i, block in enumerate(blocks):
            if block.label is None:
                self.register_buffer(f"mean_{i}", torch.full((block.size,), torch.nan))
                self.register_buffer(f"factor_{i}", torch.full((block.size, block.size), torch.nan))
            elif schema[block.label].discrete:
                size = (len(schema[block.label].values), block.size)
                self.register_buffer(f"mean_{i}", torch.full(size, torch.nan))
                self.register_buffer(f"scale_{i}", torch.full(size, torch.nan))
            else:
                self.register_buffer(f"line_{i}", torch.full((2, block.size), torch.nan))  # at the label's mean, and its slope
                self.register_buffer(f"scale_{i}", torch.full((block.size,), torch.nan))

    @torch.no_grad()
    def measure(
        self, parts: Iterable[tuple[Latents[DiagonalGaussian], Tensor, Tensor]], most: int, without: Collection[str] = ()
    ) -> None:
        """Takes in posteriors, with ``values`` and ``observed`` of their samples, until ``most`` samples were seen.

        Args:
            parts: the posteriors and labels of some samples each.
            most: so many samples are enough.
            without: names of blocks that are not measured.
        """
        # Of every block: sums over samples of f f', of f times the code and of its square, f what its mean depends on. A
        # number's f is (1, number), a value's is 1 for that value and 0 for the others, a free block's is 1.
        sums: dict[int, tuple[Tensor, ...]] = {}
        seen = 0
        for posterior, values, observed in parts:
            for i, block in enumerate(self.blocks):
                if block.name in without:
                    continue
                mean, scale = (as_double_on_cpu(part) for part in (posterior[block.name].mean, posterior[block.name].scale))
                variance = scale**2
                f = self._predictors(block, as_double_on_cpu(values), observed.cpu())
                if block.label is None:
                    square = mean.T @ mean + torch.diag(variance.sum(0))
                elif self.schema[block.label].discrete:
                    square = f.T @ (mean**2 + variance)
                else:
                    square = f[:, 0] @ (mean**2 + variance)
                new = (f.T @ f, f.T @ mean, square)
                sums[i] = tuple(a + b for a, b in zip(sums[i], new, strict=True)) if i in sums else new
            seen += len(values)
            if seen >= most:
                break
        for i, (inner, first, second) in sums.items():
            label = self.blocks[i].label
            count = inner.diagonal()[:, None]
            if label is None:
                mean = (first / count)[0]
                covariance = second / count[0] - torch.outer(mean, mean)
                # codes may lie in fewer dimensions than the block has
                jitter = 1e-6 * covariance.diagonal().mean().clamp_min(1e-12)
                factor = torch.linalg.cholesky(covariance + jitter * torch.eye(len(mean)))
                found = {"mean": mean, "factor": factor}
            elif self.schema[label].discrete:
                mean = first / count
                scale = (second / count - mean**2).clamp_min(_NARROWEST**2).sqrt()
                found = {"mean": mean, "scale": scale}
                found = {name: torch.where(count >= 2, part, torch.nan) for name, part in found.items()}
            else:
                if inner[0, 0] < 2 or torch.linalg.det(inner / inner[0, 0]) < 1e-9:  # one number alone has no line through it
                    continue
                line = torch.linalg.solve(inner, first)
                scale = ((second - (line * first).sum(0)) / inner[0, 0]).clamp_min(_NARROWEST**2).sqrt()
                found = {"line": line, "scale": scale}
            for name, part in found.items():
                self.get_buffer(f"{name}_{i}").copy_(part)

    def _predictors(self, block: Block, values: Tensor, observed: Tensor) -> Tensor:
        """What the mean of a block's codes depends on, ``(n, predictors)`` of the type of ``values``; 0 where the label is
        missing."""
        if block.label is None:
            return values.new_ones(len(values), 1)
        column, label = self.schema.index(block.label), self.schema[block.label]
        known = observed[:, column : column + 1].to(values.dtype)
        if label.discrete:
            return nn.functional.one_hot(values[:, column].long(), len(label.values)).to(values.dtype) * known
        number = (values[:, column] - label.mean) / label.scale
        return torch.stack([torch.ones_like(number), number], 1) * known

    def of(self, name: str) -> DiagonalGaussian | None:
        """The codes of every value of a block's label, ``(values, size)``; None for blocks without such a label."""
        i, block = self._found(name)
        if block.label is None or not self.schema[block.label].discrete:
            return None
        return DiagonalGaussian(self.get_buffer(f"mean_{i}"), self.get_buffer(f"scale_{i}"))

    def under(self, name: str, values: Tensor) -> DiagonalGaussian:
        """The codes of a label's block under ``values (n, labels)``, ``(n, size)``; nan where nothing was measured."""
        i, block = self._found(name)
        assert block.label is not None
        scale = self.get_buffer(f"scale_{i}")
        if self.schema[block.label].discrete:
            value = values[:, self.schema.index(block.label)].long()
            return DiagonalGaussian(self.get_buffer(f"mean_{i}")[value], scale[value])
        line = self.get_buffer(f"line_{i}")
        mean = self._predictors(block, values.to(line.dtype), torch.ones_like(values, dtype=torch.bool)) @ line
        return DiagonalGaussian(mean, scale.expand_as(mean))

    @torch.no_grad()
    def distance(self, name: str, code: Tensor, span: tuple[float, float] = (0.0, 0.0)) -> Tensor:
        """How far codes ``(n, size)`` of a block lie from where training codes of it do, ``(n,)``: in standard deviations, of
        the value that is nearest; nan where nothing was measured.

        Args:
            name: the block.
            code: the codes.
            span: of a block of a number, the smallest and the largest one.
        """
        i, block = self._found(name)
        if block.label is None:
            away = code - self.get_buffer(f"mean_{i}")
            factor = self.get_buffer(f"factor_{i}")
            if not bool(factor.isfinite().all()):
                return torch.full_like(code[:, 0], torch.nan)
            return torch.linalg.solve_triangular(factor, away.T, upper=False).square().mean(0).sqrt()
        label = self.schema[block.label]
        if label.discrete:
            found = DiagonalGaussian(self.get_buffer(f"mean_{i}"), self.get_buffer(f"scale_{i}"))
        else:
            values = torch.zeros(_ON_LINE, len(self.schema), dtype=code.dtype)
            values[:, self.schema.index(block.label)] = torch.linspace(*span, _ON_LINE, dtype=code.dtype)
            found = self.under(name, values)
        away = ((code[:, None] - found.mean) / found.scale).square().mean(-1).sqrt()  # (n, values)
        nearest = away.nan_to_num(torch.inf).amin(1)
        return torch.where(nearest.isinf(), torch.nan, nearest)

    @torch.no_grad()
    def draw(self, name: str, values: Tensor, prior: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes of a block under label ``values (n, labels)``; where nothing was measured, ``prior (n, size)`` is taken."""
        i, block = self._found(name)
        noise = torch.empty_like(prior).normal_(generator=generator)
        if block.label is None:
            drawn = self.get_buffer(f"mean_{i}") + noise @ self.get_buffer(f"factor_{i}").T
        else:
            found = self.under(name, values)
            drawn = found.mean + found.scale * noise
        return torch.where(drawn.isnan(), prior, drawn)

    def _found(self, name: str) -> tuple[int, Block]:
        return next((i, block) for i, block in enumerate(self.blocks) if block.name == name)
