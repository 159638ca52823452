"""Models as files: a directory with ``config.json``, ``schema.json`` and ``model.safetensors``, and ``variables.json`` where
the entries of vectors have names. No pickle is read, ever."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from labelspace import variables
from labelspace.data import paths
from labelspace.data.images import Framing
from labelspace.errors import Unverified, UserError, note
from labelspace.labels import Schema
from labelspace.models import MODELS, legacy, model_class, name_of, origin_of
from labelspace.models import base as models_base
from labelspace.models.base import Model
from labelspace.models.networks import Network, revive
from labelspace.storage import bounds, files, hub, tensorfiles

FORMAT = 11


def configuration(model: Model) -> dict[str, Any]:
    """What makes the same model again, as plain data: format, name, for a model that is not the library's own the class that it
    was, and the recorded arguments (schema apart)."""
    arguments = {name: value for name, value in model.arguments.items() if name != "schema"}
    plain = {name: dataclasses.asdict(v) if isinstance(v, Network) else v for name, v in arguments.items()}
    origin = {"class": origin_of(model)} if origin_of(model) else {}
    framing = {"framing": model.framing.to_dict()} if len(model.shape) == 3 else {}
    return {"format": FORMAT, "model": name_of(model), **origin, **framing, "arguments": json.loads(json.dumps(plain))}


def save(model: Model, directory: str | Path, weights: dict[str, torch.Tensor] | None = None) -> Path:
    """Writes a model into a directory (each file whole or not at all) and returns the directory.

    Args:
        model: the model.
        directory: where.
        weights: its tensors, where they are not those that it has now.

    >>> import tempfile
    >>> home = save(model, tempfile.mkdtemp() + "/saved")
    >>> type(load(home)).__name__ == type(model).__name__
    True
    """
    home, config = paths.own(directory), configuration(model)
    tensorfiles.write(home / "model.safetensors", model.state_dict() if weights is None else weights)
    files.write(home / "schema.json", model.schema.to_json() + "\n")
    if model.variables:
        files.write(home / "variables.json", variables.to_json(model.variables) + "\n")
    else:
        (home / "variables.json").unlink(missing_ok=True)
    files.write_json(home / "config.json", config)
    return home


def fingerprint(directory: str | Path) -> str:
    """What tells the weights of a saved model from all others: measurements say by it which model they are of.

    Raises:
        UserError: the directory holds no weights.
    """
    with bounds.opened(paths.own(directory) / "model.safetensors") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Watching(TorchDispatchMode):
    """Is asked about every tensor before it is made."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and to say so would import torch's compiler, which takes longer than torch."""
        return False

    def asked(self, shape: tuple[int, ...]) -> None:
        """Raises UserError where a tensor of this shape is too large."""
        raise NotImplementedError

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func.overloadpacket.__name__ in ("empty", "zeros", "ones", "full", "rand", "randn", "empty_strided", "new_empty"):
            self.asked(tuple(next((arg for arg in args if isinstance(arg, list | tuple)), ())))
        return func(*args, **(kwargs or {}))


