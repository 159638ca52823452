"""Where the codes of training data lie in each block: what new samples are drawn from, and some edits go to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from labelspace.blocks import Blocks, Latents
from labelspace.distributions import DiagonalGaussian
from labelspace.labels import Schema

_NARROWEST = 1e-2  # standard deviation of the codes of a value


class CodeSpread(nn.Module):
    """A Gaussian of the codes of every block, measured once the weights are final; nan until then.

    Of a free block it has a full covariance. Of the block of a discrete label there is one with independent coordinates for
    every value of which two samples were seen. Blocks of numbers are not measured.

    Args:
        blocks: of the model.
        schema: the labels.
    """

    def __init__(self, blocks: Blocks, schema: Schema) -> None:
        super().__init__()
        self.blocks = blocks
        self.columns = {b.name: schema.index(b.label) for b in blocks if b.label is not None and schema[b.label].discrete}
        for i, block in enumerate(blocks):
            if block.label is None:
                self.register_buffer(f"mean_{i}", torch.full((block.size,), torch.nan))
                self.register_buffer(f"factor_{i}", torch.full((block.size, block.size), torch.nan))
            elif block.name in self.columns:
                size = (len(schema[block.label].values), block.size)
                self.register_buffer(f"mean_{i}", torch.full(size, torch.nan))
                self.register_buffer(f"scale_{i}", torch.full(size, torch.nan))

    @torch.no_grad()
    def measure(self, parts: Iterable[tuple[Latents[DiagonalGaussian], Tensor, Tensor]], most: int) -> None:
        """Takes in posteriors, with ``values`` and ``observed`` of their samples, until ``most`` samples were seen."""
        sums: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        seen = 0
        for posterior, values, observed in parts:
            for i, block in enumerate(self.blocks):
                if block.label is not None and block.name not in self.columns:
                    continue
                mean, variance = posterior[block.name].mean.double(), posterior[block.name].scale.double() ** 2
                if block.label is None:
                    new = (mean.new_tensor(len(mean)), mean.sum(0), mean.T @ mean + torch.diag(variance.sum(0)))
                else:
                    column, kinds = self.columns[block.name], len(self.get_buffer(f"mean_{i}"))
                    member = nn.functional.one_hot(values[:, column].long(), kinds).double() * observed[:, column : column + 1]
                    new = (member.sum(0), member.T @ mean, member.T @ (mean**2 + variance))
                sums[i] = tuple(a + b for a, b in zip(sums[i], new, strict=True)) if i in sums else new  # type: ignore[assignment]
            seen += len(values)
            if seen >= most:
                break
        for i, (count, first, second) in sums.items():
            if self.blocks[i].label is None:
                mean = first / count
                covariance = second / count - torch.outer(mean, mean)
                # codes may lie in fewer dimensions than the block has
                jitter = 1e-6 * covariance.diagonal().mean().clamp_min(1e-12)
                self.get_buffer(f"mean_{i}").copy_(mean)
                factor = torch.linalg.cholesky(covariance + jitter * torch.eye(len(mean), device=mean.device))
                self.get_buffer(f"factor_{i}").copy_(factor)
            else:
                mean = first / count[:, None]
                scale = (second / count[:, None] - mean**2).clamp_min(_NARROWEST**2).sqrt()
                for name, found in (("mean", mean), ("scale", scale)):
                    self.get_buffer(f"{name}_{i}").copy_(torch.where(count[:, None] >= 2, found, torch.nan))

    def of(self, name: str) -> DiagonalGaussian | None:
        """The codes of every value of a block's label, ``(values, size)``; None for blocks without such a label."""
        if name not in self.columns:
            return None
        i = self._index(name)
        return DiagonalGaussian(self.get_buffer(f"mean_{i}"), self.get_buffer(f"scale_{i}"))

    @torch.no_grad()
    def draw(self, name: str, values: Tensor, prior: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Codes of a block under label ``values (n, labels)``; where nothing was measured, ``prior (n, size)`` is taken."""
        i = self._index(name)
        noise = torch.empty_like(prior).normal_(generator=generator)
        if name in self.columns:
            value = values[:, self.columns[name]].long()
            drawn = self.get_buffer(f"mean_{i}")[value] + self.get_buffer(f"scale_{i}")[value] * noise
        elif self.blocks[i].label is None:
            drawn = self.get_buffer(f"mean_{i}") + noise @ self.get_buffer(f"factor_{i}").T
        else:
            return prior
        return torch.where(drawn.isnan(), prior, drawn)

    def _index(self, name: str) -> int:
        return next(i for i, block in enumerate(self.blocks) if block.name == name)
