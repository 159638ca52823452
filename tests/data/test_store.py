"""The store: atomic, shared, never stale."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from labelspace.data import store
from labelspace.errors import UserError
from labelspace.storage import cache as user_cache
from labelspace.storage import locks

SHAPE = (1, 8, 8)
ARGUMENTS: dict[str, Any] = {"size": [8, 8], "channels": 1}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def rows(tmp_path: Path) -> np.ndarray:
    """Paths of 150 images, more than two chunks; image i is grey level i."""
    for i in range(150):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i:03}.png")
    return np.array([str(tmp_path / f"{i:03}.png") for i in range(150)])


def build(rows: np.ndarray, **options: Any) -> store.Built:
    return store.build("tiny", rows, SHAPE, "files", ARGUMENTS, **options)


def stores(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if (path / "store.json").exists()) if cache.exists() else []


def leftovers(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.name.startswith(".")]


def test_a_store_holds_the_images_in_order_and_is_found_again(cache: Path, rows: np.ndarray):
    first = build(rows)
    assert first.x.shape == (150, *SHAPE)
    assert first.x.dtype == np.uint8
    assert (first.x == np.arange(150).reshape(-1, 1, 1, 1)).all()
    assert first.seconds > 0
    assert first.failures == {}
    again = build(rows)
    assert again.seconds == 0
    np.testing.assert_array_equal(again.x, first.x)
    assert len(stores(cache)) == 1
    assert stores(cache)[0].name.startswith("tiny-")
    assert leftovers(cache) == []


def test_a_store_is_mapped_and_cannot_be_written_through(cache: Path, rows: np.ndarray):
    found = build(rows[:3]).x
    assert isinstance(found, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_the_number_of_workers_does_not_change_the_store(cache: Path, rows: np.ndarray):
    one = np.array(build(rows, workers=1).x)
    (home,) = stores(cache)
    home.rename(cache.parent / "one")
    np.testing.assert_array_equal(build(rows, workers=2).x, one)
    assert stores(cache) == [home]


def test_progress_counts_up_to_all_rows(cache: Path, rows: np.ndarray):
    calls: list[tuple[int, int]] = []
    build(rows, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (150, 150)
    assert {total for _, total in calls} == {150}


def test_the_key_depends_on_everything_that_determines_the_pixels(cache: Path, rows: np.ndarray):
    some = rows[:4]
    build(some)
    build(some[::-1])
    build(some[:3])
    build(some, fingerprint="changed")
    store.build("tiny", some, (3, 8, 8), "files", {"size": [8, 8], "channels": 3})
    store.build("tiny", some, (1, 9, 9), "files", {"size": [9, 9], "channels": 1})
    assert len(stores(cache)) == 6
    build(some, fingerprint="changed")
    assert len(stores(cache)) == 6


def test_rows_that_fail_are_left_out_and_remembered(cache: Path, rows: np.ndarray):
    for place in (70, 149):
        Path(rows[place]).write_bytes(b"junk")
    for _ in range(2):
        built = build(rows)
        assert sorted(built.failures) == [70, 149]
        assert "070.png" in built.failures[70]
        assert built.kept.tolist() == [i for i in range(149) if i != 70]
        assert built.x[:, 0, 0, 0].tolist() == built.kept.tolist()
    size = (built.home / "x.npy").stat().st_size
    assert 148 * 64 < size < 149 * 64 + 128
    assert sorted(file.name for file in built.home.iterdir()) == ["store.json", "x.npy"]


def test_a_store_of_nothing_but_failures_is_empty(cache: Path, rows: np.ndarray):
    for place in range(3):
        Path(rows[place]).write_bytes(b"junk")
    for _ in range(2):
        built = build(rows[:3])
        assert built.x.shape == (0, *SHAPE)
        assert sorted(built.failures) == [0, 1, 2]


def test_a_worker_that_fails_is_one_line_and_leaves_nothing(cache: Path, rows: np.ndarray):
    with pytest.raises(UserError) as caught:
        store.build("tiny", rows, (1, 9, 9), "files", ARGUMENTS)
    assert "\n" not in str(caught.value)
    assert str(caught.value)
    assert list(cache.iterdir()) == []


def test_an_interrupted_build_goes_on_where_it_was(cache: Path, rows: np.ndarray):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(rows, workers=1, progress=stop)
    assert stores(cache) == []
    assert not list(cache.glob("*.lock"))
    calls: list[int] = []
    built = build(rows, workers=2, progress=lambda done, total: calls.append(done))
    assert 0 < built.drawn <= 150 - 64
    assert calls[0] > 64
    assert calls[-1] == 150
    assert (built.x == np.arange(150).reshape(-1, 1, 1, 1)).all()
    assert leftovers(cache) == []


def test_an_interrupted_build_keeps_failures_too(cache: Path, rows: np.ndarray):
    for place in (3, 149):
        Path(rows[place]).write_bytes(b"junk")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(rows, workers=1, progress=stop)
    built = build(rows)
    assert built.drawn < 150
    assert built.x[:, 0, 0, 0].tolist() == [i for i in range(149) if i != 3]
    assert sorted(built.failures) == [3, 149]


def test_a_note_that_was_cut_short_takes_no_failure_with_it(cache: Path, rows: np.ndarray):
    work = unfinished(cache, rows)
    Path(rows[149]).write_bytes(b"junk")
    with (work / "done.jsonl").open("a") as notes:
        notes.write("[[64, 64, {")
    built = build(rows)
    assert 0 < built.drawn < 150
    assert sorted(built.failures) == [149]
    assert built.x[:, 0, 0, 0].tolist() == list(range(149))


def unfinished(cache: Path, rows: np.ndarray) -> Path:
    """The work of a build that has come to its first chunk."""

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(rows, workers=1, progress=stop)
    (work,) = leftovers(cache)
    return work


@pytest.mark.parametrize(
    "how",
    ["no pixels", "pixels cut short", "pixels of another shape", "no rows", "no job", "no notes", "notes cut short", "junk"],
)
def test_unfinished_work_that_is_damaged_is_not_trusted(cache: Path, rows: np.ndarray, how: str):
    work = unfinished(cache, rows)
    notes = work / "done.jsonl"
    match how:
        case "no pixels":
            (work / "x.npy").unlink()
        case "pixels cut short":
            os.truncate(work / "x.npy", 200)
        case "pixels of another shape":
            np.save(work / "x.npy", np.zeros((3, 1, 4, 4), np.uint8))
        case "no rows":
            (work / "rows.npy").unlink()
        case "no job":
            (work / "job.json").unlink()
        case "no notes":
            notes.unlink()
        case "notes cut short":
            notes.write_text(notes.read_text()[:-2])
        case "junk":
            notes.write_text("junk\n")
    built = build(rows)
    assert built.drawn == 150
    assert (built.x == np.arange(150).reshape(-1, 1, 1, 1)).all()
    assert leftovers(cache) == []


def test_a_build_killed_just_before_its_end_only_has_to_be_renamed(cache: Path, rows: np.ndarray):
    home = build(rows).home
    work = home.rename(cache / f".{home.name}")
    (work / "job.json").write_text("{}")
    built = build(rows)
    assert (built.drawn, built.seconds) == (0, 0.0)
    assert sorted(file.name for file in built.home.iterdir()) == ["store.json", "x.npy"]


def test_work_that_nobody_came_back_for_is_deleted_and_that_of_the_living_is_not(cache: Path, rows: np.ndarray):
    old, young, alive = (unfinished(cache, rows) if i == 0 else cache / f".other-{i:020}" for i in range(3))
    for path in (young, alive):
        path.mkdir()
    for path in (old, alive, *old.iterdir()):
        os.utime(path, (1, 1))
    mine = cache / "notes.txt"
    mine.write_text("not a store's")
    os.utime(mine, (1, 1))
    with locks.locked(cache / f"{alive.name}.lock"):
        build(rows[:3])
        assert not old.exists()
        assert young.exists()
        assert alive.exists()
        assert mine.exists()
    build(rows[:4])
    assert not alive.exists()
    assert not list(cache.glob(".*.lock"))


def test_a_full_disk_is_one_line_and_unfinished_work_of_others_makes_room(
    cache: Path, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    work = unfinished(cache, rows)
    reserve, calls = os.posix_fallocate, []

    def full(file: int, start: int, size: int) -> None:
        calls.append(size)
        if work.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(file, start, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert len(build(rows[:100]).x) == 100
    assert len(calls) == 2
    assert not work.exists()
    work.mkdir()
    with locks.locked(cache / f"{work.name}.lock"), pytest.raises(UserError, match="No space left on device") as caught:
        build(rows[:90])
    assert "\n" not in str(caught.value)
    assert str(cache) in str(caught.value)
    assert leftovers(cache) == [work]


def damage(home: Path, how: str) -> None:
    x, meta = home / "x.npy", home / "store.json"
    raw = x.read_bytes()
    match how:
        case "pixels cut short":
            x.write_bytes(raw[: len(raw) // 2])
        case "pixels empty":
            x.write_bytes(b"")
        case "pixels gone":
            x.unlink()
        case "pixels are text":
            x.write_bytes(b"hello" * 100)
        case "pixels of another shape":
            np.save(x, np.zeros((3, 1, 4, 4), np.uint8))
        case "pixels of another type":
            np.save(x, np.zeros((3, *SHAPE), np.float32))
        case "description cut short":
            meta.write_text(meta.read_text()[:-3])
        case "description empty":
            meta.write_text("")
        case "description is a list":
            meta.write_text("[]")
        case "description is null":
            meta.write_text("null")
        case "description without failures":
            meta.write_text(json.dumps({"format": store.FORMAT}))
        case "description of another format":
            meta.write_text(json.dumps({"format": 999, "failures": {}}))
        case "description gone":
            meta.unlink()


@pytest.mark.parametrize(
    "how",
    [
        "pixels cut short",
        "pixels empty",
        "pixels gone",
        "pixels are text",
        "pixels of another shape",
        "pixels of another type",
        "description cut short",
        "description empty",
        "description is a list",
        "description is null",
        "description without failures",
        "description of another format",
        "description gone",
    ],
)
def test_a_damaged_store_is_refused_with_one_line_that_names_it(cache: Path, rows: np.ndarray, how: str):
    build(rows[:3])
    (home,) = stores(cache)
    damage(home, how)
    with pytest.raises(UserError) as caught:
        build(rows[:3])
    assert str(home) in str(caught.value)
    assert "delete" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("below", [".", "deeper"])
def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows, below: str):
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "file" / below))
    with pytest.raises(UserError, match="could not be written"):
        build(rows[:3])


def test_the_cache_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LABELSPACE_CACHE", str(tmp_path / "mine"))
    assert user_cache.directory() == tmp_path / "mine"
    monkeypatch.delenv("LABELSPACE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache.directory() == tmp_path / "xdg" / "labelspace"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache.directory() == tmp_path / ".cache" / "labelspace"


def test_concurrent_builds_find_the_same_finished_store(cache: Path, rows: np.ndarray):
    barrier = threading.Barrier(3)
    found: list[store.Built | BaseException] = []

    def work() -> None:
        barrier.wait()
        try:
            found.append(build(rows))
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for built in found:
        assert isinstance(built, store.Built), built
        assert (built.x == np.arange(150).reshape(-1, 1, 1, 1)).all()
    assert len(stores(cache)) == 1
    assert leftovers(cache) == []


PROCESS = """
import sys