class _Bounded(_Watching):
    """Refuses to make more numbers than a model with weights of a known size can need: a file may ask for any size."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def asked(self, shape: tuple[int, ...]) -> None:
        self.left -= math.prod(shape)
        if self.left < 0:
            raise UserError(f"tensors as large as {shape} are asked for, which the weights do not have")


_TRAINED = 16  # bytes of a weight in training: itself, its gradient, and two moments


class Trainable(_Watching):
    """Inside, a tensor that is too large to be trained is refused before it takes memory."""

    def asked(self, shape: tuple[int, ...]) -> None:
        bounds.check(f"training weights of shape {shape}", _TRAINED * math.prod(shape), how="trained")


def _construct_for(
    tensors: dict[str, torch.Tensor], config: Any, schema: Schema, path: Path, models: Collection[type[Model]]
) -> Model:
    """A model that such weights may belong to. Raises UserError, before it takes memory, where they are much fewer."""
    most = 10_000_000 + 8 * sum(tensor.numel() for tensor in tensors.values())
    try:
        # Making a model draws initial weights; that must not move the caller's seed.
        with torch.random.fork_rng(devices=[]), _Bounded(most):
            return construct(config, schema, path, models)
    except UserError as error:
        raise _named(error, path) from None


def construct(config: dict[str, Any], schema: Schema, path: Path, models: Collection[type[Model]] = ()) -> Model:
    """A new model from :func:`configuration`; one of ``models`` where it is of that class.

    Raises:
        UserError: it is of a newer format or not one, or of a class that is not known here.
    """
    try:
        version, name, arguments = config["format"], config["model"], dict(config["arguments"])
    except (TypeError, KeyError, ValueError):
        raise UserError(f"{path} is not the configuration of a labelspace model") from None
    if not isinstance(version, int) or version > FORMAT:
        raise UserError(f"{path} has format {version!r}, newer than this version reads ({FORMAT}); update labelspace")
    if isinstance(name, str):
        legacy.refuse(name, arguments, version)
    origin = str(config.get("class", ""))
    if not isinstance(name, str) or not (origin or name in MODELS):
        raise UserError(f"{path} is of model {name!r}, which this version does not have")
    given = next((cls for cls in models if origin and origin.rpartition(":")[2] == cls.__qualname__), None)
    cls = given or model_class(name, origin)
    try:
        revived = revive(arguments)
        _check_types(cls, revived, path)
        return cls(schema=schema, **revived)  # type: ignore[call-arg]
    except UserError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError, MemoryError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} does not fit model {name!r}: {said}") from None


def _check_types(cls: type[Model], arguments: dict[str, Any], path: Path) -> None:
    """Raises UserError where an argument is of another type than its annotation: it may be taken for a value all the same."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if "__init__" in vars(base):
            with suppress(NameError, TypeError, AttributeError):  # annotations that are known to type checkers only
                hints |= get_type_hints(vars(base)["__init__"], localns=vars(models_base))
    for name, value in arguments.items():
        if name in hints and not files.fits(value, hints[name]):
            raise UserError(f"{path} does not fit model {cls.__name__!r}: {name} is {str(value)[:60]!r}, of another type")


def _tensors(home: Path, config: Any) -> dict[str, torch.Tensor]:
    """The tensors of a saved model, by their names of today."""
    tensors, _ = tensorfiles.read(home / "model.safetensors", lambda text: note(text, Unverified))
    try:
        if config["format"] >= FORMAT:
            return tensors
        former = model_class(config["model"]).former
    except UserError as error:
        raise _named(error, home / "config.json") from None
    except (TypeError, KeyError, ValueError, AttributeError):
        raise UserError(f"{home / 'config.json'} is not the configuration of a labelspace model") from None
    return legacy.tensors(tensors, former)


# parts that do not speak of certain labels
_ABOUT_DATA = ("trunk.", "head.", "label_trunk.", "w_trunk.", "decoder.", "likelihood.")


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """What a model took from another one.

    Attributes:
        taken: names of the tensors that were taken.
        left: names of the model's other tensors, with the reason.
    """

    taken: tuple[str, ...]
    left: dict[str, str]

    def lines(self) -> list[str]:
        """What was taken and what was not, a line per part of the model and reason."""
        out = [f"taken: {', '.join(_grouped(self.taken)) or 'nothing'}"]
        for reason in dict.fromkeys(self.left.values()):
            out.append(f"not taken, {reason}: {', '.join(_grouped(n for n, r in self.left.items() if r == reason))}")
        return out


def _grouped(names: Iterable[str]) -> list[str]:
    """Tensor names by the part of the model that they are in, with their number where there are several."""
    counts = Counter(name.split(".")[0] for name in names)
    return [f"{part} ({n} tensors)" if n > 1 else part for part, n in counts.items()]


