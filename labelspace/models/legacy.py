"""What earlier versions wrote, in the words of this one: former names of models, arguments, options and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from labelspace.errors import UserError

OPTIONS = {"matrix_rate": "muon_learning_rate", "reader_rate": "auxiliary_learning_rate"}  # of training
DATA = {"mislabelled": "label_noise"}  # of a run's data
_NOT_OF_LSVAE = ("adversary", "adversary_target", "balance")


def model(name: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any], str]:
    """A model's name and arguments today, and a note of what changed, empty where nothing did.

    Raises:
        UserError: this version does not have the model any more.
    """
    arguments = dict(arguments)
    if name != "csvae" or "balance" not in arguments:
        return name, arguments, ""
    if arguments["balance"] != "dual":
        raise UserError("it is of a csvae of an earlier version, whose decoder and q(w | x, y) were others; train it again")
    kept = {key: value for key, value in arguments.items() if key not in _NOT_OF_LSVAE}
    return "lsvae", kept, "csvae with balance=dual of an earlier version is lsvae now"


def renamed(entries: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Entries under the names of today."""
    return {names.get(key, key): value for key, value in entries.items()}


def tensors(found: Mapping[str, Tensor], former: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors under the names of today; ``former`` has beginnings of names then -> now (:attr:`Model.former`)."""

    def today(name: str) -> str:
        return next((now + name.removeprefix(then) for then, now in former.items() if name.startswith(then)), name)

    return {today(name): tensor for name, tensor in found.items()}
