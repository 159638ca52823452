"""What an intervention returns: the result, and a record of what was done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from torch import Tensor
from typing_extensions import TypeVar

from labelspace.blocks import Latents

if TYPE_CHECKING:
    from anndata import AnnData
    from narwhals.typing import IntoDataFrame
    from PIL import Image

    from labelspace.interventions.given import Given
    from labelspace.models.base import Model

X = TypeVar("X", Tensor, np.ndarray, default=Tensor)

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


@dataclass(frozen=True, repr=False)
class Intervention(Generic[X]):
    """The result of an intervention.

    What was given can be had back in its kind: ``x`` is an array for an array; :meth:`image` and :meth:`images` are pictures,
    at the size of the pictures that were given; :meth:`to_frame` has the columns of a frame, :meth:`to_anndata` the cells of an
    AnnData object.

    Attributes:
        x: new samples, shaped as each function says: float32, pictures in [0, 1]; of an array an array of its type.
        record: what was done.
        codes: the codes that were decoded.
        encoded: the samples' own codes, before any edit.
        labels: the label values that belong to ``codes``, and which of them are known.
        given: the samples that were given; None where there were none.
        model: the model.
        about: the labels that all edits so far were about; None where they were about blocks of the codes.
        told: ``(n, labels)`` bool, which labels were given or set, and not predicted; None where that is not known.
    """

    x: X
    record: Record
    codes: Latents[Tensor]
    encoded: Latents[Tensor] | None = None
    labels: Labels | None = None
    given: Given | None = None
    model: Model | None = None
    about: frozenset[str] | None = None
    told: Tensor | None = None

    @property
    def tensor(self) -> Tensor:
        """``x`` as models have it: float32, pictures ``(..., channels, height, width)`` in [0, 1]."""
        from labelspace.interventions import results

        return results.tensor(self)

    def image(self, i: int = 0) -> Image.Image:
        """One of the pictures; of a picture that was given at its own size, see :meth:`images`.

        Raises:
            UserError: the samples are no pictures, or there is no such one.
        """
        from labelspace.interventions import results

        return results.image(self, i)

    def images(self) -> list[Image.Image]:
        """All pictures, those of a walk one after the other.

        Where pictures were given, each is laid over its original at the original's size
        (:func:`labelspace.interventions.given.laid_over`).
        """
        from labelspace.interventions import results

        return [results.image(self, i) for i in range(results.count(self))]

    def to_frame(self) -> IntoDataFrame:
        """The samples as a frame: columns by their names, classes in words, and the labels.

        Where a frame was given it is that one, of the same library, with what was edited in its place; else a pandas frame (or
        polars, or pyarrow, whichever is installed).

        Raises:
            UserError: the samples are pictures, or no library for frames is installed.
        """
        from labelspace.interventions import results

        return results.frame(self)

    def to_anndata(self) -> AnnData:
        """The samples as an AnnData object: X, the labels in obs, and the codes in obsm, as ``labelspace embed`` writes them.

        Where an AnnData object was given, everything else of it is kept.

        Raises:
            UserError: the samples are pictures, or anndata is not installed.
        """
        from labelspace.interventions import results

        return results.annotated(self)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.x.shape))
        target = ", ".join(f"{name}={_some(values)}" for name, values in self.record.target.items())
        changed = ", ".join(self.record.changed) or "nothing"
        return f"Intervention({self.record.kind}{f' {target}' if target else ''}: {shape}; changed {changed})"

    def _repr_html_(self) -> str:
        from labelspace.interventions import results

        return results.page(self)


def _some(values: list[Any]) -> str:
    seen = list(dict.fromkeys(values))
    return str(seen[0]) if len(seen) == 1 else f"{len(seen)} values"


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
