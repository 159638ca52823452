"""Programs as users write them: from import to an edited sample in under fifteen lines, and checked by their type checkers."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import labelspace as ls
from labelspace import models

PROGRAMS = {
    "frame": """
        import numpy as np, pandas as pd, labelspace as ls
        rng = np.random.default_rng(0)
        frame = pd.DataFrame({"age": rng.normal(50, 9, 200), "treated": rng.integers(0, 2, 200)})
        frame["ward"] = rng.choice(["a", "b"], 200)
        data = ls.open(frame, ["treated"])
        fitted = ls.fit(ls.build("condvae", data), data, epochs=2)
        edited = ls.interventions.set(fitted.model, frame[:5], {"treated": 1}).to_frame()
        assert edited["treated"].tolist() == [1] * 5 and list(edited.columns) == list(frame.columns)
    """,
    "arrays": """
        import numpy as np, labelspace as ls
        x, y = np.random.default_rng(0).normal(size=(200, 6)), np.arange(200) % 3
        data = ls.open(x, {"group": y})
        fitted = ls.fit(ls.build("condvae", data), data, epochs=2)
        edited = ls.interventions.set(fitted.model, x[:4].astype("f4"), {"group": 2}, {"group": y[:4]})
        assert edited.x.shape == (4, 6) and isinstance(edited.x, np.ndarray)
    """,
    "pictures": """
        import numpy as np, labelspace as ls
        from PIL import Image
        pictures = [Image.new("RGB", (40 + i, 30), (i * 4, 90, 0)) for i in range(60)]
        data = ls.Dataset.from_images(pictures, {"bright": [i > 30 for i in range(60)]}, size=16)
        fitted = ls.fit(ls.build("condvae", data), data, epochs=1)
        edited = ls.interventions.set(fitted.model, pictures[0], {"bright": 1}).image()
        assert edited.size == (40, 30)
    """,
    "cells": """
        import anndata, numpy as np, pandas as pd, labelspace as ls
        rng = np.random.default_rng(0)
        obs = pd.DataFrame({"state": rng.choice(["rest", "active"], 120)}, index=[f"c{i}" for i in range(120)])
        adata = anndata.AnnData(rng.poisson(3, (120, 12)).astype("f4"), obs=obs)
        data = ls.open(adata)
        model = ls.fit(ls.build("condvae", data), data, epochs=2).model
        model.encode(data).to_anndata(adata)
        edited = ls.interventions.set(model, adata[:5], {"state": "active"}).to_anndata()
        genes = ls.effects(model, data, "state", "rest", "active")
        assert "X_labelspace_z" in adata.obsm and (edited.obs["state"] == "active").all() and len(genes.q) == 12
    """,
    "torch": """
        import torch, labelspace as ls
        pairs = torch.utils.data.TensorDataset(torch.rand(90, 1, 8, 8), torch.arange(90) % 2)
        data = ls.Dataset.from_torch(pairs, "odd")
        model = ls.fit(ls.build("condvae", data), data, epochs=1).model
        x, values, observed = next(iter(torch.utils.data.DataLoader(data.torch("test"), batch_size=4)))
        edited = ls.interventions.set(model, x, {"odd": 1}, (values, observed))
        assert edited.x.shape == (4, 1, 8, 8)
    """,
    "own source": """
        import numpy as np, labelspace as ls
        def mine(n: int = 120, seed: int = 0):
            x = np.random.default_rng(seed).normal(size=(n, 4)).astype("f4")
            return ls.Dataset.from_arrays(x, {"big": x[:, 0] > 0}, seed=seed)
        ls.register_source(mine)
        data = ls.open("mine:n=150")
        model = ls.fit(ls.build("condvae", data), data, epochs=2).model
        edited = ls.interventions.set(model, data[3], {"big": 1})
        assert len(data) == 150 and edited.x.shape == (4,)
    """,
    "own model": """
        import labelspace as ls
        from labelspace.models.condvae import CondVAE
        @ls.register
        class Small(CondVAE):
            def __init__(self, shape, schema, frequencies=None, **rest):
                super().__init__(shape, schema, frequencies, **{"latent": 2, **rest})
        data = ls.open("moons:n=300")
        model = ls.fit(ls.build("small", data), data, epochs=2).model
        edited = ls.interventions.set(model, data[3], {"moon": data.schema["moon"].values[0]})
        assert edited.x.shape == (2,)
    """,
}

TYPED = """
import numpy as np

