"""What every edit of samples starts from and ends with: codes, decoding and the record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from labelspace.blocks import Latents
from labelspace.errors import UserError
from labelspace.interventions.coding import as_batch, completed, decode, encode, label_values
from labelspace.interventions.given import LabelsGiven, labels_of
from labelspace.interventions.record import Intervention, Labels, Record, with_earlier
from labelspace.models.base import Model


@dataclass(frozen=True)
class Start:
    """Samples, and the codes that an edit of them starts from.

    Attributes:
        model: the model.
        x: the samples, ``(n, *shape)``.
        single: whether one sample was given rather than a batch.
        encoded: the samples' own codes.
        codes: the codes that the edit starts from.
        labels: the label values that belong to ``codes``.
        after: the edit before this one.
        told: ``(n, labels)`` bool, which labels were given or set before, and not predicted.
    """

    model: Model
    x: Tensor
    single: bool
    encoded: Latents[Tensor]
    codes: Latents[Tensor]
    labels: Labels
    after: Intervention | None
    told: Tensor

    @classmethod
    def of(cls, model: Model, x: Tensor, labels: LabelsGiven | None, after: Intervention | None) -> Start:
        """Encodes samples, or goes on from an earlier edit of them."""
        batch, single = as_batch(model, x)
        if after is None:
            encoded, known = encode(model, batch, labels)
            given = labels_of(model, labels, len(batch))
            told = torch.zeros_like(known[1]) if given is None else given[1].to(batch.device)
            return cls(model, batch, single, encoded, encoded, known, None, told)
        if after.encoded is None or after.labels is None:
            raise UserError(f"nothing can come after {after.record.kind}: it does not say which codes it started from")
        if len(after.labels[0]) != len(batch):
            raise UserError(
                f"the edit before this one has {len(after.labels[0])} samples, this one {len(batch)}; expected as many"
            )
        told = torch.zeros_like(after.labels[1]) if after.told is None else after.told
        return cls(model, batch, single, after.encoded, after.codes, after.labels, after, told)

    def repeat(self, n: int) -> Start:
        """Every sample ``n`` times, one after the other."""
        rows = torch.arange(len(self.x), device=self.x.device).repeat_interleave(n)
        labels = (self.labels[0][rows], self.labels[1][rows])
        return replace(
            self,
            x=self.x[rows],
            encoded=self.encoded.rows(rows),
            codes=self.codes.rows(rows),
            labels=labels,
            told=self.told[rows],
        )

    def completed(self) -> Start:
        """With missing labels predicted, where p(codes | y) depends on them."""
        return replace(self, labels=completed(self.model, self.x, self.labels))

    def keeps(self, asked: bool | None) -> bool:
        """Whether what the model leaves unexplained of the samples is kept: as was asked, else as suits the data."""
        return self.model.likelihood.keeps_detail if asked is None else asked

    def values(self, names: Iterable[str]) -> dict[str, list[Any]]:
        """Label name -> values before the edit, as users write them."""
        return label_values(self.model, self.labels, names)

    def finish(
        self,
        kind: str,
        codes: Latents[Tensor],
        options: dict[str, Any],
        keep_detail: bool | None,
        *,
        source: dict[str, list[Any]],
        target: dict[str, list[Any]],
        labels: Labels | None = None,
        steps: Sequence[int] = (),
        walked: Sequence[str] | None = None,
        about: Iterable[str] | None = None,
    ) -> Intervention:
        """The result of an edit: its codes decoded, and its record.

        Args:
            kind, options, source, target: see :class:`Record`.
            codes: the edited codes.
            keep_detail: as in :func:`labelspace.interventions.set`.
            labels: the label values that belong to ``codes``; those of the start by default.
            steps: how the rows of one sample are laid out; none where it has one row.
            walked: blocks that count as changed beside those of earlier edits; by default those whose codes really differ
                from the samples' own.
            about: the labels that the edit is about; None where it is about blocks.
        """
        keep = self.keeps(keep_detail)
        before = self.after.about if self.after else frozenset()
        labelled = None if about is None or before is None else before | frozenset(about)
        out = decode(self.model, codes, self.encoded, self.x, keep, labelled)
        if steps:
            out = out.view(-1, *steps, *self.model.shape)
        names = [block.name for block in self.model.blocks]
        if walked is None:
            changed = [name for name in names if not torch.equal(self.encoded[name], codes[name])]
        else:
            changed = [*walked, *(self.after.record.changed if self.after else ())]
        record = Record(
            kind,
            tuple(name for name in names if name in changed),
            tuple(name for name in names if name not in changed),
            source,
            target,
            {**options, "keep_detail": keep},
        )
        if self.after:
            record = with_earlier(record, self.after.record)
        told = self.told.clone()
        told[:, [self.model.schema.index(name) for name in about or ()]] = True
        result = out[0] if self.single else out
        return Intervention(result, record, codes, self.encoded, labels or self.labels, about=labelled, told=told)
