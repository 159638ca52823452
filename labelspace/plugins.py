"""What is found by name beside the library's own: what was registered, and what plug-ins and installed packages bring.

A plug-in is a Python file or a module that registers models and data sources when it is imported. It is imported, and so its
code is run, when the caller names it: by ``--plugin``, in the environment variable ``LABELSPACE_PLUGINS``, or by installing a
package with entry points. Nothing that stands in a saved run or an address is ever imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from labelspace.errors import UserError, option, unknown

VARIABLE = "LABELSPACE_PLUGINS"
"""The environment variable with files and modules, separated as in PATH."""

_FILES = "_labelspace_plugin_"  # what modules of files are called, with a number
_loaded: dict[str, str] = {}  # file or module -> how it was named

T = TypeVar("T")


def load(where: str) -> None:
    """Imports a plug-in, unless it has been imported.

    Args:
        where: a file (``own_model.py``, ``lab/own.py``) or a module that can be imported (``own_package.models``).

    Raises:
        UserError: it is not there, or its import fails.
    """
    file = Path(where).resolve() if where.endswith(".py") or os.sep in where else None
    key = str(file or where)
    if key in _loaded:
        return
    if file is not None and not file.is_file():
        raise UserError(f"plug-in {where} is not there")
    with _in_one_line(f"plug-in {where}"):
        if file is None:
            importlib.import_module(where)
        else:
            _run(file)
    _loaded[key] = where


def _run(file: Path) -> None:
    name = f"{_FILES}{len(_loaded)}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where annotations of its classes are looked up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def loaded() -> list[str]:
    """The plug-ins that were loaded here, as they were named."""
    return list(_loaded.values())


@contextmanager
def _in_one_line(what: str) -> Iterator[None]:
    """Turns whatever fails in other people's code into one line that names it."""
    try:
        yield
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{what} cannot be loaded: {said}") from None


def origin(thing: Any, *, whole: bool = False) -> str:
    """Where a class or function is defined, as ``package.module:Name``, or ``file.py:Name`` where it is in no package.

    Args:
        thing: the class or function.
        whole: name the file with its directories.
    """
    module = sys.modules.get(thing.__module__)
    file = getattr(module, "__file__", None)
    if file and thing.__module__.startswith(("__main__", _FILES)):
        return f"{Path(file).resolve() if whole else Path(file).name}:{thing.__qualname__}"
    return f"{thing.__module__}:{thing.__qualname__}"


class Registry(Generic[T]):
    """Things of one kind that are not the library's own, by name.

    Args:
        kind: what they are called in messages.
        taken: names of the library's own.
        group: entry points of installed packages that bring more of them; their names are the things' names.
        make: from what was registered, what is kept. It raises UserError for what is not of the kind.
    """

    def __init__(self, kind: str, taken: Collection[str], group: str, make: Callable[[str, Any], T]) -> None:
        self.kind, self.taken, self.group, self.make = kind, taken, group, make
        self._added: dict[str, tuple[str, T]] = {}  # name -> origin, and what is kept

    def add(self, name: str, given: Any) -> None:
        """Makes a thing known under a name; one that was defined anew in the same place takes the place of the old.

        Raises:
            UserError: the name is taken, or cannot be one.
        """
        if name in self.taken:
            raise UserError(f"{self.kind} {name!r} is one of labelspace's own; register yours under another name")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
            raise UserError(f"{name!r} cannot be the name of a {self.kind}: small letters, digits and . _ - can")
        made, home = self.make(name, given), origin(given, whole=True)
        if name in self._added and self._added[name][0] != home:
            raise UserError(f"{self.kind} {name!r} is registered already, by {self._added[name][0]}; choose another name")
        self._added[name] = (home, made)

    def name_of(self, given: Any) -> str | None:
        """The name that a thing is known under; None where it is not."""
        home = origin(given, whole=True)
        for name in ("", *self._installed()):
            with suppress(UserError):  # another package's
                self._install(name)
            found = next((known for known, (other, _) in self._added.items() if other == home), None)
            if found is not None:
                return found
        return None

    def find(self, name: str) -> T:
        """What has a name.

        Raises:
            UserError: nothing has (the nearest name is said), or its plug-in cannot be loaded.
        """
        if name not in self._added:
            _load_asked()
            self._install(name)
        if name not in self._added:
            raise UserError(
                f"{unknown(self.kind, name, self.names())} (one's own are known by load_plugin, or {option('plugin')})"
            )
        return self._added[name][1]

    def names(self) -> list[str]:
        """All names: the library's own, those registered, those of plug-ins and installed packages."""
        _load_asked()
        return list(dict.fromkeys([*self.taken, *self._added, *self._installed()]))

    def _installed(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            if point.name not in self.taken:
                found.setdefault(point.name, []).append(point)
        return found

    def _install(self, name: str) -> None:
        points = self._installed().get(name, [])
        if not points or name in self._added:
            return
        packages = sorted({point.dist.name if point.dist else "?" for point in points})
        if len(packages) > 1:
            raise UserError(f"{self.kind} {name!r} is in several packages, {' and '.join(packages)}; remove all but one")
        with _in_one_line(f"{self.kind} {name!r} of package {packages[0]}"):
            self.add(name, points[0].load())


def _load_asked() -> None:
    for where in os.environ.get(VARIABLE, "").split(os.pathsep):
        if where:
            load(where)