import labelspace as ls
from labelspace import interventions

data = ls.Dataset.from_arrays(np.zeros((20, 8, 8), np.uint8), {"g": [0, 1] * 10})
model = ls.build("condvae", data)
fitted = ls.fit(model, data, epochs=1, callbacks=[ls.EarlyStopping(3)])
edited = interventions.set(fitted.model, data.x[:3], {"g": 1})
array: np.ndarray = edited.x
shown = interventions.set(fitted.model, data[3], {"g": 1}).image()
size: tuple[int, int] = shown.size
codes = fitted.model.encode(data)["z"].mean(0)
found = ls.effects(model, data, "g", 0, 1).found(0.05)
name: str = found[0]
for sample in data:
    print(sample.labels["g"], len(data[:3]), sample.x.shape)
"""


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_fewer_than_fifteen_lines_from_import_to_an_edited_sample(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = textwrap.dedent(PROGRAMS[name]).strip()
    assert len(lines.splitlines()) < 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models.OWN, "_added", dict(models.OWN._added))  # what it registers is forgotten
    exec(compile(lines, name, "exec"), {"__name__": "program"})


def test_public_names_are_listed_and_there() -> None:
    assert set(ls.__all__) <= set(dir(ls))
    for name in ls.__all__:
        assert getattr(ls, name) is not None
    assert callable(ls.report)
    assert callable(ls.evaluate)
    done = subprocess.run(
        [sys.executable, "-c", "import labelspace, sys; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_training_alone_imports_no_compiler_and_no_library_for_several_processes(tmp_path: Path) -> None:
    """Each takes as long as PyTorch itself, and a small model less."""
    program = """
        import sys
        from labelspace.cli import main
        code = main(["train", "moons:n=100", "--epochs", "1", "--no-report", "--out", "run"])
        print(code, *(name for name in ("torch._dynamo", "lightning_fabric", "matplotlib") if name in sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "0", (done.stdout, done.stderr)


def test_what_does_not_train_imports_no_trainer_and_no_plots(tmp_path: Path) -> None:
    data = ls.open("moons:n=100")
    ls.fit(ls.build("condvae", data), data, epochs=1, out=tmp_path / "run")
    heavy = "torch._dynamo,lightning_fabric,matplotlib,pandas,sklearn,scipy.stats"
    edit = ["edit", "run", "test:0", "--set", "moon=" + str(data.schema["moon"].values[0]), "--out", "e.csv"]
    predict, embed = (["predict", "run", "moons:n=100", "--out", "p.csv"], ["embed", "run", "moons:n=100", "--out", "c.npz"])
    calls = [edit, predict, embed, ["generate", "run", "-n", "4", "--out", "g.csv"]]
    assert _imported(tmp_path, calls, heavy) == [[0, []]] * len(calls)
    light = {
        ("models",): 0,
        ("models", "--json"): 0,
        ("edit", "nowhere", "test:0", "--set", "a=1"): 2,
        ("edit", "run", "test:0", "--set", "mon=1"): 2,
    }
    assert _imported(tmp_path, list(light), "torch") == [[code, []] for code in light.values()]


def _imported(home: Path, calls: Sequence[Sequence[str]], names: str) -> list[list[Any]]:
    """The codes of calls of the command, one after the other in one process, and which of some modules were there then."""
    program = """
        import json, sys
        from labelspace.cli import main
        calls, names = json.loads(sys.argv[1]), sys.argv[2].split(",")
        found = [[main(words), [name for name in names if name in sys.modules]] for words in calls]
        print()
        print(json.dumps(found))
    """
    words = [sys.executable, "-c", textwrap.dedent(program), json.dumps(calls), names]
    done = subprocess.run(words, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_users_program_passes_pyright_without_unknown_types(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_users_program_passes_strict_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(TYPED)
    command = [sys.executable, "-m", "mypy", "--strict", "program.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "program.py" not in done.stdout or "Success" in done.stdout, done.stdout
