"""Configuration: a model's arguments and training options from defaults, a file, and ``key=value`` texts; types are checked."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from labelspace.errors import UserError, unknown
from labelspace.models import defaults, model_class
from labelspace.models.base import FROM_DATA
from labelspace.models.networks import revive
from labelspace.training.options import Options


@dataclass(frozen=True)
class Config:
    """What ``labelspace train`` needs besides the data.

    Attributes:
        name: the model's name.
        arguments: the model's arguments, those that come from the data apart.
        options: how to train.
    """

    name: str
    arguments: dict[str, Any]
    options: Options


def resolve(
    name: str,
    shape: tuple[int, ...],
    labels: int,
    n: int,
    *,
    likelihood: str = "",
    file: dict[str, Any] | None = None,
    assignments: Iterable[str] = (),
    training: dict[str, Any] | None = None,
) -> Config:
    """Puts a configuration together; what comes later wins: defaults, the file, assignments, single training options.

    Args:
        name: the model's name.
        shape: shape of one sample; defaults depend on it.
        labels: number of labels.
        n: training samples.
        likelihood: what the data's source says that they are (:attr:`Dataset.likelihood`); it takes the place of the default.
        file: a resolved configuration, as a run's ``config.yaml`` holds it.
        assignments: ``key=value`` texts; a key is a model argument (``latent``, ``network.width``) or a training option
            (``learning_rate``).
        training: training options.

    Raises:
        UserError: an unknown key (the nearest is suggested) or a value of the wrong type.
    """
    saved = dict((file or {}).get("model", {}))
    saved.pop("name", None)
    cls = model_class(name, saved.pop("class", ""))
    parser = _parser(name)
    suited = {f"model.{k}": v for k, v in defaults(cls, shape, labels, likelihood, n).items()}
    suited |= {f"training.{k}": v for k, v in cls.recipe(shape, n).items()}
    known = _keys(parser)
    given: dict[str, Any] = {}
    for part, prefix in ((saved, "model"), ((file or {}).get("training", {}), "training")):
        given |= {f"{prefix}.{key}": value for key, value in _flat(part).items()}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text!r} is not of the form KEY=VALUE")
        given[_full(key.strip(), known)] = value.strip()
    given |= {f"training.{key}": value for key, value in (training or {}).items() if value is not None}
    for key in given:
        if key not in known:
            raise unknown("setting", key.split(".", 1)[1], [k.split(".", 1)[1] for k in known])
    parser.set_defaults(suited)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            parsed = parser.parse_args([f"--{key}={_text(value)}" for key, value in given.items()])
    except ArgumentError as error:
        raise UserError(_one_line(str(error))) from None
    plain = parsed.as_dict()
    for key, value in _flat(plain).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"setting {key.split('.', 1)[1]!r}: expected a finite number, got {value}")
    return Config(name, revive(plain["model"]), Options(**plain["training"]))


def settings(name: str) -> list[str]:
    """Keys that ``--set`` takes for a model, without their first part."""
    return [key.split(".", 1)[1] for key in _keys(_parser(name))]


def _parser(name: str) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(model_class(name), "model", skip=set(FROM_DATA), fail_untyped=True)
    parser.add_class_arguments(Options, "training")
    return parser


def _keys(parser: ArgumentParser) -> list[str]:
    return [
        action.dest
        for action in parser._actions
        if action.dest.startswith(("model.", "training.")) and not action.dest.endswith("help")
    ]


def _full(key: str, known: list[str]) -> str:
    """The full key of what a user wrote, with or without its first part."""
    if key in known:
        return key
    for prefix in ("model.", "training."):
        if prefix + key in known:
            return prefix + key
    raise unknown("setting", key, [k.split(".", 1)[1] for k in known])


def _flat(part: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out = {}
    for key, value in part.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _one_line(message: str) -> str:
    message = " ".join(message.split())
    message = re.sub(r"a <class '(\w+)'>", r"\1", message).replace("a typing.Literal", "one of ")
    found = re.search(r'key "(?:model|training)\.([\w.]+)": ?(.*)', message)
    if found:
        return f"setting {found[1]!r}: {found[2].removeprefix('Parser key ')}"
    return message
