"""What Windows and macOS lack is imitated: files, locks and workers do without it."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labelspace as ls
from labelspace.data import store
from labelspace.errors import UserError
from labelspace.storage import bounds, files, locks

_ABSENT = ("fcntl", "resource", "pwd", "grp", "termios")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As Windows: children get no descriptors, directories no locks, and nothing is renamed over what is there."""
    opened, renamed, flushed, popen, imported = os.open, os.rename, os.fsync, subprocess.Popen, builtins.__import__

    def opens(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if isinstance(path, str | Path) and os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *args, **kwargs)

    def renames(source: Any, target: Any, **kwargs: Any) -> None:
        if os.path.exists(target):
            raise FileExistsError(17, "File exists", str(target))
        renamed(source, target, **kwargs)

    def flushes(handle: int) -> None:
        if sys.platform == "linux":
            flags = int(Path(f"/proc/self/fdinfo/{handle}").read_text().split("flags:")[1].split()[0], 8)
            if flags & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(9, "Bad file descriptor")
        flushed(handle)

    class Popen(popen):  # type: ignore[misc,valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if kwargs.get("pass_fds"):
                raise ValueError("pass_fds not supported on Windows.")
            super().__init__(*args, **kwargs)

    def imports(name: str, *args: Any, **kwargs: Any) -> Any:
        if name in _ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return imported(name, *args, **kwargs)

    for name in ("sysconf", "sched_getaffinity", "posix_fallocate"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "open", opens)
    monkeypatch.setattr(os, "rename", renames)
    monkeypatch.setattr(os, "fsync", flushes)
    monkeypatch.setattr(subprocess, "Popen", Popen)
    monkeypatch.setattr(builtins, "__import__", imports)
    monkeypatch.setattr(locks, "DESCRIPTORS", False)
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "cache"))
    bounds._memory.cache_clear()  # what is found here holds here
    yield
    bounds._memory.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pictures of two classes."""
    for i in range(20):
        place = tmp_path / "pictures" / ("light" if i % 2 else "dark")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 100 * (i % 2) + i).save(place / f"{i:02}.png")
    return tmp_path / "pictures"


def test_the_imitation_bites(windows: None, tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        locks.acquire(tmp_path)
    with pytest.raises(ValueError, match="pass_fds"):
        subprocess.Popen([sys.executable, "-c", ""], pass_fds=(0,))
    (tmp_path / "a").touch()
    with (tmp_path / "a").open("rb") as file, pytest.raises(OSError, match="Bad file"):
        os.fsync(file.fileno())


def test_pictures_are_read_by_workers(windows: None, folder: Path) -> None:
    data = ls.open(f"folder:{folder},size=8")
    assert len(data) == 20
    assert np.array_equal(np.sort(np.asarray(data.x).mean((1, 2, 3))), np.sort([100 * (i % 2) + i for i in range(20)]))


def test_a_worker_that_fails_is_one_line(windows: None, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        store.build("nothing", np.zeros((3, 1)), (1, 8, 8), "builtins:nothing", {}, workers=1)


def test_a_run_is_trained_written_over_and_gone_on_with(windows: None, tmp_path: Path) -> None:
    data = ls.open("swiss-roll:n=200")
    fitted = ls.fit(ls.build("condvae", data), data, out=tmp_path / "run", epochs=1, progress=False)
    ls.fit(ls.build("condvae", data), data, out=tmp_path / "run", epochs=1, resume=True, progress=False)
    model, again = ls.open_run(tmp_path / "run")
    assert again.schema == model.schema
    for _ in range(2):
        ls.save(fitted.model, tmp_path / "saved")
    assert type(ls.load(tmp_path / "saved")) is type(model)


def test_a_directory_is_replaced_although_none_can_be_renamed_over_another(windows: None, tmp_path: Path) -> None:
    for content in ("old", "new"):
        with files.filling(tmp_path / "out", lambda home: ["a.txt"]) as place:
            (place / "a.txt").write_text(content)
    assert (tmp_path / "out" / "a.txt").read_text() == "new"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


def test_how_much_may_be_read_is_known_without_the_system_saying(windows: None) -> None:
    assert bounds.most() > 0


def test_macos_has_no_allocator_to_tell_and_no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    data = ls.open("moons:n=200")
    fitted = ls.fit(ls.build("condvae", data), data, out=tmp_path / "run", epochs=1, progress=False)
    assert fitted.best_epoch == 1
