"""What an intervention returns: the result, and a record of what was done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from labelspace.blocks import Latents

Labels = tuple[Tensor, Tensor]
"""``values`` and ``observed`` of the samples, both ``(n, labels)``."""


@dataclass(frozen=True)
class Record:
    """What an intervention did.

    Attributes:
        kind: the intervention's name.
        changed: names of the latent blocks that were changed.
        held: names of the blocks that were kept as encoded.
        source: label name -> values before, one per sample (None where a value was not known and not needed).
        target: label name -> values after, one per sample.
        options: everything else that determines the result.
    """

    kind: str
    changed: tuple[str, ...]
    held: tuple[str, ...]
    source: dict[str, list[Any]] = field(default_factory=dict)
    target: dict[str, list[Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The record as plain data, ready for JSON."""
        return {
            "kind": self.kind,
            "changed": list(self.changed),
            "held": list(self.held),
            "source": self.source,
            "target": self.target,
            "options": self.options,
        }


@dataclass(frozen=True)
class Intervention:
    """The result of an intervention.

    Attributes:
        x: new samples, shaped as each function says.
        record: what was done.
        codes: the codes that were decoded.
        encoded: the samples' own codes, before any edit.
        labels: the label values that belong to ``codes``, and which of them are known.
    """

    x: Tensor
    record: Record
    codes: Latents[Tensor]
    encoded: Latents[Tensor] | None = None
    labels: Labels | None = None


def with_earlier(record: Record, before: Record) -> Record:
    """The record of an edit and of all edits before it: values from the very first, and what was done as a list."""
    own = {name: value for name, value in before.options.items() if name != "after"}
    steps = list(before.options.get("after", []))
    if own.get("points") != {}:  # a move to nowhere is a reconstruction, not an edit
        steps.append({"kind": before.kind, "target": before.target, "options": own})
    return replace(
        record,
        source={**record.source, **before.source},
        target={**before.target, **record.target},
        options={**record.options, "after": steps},
    )