import numpy as np

from labelspace.data import store

rows = np.load(sys.argv[1])
sys.stdin.readline()
built = store.build("tiny", rows, (1, 8, 8), "files", {"size": [8, 8], "channels": 1})
print(int(built.x.sum()), flush=True)
"""


def test_two_processes_that_build_at_once_both_get_the_store(cache: Path, rows: np.ndarray, tmp_path: Path):
    np.save(tmp_path / "rows.npy", rows)
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "rows.npy")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=600)[0].strip() for process in processes]
    assert outputs == [str(64 * sum(range(150)))] * 2
    assert len(stores(cache)) == 1
    assert leftovers(cache) == []


def test_watched_builds_are_listed_and_say_where_they_are(cache: Path, rows: np.ndarray):
    with store.watched(workers=2) as found:
        build(rows)
        build(rows)
        build(rows[:3])
    assert [built.drawn for built in found] == [150, 0, 3]
    assert found[0].home == found[1].home in stores(cache)
    with store.watched() as later:
        pass
    assert later == []


SLOW = """
import sys
import time
from pathlib import Path

import numpy as np

GO = Path(__file__).with_name("go")


def draw(rows, failures):
    while rows[0] >= 384 and not GO.exists():
        time.sleep(0.02)
    return np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (len(rows), 1, 8, 8))


