"""What the explorer's tests share: runs of all kinds of data, and one small trained model of faces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import labelspace as ls
from labelspace.explorer.session import Session
from labelspace.explorer.workbench import Workbench
from labelspace.models.base import Model
from labelspace.models.networks import Network


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory, listening: Callable[[Model], Model]) -> Callable[..., Path]:
    """Makes an untrained run of a model and a data address, as training leaves it; points of an LSVAE's blocks are pairs."""

    def make(model: str, address: str, labels: tuple[str, ...] | None = None, **arguments) -> Path:
        home = tmp_path_factory.mktemp("run")
        data = ls.open(address, labels)
        arguments = {**({"subspace": 2} if model == "lsvae" else {}), **arguments}
        torch.manual_seed(0)
        made = ls.build(model, data, **arguments)
        ls.save(listening(made) if model == "lsvae" else made, home)
        config = {
            "data": {"address": address, "labels": list(data.schema.names), "seed": 0},
            "model": {"name": model},
            "training": {},
        }
        (home / "config.yaml").write_text(yaml.safe_dump(config))
        return home

    return make


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of vectors with a label of every kind, some of them missing."""
    rng = np.random.default_rng(0)
    n = 200
    kind = rng.integers(0, 3, n)
    on = rng.integers(0, 2, n).astype(float)
    on[:10] = np.nan
    x = rng.normal(size=(n, 5)) + kind[:, None] + np.nan_to_num(on)[:, None] * [0, 2, 0, 0, 0]
    file = tmp_path_factory.mktemp("vectors") / "made.npz"
    amount = rng.normal(4, 2, n)
    np.savez(file, x=x.astype(np.float32), on=on, kind=np.array(["red", "green", "blue"])[kind], amount=amount)
    return f"npz:{file}"


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a table with numbers and words, some cells missing; labels are kind and on."""
    rng, file = np.random.default_rng(3), tmp_path_factory.mktemp("things") / "things.csv"
    rows = ["amount,colour,size,kind,on"]
    for i in range(120):
        cells = [f"{rng.normal(5 + i % 3):.2f}", ["deep red", "pale blue"][i % 2], f"{rng.normal():.2f}"]
        cells = ["" if rng.random() < 0.05 else cell for cell in cells]
        rows.append(",".join([*cells, ["oak", "ash", "elm"][i % 3], str(i // 7 % 2)]))
    file.write_text("\n".join(rows) + "\n")
    return f"table:{file}"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of small pictures whose upper half is lit where a label is on."""
    rng = np.random.default_rng(1)
    on = rng.integers(0, 2, 160)
    x = rng.integers(0, 60, (160, 3, 16, 16))
    x[on == 1, :, :8] += 150
    file = tmp_path_factory.mktemp("pictures") / "lit.npz"
    np.savez(file, x=x.astype(np.uint8), lit=on)
    return f"npz:{file}"


@pytest.fixture(scope="session")
def session_of(run_of: Callable[..., Path]) -> Callable[..., Session]:
    """Makes a session on an untrained model of a data address."""
    benches: dict[tuple, Workbench] = {}

    def make(model: str, address: str, **arguments) -> Session:
        key = (model, address, *sorted(arguments.items()))
        if key not in benches:
            benches[key] = Workbench.open(run_of(model, address, **arguments))
        return Session(benches[key])

    return make


@pytest.fixture(scope="session")
def faces_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of small faces that really adds and removes glasses; trained once, whichever worker comes first."""
    pytest.importorskip("skia")
    pytest.importorskip("python_avatars")
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "explorer-faces"
    done, failed = home / "done", home / "failed"
    try:
        home.mkdir()
    except FileExistsError:
        for _ in range(600):
            if done.exists():
                return home / "run"
            if failed.exists():
                pytest.fail("the worker that trains the run failed")
            time.sleep(0.5)
        pytest.fail("the run that another worker trains was not finished in five minutes")
    try:
        data = ls.open("faces:n=700,size=24", labels=["Eyeglasses"])
        torch.manual_seed(0)
        model = ls.build("lsvae", data, latent=16, subspace=2, network=Network(width=24))
        ls.fit(model, data, out=home / "run", epochs=24, batch_size=32)
    except BaseException:
        failed.touch()
        raise
    done.touch()
    return home / "run"


# -- servers and browsers ---------------------------------------------------------------------------------------------


@contextmanager
def _served(run: Path, *arguments: str, port: int = 0) -> Iterator[str]:
    command = [sys.executable, "-m", "labelspace.cli", "explore", str(run), "--no-browser", "--json", "--port", str(port)]
    with tempfile.TemporaryFile("w+") as problems:
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=problems, text=True)
        late = threading.Timer(600, process.kill)
        late.start()
        try:
            said = ""
            assert process.stdout is not None
            while not said.rstrip().endswith("}"):
                line = process.stdout.readline()
                if not line:
                    problems.seek(0)
                    raise ChildProcessError(problems.read())
                said += line
            late.cancel()
            yield json.loads(said)["url"]
        finally:
            late.cancel()
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        problems.seek(0)
        written = problems.read()
        assert "Traceback" not in written, written


@pytest.fixture(scope="session")
def server() -> Callable[..., AbstractContextManager[str]]:
    """Starts an explorer of a run as a program of its own, with more arguments of the command; it gives the address.

    A server that ended, or said nothing for too long, is a ChildProcessError with what it wrote. What it writes until it is
    ended holds no traceback.
    """
    return _served


@pytest.fixture(scope="module")  # its event loop must be gone before other tests run theirs
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as program:
        found = program.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens addresses in tabs of their own; errors on the page fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True, reduced_motion="reduce")
    context.set_default_timeout(90_000)  # a machine may be busy
    problems: list[str] = []

    def make(url: str, *, alone: bool = False, **size: int) -> Any:
        page = context.new_page()
        if size:
            page.set_viewport_size(size)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(url)
        page.wait_for_selector(".map")
        if not alone:  # without a server
            page.wait_for_function("window.did_handshake")
        return page

    yield make
    context.close()
    assert not problems
