"""What earlier versions wrote: in the words of this one where it can be read, refused where it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from labelspace.errors import UserError

OPTIONS = {"matrix_rate": "muon_learning_rate", "reader_rate": "auxiliary_learning_rate"}  # of training
DATA = {"mislabelled": "label_noise"}  # of a run's data
_ADDED = {
    7: ("likelihood.low", "likelihood.high", "likelihood.whole", "label_range", "label_columns"),
    8: tuple(f"likelihood.tails.{name}" for name in ("location", "width", "least", "most")),
    11: ("typical.stretch",),
}  # what training measures since a format
_OTHERS_NOW = {"lsvae": 5}  # models whose parts were others before this format


def refuse(name: str, arguments: Mapping[str, Any], version: int | None = None) -> None:
    """Raises UserError where this version does not have the model that a file of an earlier format is of.

    Args:
        name: of the model.
        arguments: that it was made with.
        version: the file's format, where it has one.
    """
    if (version is not None and version < _OTHERS_NOW.get(name, 0)) or (name == "csvae" and "balance" in arguments):
        raise UserError(f"it is of an earlier version's {name}, whose decoder and q(w | x, y) were others; train it again")


def renamed(entries: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Entries under the names of today."""
    return {names.get(key, key): value for key, value in entries.items()}


def completed(model: nn.Module, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a model of any format, with what was not measured then as the model has it, and without what is no more."""
    added = {name for names in _ADDED.values() for name in names}
    own = model.state_dict()
    kept = _one_point(own, _without_erasure(found))
    return {**{name: tensor for name, tensor in own.items() if name in added}, **kept}


def _one_point(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Before format 10, the typical point of a value was one for all samples, ``(values, size)``."""
    points, now = found.get("typical.points"), own.get("typical.points")
    if points is None or now is None or points.ndim != 2:
        return dict(found)
    made = {name: torch.zeros_like(tensor) for name, tensor in own.items() if name.startswith("typical.")}
    if points.shape != made["typical.middles"].shape:
        raise UserError("its typical points do not fit its labels; the file is damaged")
    made["typical.middles"], made["typical.stretch"] = points, torch.ones_like(points)
    made["typical.general"] = made["typical.given"] = torch.eye(now.shape[2]).repeat(len(points), 1, 1)
    unknown = points.isnan().any(1)
    made["typical.counts"] = (~unknown).long()
    for name, tensor in made.items():
        if name != "typical.counts":
            tensor[unknown] = torch.nan
    return {**found, **made}


def _without_erasure(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Before format 9, the means of an LSVAE's z were projected: m - (m - c) P'. The layer that makes them now does both."""
    kept = {name: tensor for name, tensor in found.items() if not name.startswith("erasure.")}
    if "erasure.projection" in found:
        try:
            # in whatever precision they were saved; copied, as they are changed
            weight, bias, projection, center = (
                found[name].to(torch.float32, copy=True)
                for name in ("head.linear.weight", "head.linear.bias", "erasure.projection", "erasure.center")
            )
            means, keep = slice(len(projection)), torch.eye(len(projection)) - projection
            weight[means] = keep @ weight[means]
            bias[means] = keep @ bias[means] + projection @ center
        except (KeyError, RuntimeError, TypeError):
            raise UserError("its erasure does not fit its encoder; the file is damaged") from None
        kept |= {"head.linear.weight": weight, "head.linear.bias": bias}
    return kept


def tensors(found: Mapping[str, Tensor], former: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors under the names of today; ``former`` has beginnings of names then -> now (:attr:`Model.former`)."""

    def today(name: str) -> str:
        return next((now + name.removeprefix(then) for then, now in former.items() if name.startswith(then)), name)

    return {today(name): tensor for name, tensor in found.items()}