if __name__ == "__main__":
    from labelspace.data import store

    def report(done, total):
        print("progress", done, flush=True)

    built = store.build("slow", np.arange(900), (1, 8, 8), "slow_drawer:draw", {}, workers=2, progress=report)
    print("built", built.drawn, int((built.x[:, 0, 0, 0] == np.arange(900) % 256).all()), flush=True)
"""


@pytest.fixture
def slow(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a process that builds a store, but draws no row from 384 on before there is a file "go"."""
    (tmp_path / "slow_drawer.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    command = [sys.executable, str(tmp_path / "slow_drawer.py")]
    with ExitStack() as running:
        yield lambda: running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))


def until(process: subprocess.Popen[str], start: str) -> list[int]:
    """The numbers in the first line that starts so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return [int(part) for part in line.split()[1:]]
    raise AssertionError(f"no line {start!r}")


def test_a_builder_waits_for_one_that_is_alive_and_finds_its_store(cache: Path, tmp_path: Path, slow):
    first = slow()
    until(first, "progress")
    second = slow()
    (seen,) = until(second, "progress")
    assert 0 < seen <= 384  # what the other has done
    (tmp_path / "go").touch()
    assert until(first, "built") == [900, 1]
    assert until(second, "built") == [0, 1]
    assert first.wait() == second.wait() == 0
    assert len(stores(cache)) == 1
    assert leftovers(cache) == []


def test_what_a_killed_build_has_done_is_not_done_again(cache: Path, tmp_path: Path, slow):
    first = slow()
    (done,) = until(first, "progress")
    first.kill()
    first.wait()
    (tmp_path / "go").touch()
    (work,) = (path for path in leftovers(cache) if path.is_dir())
    second = slow()
    third = slow()
    ends = [until(process, "built") for process in (second, third)]
    assert second.wait() == third.wait() == 0
    assert [end[1] for end in ends] == [1, 1]
    drawn = sorted(end[0] for end in ends)
    assert drawn[0] == 0
    assert 0 < drawn[1] <= 900 - done
    assert not work.exists()
    assert leftovers(cache) == []


def test_a_builder_that_waits_takes_over_from_one_that_is_killed(cache: Path, tmp_path: Path, slow):
    first = slow()
    until(first, "progress")
    second = slow()
    until(second, "progress")
    first.kill()
    first.wait()
    (tmp_path / "go").touch()  # its workers, who are still there, find that nobody listens
    drawn, right = until(second, "built")
    assert second.wait() == 0
    assert right == 1
    assert 0 < drawn < 900
    assert leftovers(cache) == []


DEADLY = """
import os
import signal