def warm_start(model: Model, directory: str | Path) -> WarmStart:
    """Takes every tensor whose place (name) and shape fit from a saved model or a run, of whatever class.

    Raises:
        UserError: the directory holds no model, or nothing of it fits.
    """
    home = paths.own(directory)
    files.contained(home, hub.FILES, hub.root(home))
    if bounds.absent(home / "model.safetensors"):
        raise UserError(f"{home} holds no model to start from (no model.safetensors)")
    theirs = _tensors(home, files.read_json(home / "config.json"))
    same_labels = _schema(home) == model.schema
    settings = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    taken, left = [], {}
    for name, tensor in model.state_dict().items():
        if name in settings:
            left[name] = "a setting"
        elif name.startswith(model.measured):
            left[name] = "measured in training"
        elif not same_labels and not name.startswith(_ABOUT_DATA):
            left[name] = "the labels there are others"
        elif name not in theirs:
            left[name] = "not there"
        elif theirs[name].shape != tensor.shape:
            left[name] = f"shape {_size(theirs[name])} there and {_size(tensor)} here"
        else:
            taken.append(name)
    if not taken:
        raise UserError(f"nothing in {home} fits this model: no tensor has the same place and shape")
    model.load_state_dict({name: theirs[name] for name in taken}, strict=False)
    model.started_from = str(directory)
    return WarmStart(tuple(taken), left)


def _size(tensor: torch.Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "one number"


@dataclasses.dataclass(frozen=True)
class _OfPictures(variables.Description):
    """Of a model of pictures, with what they are read by."""

    shape: tuple[int, ...]
    framing: Framing


def description(directory: str | Path) -> variables.Description | None:
    """What data are read by so that they fit a saved model: its labels, with the variables of vectors or the shape and framing
    of pictures; None where it is of vectors without names."""
    home = paths.own(directory)
    files.contained(home, hub.FILES, hub.root(home))
    if not (home / "schema.json").exists():
        return None
    if (home / "variables.json").exists():
        return variables.Description(_schema(home), _variables(home))
    config = files.read_json(home / "config.json") if (home / "config.json").exists() else {}
    shape = config.get("arguments", {}).get("shape") if isinstance(config, dict) else None
    if not isinstance(shape, list) or len(shape) != 3 or not all(isinstance(side, int) for side in shape):
        return None
    return _OfPictures(_schema(home), (), tuple(shape), _framing(config, home / "config.json"))


def _schema(home: Path) -> Schema:
    try:
        return Schema.from_json(bounds.text(home / "schema.json", bounds.JSON))
    except UserError as error:
        raise _named(error, home / "schema.json") from None


def _named(error: UserError, path: Path) -> UserError:
    """The error with the name of the file that is wrong."""
    return error if str(path) in str(error) else UserError(f"{path}: {error}")


def _variables(home: Path, shape: tuple[int, ...] | None = None) -> tuple[variables.Variable, ...]:
    path = home / "variables.json"
    if not path.exists():
        return ()
    try:
        found = variables.from_json(bounds.text(path, bounds.JSON))
    except UserError as error:
        raise _named(error, path) from None
    if shape is not None and (len(found),) != shape:
        raise UserError(f"{path} names {len(found)} variables, but the model's samples have shape {shape}")
    return found


def _framing(config: dict[str, Any], path: Path) -> Framing:
    try:
        return Framing.read(config.get("framing", config.get("crop", "centre")))
    except UserError as error:
        raise _named(error, path) from None


def load(directory: str | Path, models: Collection[type[Model]] = ()) -> Model:
    """Reads a model that :func:`save` or a training run wrote; it is in evaluation mode, on the CPU.

    Args:
        directory: where it is, or its address on the Hugging Face hub (``hf:OWNER/NAME``, see :mod:`labelspace.storage.hub`).
        models: classes of one's own that it may be of, besides those that are registered. No code that the files name is ever
            run.

    Raises:
        UserError: a file is absent, truncated, foreign or of a newer format; the model is of a class that is not known here; or
            the hub cannot be reached.
    """
    home = hub.fetch(str(directory)) if str(directory).startswith(hub.SCHEME) else paths.own(directory)
    if not home.is_dir():
        raise UserError(f"no such directory: {home}")
    files.contained(home, hub.FILES, hub.root(home))
    if bounds.absent(home / "config.json"):
        raise UserError(f"{home} holds no model (no config.json)")
    config = files.read_json(home / "config.json")
    schema = _schema(home)
    tensors = _tensors(home, config)
    model = _construct_for(tensors, config, schema, home / "config.json", models)
    tensorfiles.load_strictly(model, legacy.completed(model, tensors), home / "model.safetensors")
    model.variables = _variables(home, model.shape)
    model.framing = _framing(config, home / "config.json")
    return model.eval()