import numpy as np


def draw(rows, failures):
    if rows[0] >= 384 and not os.path.exists(__file__ + ".go"):
        os.kill(os.getpid(), signal.SIGKILL)
    return np.zeros((len(rows), 1, 8, 8), np.uint8)
"""


def test_a_worker_that_is_killed_is_one_line_and_what_is_done_is_kept(cache: Path, tmp_path: Path, slow):
    (tmp_path / "deadly_drawer.py").write_text(DEADLY)
    with pytest.raises(UserError, match="killed by signal 9; what is done is kept"):
        store.build("deadly", np.arange(900), SHAPE, "deadly_drawer:draw", {}, workers=1)
    (tmp_path / "deadly_drawer.py.go").touch()
    assert 0 < store.build("deadly", np.arange(900), SHAPE, "deadly_drawer:draw", {}, workers=1).drawn < 900
    assert leftovers(cache) == []


CHATTY = """
import os

import numpy as np


def draw(rows, failures):
    os.write(2, b"a warning of a library\\n" * 1000)
    if rows[0] >= 576:
        raise ValueError("the last line")
    return np.zeros((len(rows), 1, 8, 8), np.uint8)
"""


def test_workers_that_say_much_do_not_stop(cache: Path, tmp_path: Path, slow):
    (tmp_path / "chatty_drawer.py").write_text(CHATTY)
    built = store.build("chatty", np.arange(500), SHAPE, "chatty_drawer:draw", {}, workers=1)
    assert sorted(file.name for file in built.home.iterdir()) == ["store.json", "x.npy"]
    with pytest.raises(UserError, match=r"^ValueError: the last line$"):
        store.build("chatty", np.arange(600), SHAPE, "chatty_drawer:draw", {}, workers=1)


def test_files_that_may_not_grow_are_one_line(cache: Path, slow):
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(UserError, match="could not be written: File too large"):
            store.build("slow", np.arange(900), SHAPE, "slow_drawer:draw", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert leftovers(cache) == []


KILLED = """
import time

import labelspace


def report(done, total):
    print(done, total, flush=True)
    time.sleep(120)  # the build is never finished


labelspace.open("faces:n=127,size=16", progress=report)
"""


def test_a_killed_build_leaves_no_store_and_the_next_build_succeeds(cache: Path):
    pytest.importorskip("skia")
    pytest.importorskip("python_avatars")
    import labelspace

    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    done, total = process.stdout.readline().split()
    assert 0 < int(done) < int(total) == 127
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert stores(cache) == []
    assert not [path for path in cache.iterdir() if path.name.startswith("faces-")]

    with store.watched() as found:
        data = labelspace.open("faces:n=127,size=16")
    assert 0 < found[0].drawn < 127
    assert data.notes  # it was drawn now
    assert len(stores(cache)) == 1
    assert data.x.shape == (127, 3, 16, 16)
    assert all(picture.any() for picture in data.x)
    assert labelspace.open("faces:n=127,size=16").notes == ()
