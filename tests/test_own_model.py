"""A model and a data source of one's own, from a file: everything that is done with the library's own is done with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import labelspace as ls
from labelspace import models, plugins
from labelspace.blocks import modes
from labelspace.cli import main
from labelspace.data import sources
from labelspace.data.dataset import Dataset
from labelspace.evaluation import whole
from labelspace.explorer.session import Session
from labelspace.explorer.steps import SetLabel
from labelspace.explorer.workbench import Workbench
from labelspace.export import folder
from labelspace.models.base import Losses, Model
from labelspace.models.networks import Network
from labelspace.models.vae import VAE
from labelspace.training.progress import Callback

pytestmark = pytest.mark.usefixtures("hasty")

FILE = str(Path(__file__).parents[1] / "examples" / "own_model.py")
SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 64}
SMALL = Network(width=8, depth=1)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is registered, and nothing was loaded."""
    for registry in (models.OWN, sources.OWN):
        monkeypatch.setattr(registry, "_added", {})
    monkeypatch.setattr(plugins, "_loaded", {})


def built(**arguments) -> tuple[Model, Dataset]:
    data = ls.open("rings:n=300")
    torch.manual_seed(0)
    return ls.build("pivae", data, **{"latent": 2, "hidden": 8, **arguments}), data


@pytest.fixture
def run(own_model: ModuleType, tmp_path: Path) -> Path:
    model, data = built()
    ls.fit(model, data, out=tmp_path / "run", **SHORT)
    return tmp_path / "run"


def labelspace(*words: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    env = {**os.environ, **environment}
    command = [sys.executable, "-m", "labelspace.cli", *words]
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True, check=False)


def one_line(text: str) -> str:
    assert text.count("\n") <= 1, text
    return text


# -- the example ------------------------------------------------------------------------------------------------------


def test_the_example_prints_what_came_out(own_model: ModuleType, tmp_path: Path, capsys) -> None:
    own_model.main(tmp_path, "rings:n=300", epochs=2)
    said = capsys.readouterr().out
    assert "PiVAE on rings:n=300: negative ELBO" in said
    assert "ring=outer, mean: data" in said
    assert "edits that reach their value" in said
    assert len(Path(FILE).read_text().splitlines()) < 150


def test_an_edit_keeps_the_noise_and_exchanges_the_prior(own_model: ModuleType) -> None:
    model, data = built()
    x, (values, observed) = data.samples(range(6)), data.labels(range(6))
    code = modes(model.encode(x, values, observed))
    new = torch.ones(6)
    moved = model.intervene(code, "ring", new, values[:, 0])["z"]
    before, after = model.prior(values)["z"], model.prior(new[:, None])["z"]
    torch.testing.assert_close((moved - after.mean) / after.scale, (code["z"] - before.mean) / before.scale)
    torch.testing.assert_close(model.intervene(code, "ring", values[:, 0], values[:, 0])["z"], code["z"])


def test_new_samples_are_drawn_under_their_label(own_model: ModuleType) -> None:
    model, data = built()
    with torch.no_grad():
        model.get_submodule("label_prior")[-1].linear.weight.mul_(20)  # type: ignore[index,union-attr]  priors far apart
    ls.fit(model, data, **SHORT)
    assert bool(model.aggregate.get_buffer("mean_0").isnan().all())  # z is not drawn from where the codes of all labels lie
    for value in (0.0, 1.0):
        values = torch.full((2000, 1), value)
        drawn, prior = model.new_codes(values)["z"], model.prior(values[:1])["z"]
        assert ((drawn.mean(0) - prior.mean[0]) / prior.scale[0]).abs().max() < 0.15


# -- a run ------------------------------------------------------------------------------------------------------------


class _Interrupt(Callback):
    def epoch(self, row: dict) -> None:
        raise KeyboardInterrupt


def test_a_run_is_resumed_bit_for_bit(run: Path, tmp_path: Path) -> None:
    model, data = built()
    with pytest.raises(KeyboardInterrupt):
        ls.fit(model, data, out=tmp_path / "cut", callbacks=[_Interrupt()], **SHORT)
    model, data = built()
    again = ls.fit(model, data, out=tmp_path / "cut", resume=True, **SHORT).model.state_dict()
    for key, tensor in ls.load(run).state_dict().items():
        assert torch.equal(tensor.nan_to_num(), again[key].nan_to_num()), key


def test_a_run_is_edited_measured_reported_explored_and_exported(run: Path, tmp_path: Path) -> None:
    model, data = ls.open_run(run)
    x, labels = data.samples(range(4)), data.labels(range(4))
    assert ls.interventions.set(model, x, {"ring": "outer"}, labels).x.shape == x.shape
    found = whole.evaluate(model, data, depth="quick")
    assert found["prediction"]["ring"]["accuracy"]["n"] == len(data.rows("test"))
    assert main(["report", str(run), "--quick"]) == 0
    assert "Zhou, Wei 2020" in (run / "report.html").read_text()
    session = Session(Workbench.open(run))
    session.apply(SetLabel("ring", "outer"))
    assert torch.isfinite(session.x).all()
    given = folder.export(run, tmp_path / "hub")
    assert "`pivae` (Zhou, Wei 2020" in (given / "README.md").read_text()
    assert type(ls.load(f"hf:{given}")) is type(model)


@pytest.mark.slow
def test_onnx_graphs_agree(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from labelspace.export import onnx

    model, data = ls.open_run(run)
    about = onnx.export(model, tmp_path / "onnx", data.samples(range(8)))
    assert about["model"] == "pivae"
    assert all(graph["largest difference from PyTorch"] <= 1e-4 for graph in about["graphs"].values())


def test_it_is_a_transformer(own_model: ModuleType) -> None:
    data = ls.open("rings:n=300")
    made = ls.LabelspaceTransformer("pivae", epochs=1, arguments={"latent": 3}, random_state=0)
    assert made.fit(data.x, data.values[:, 0]).transform(data.x[:5]).shape == (5, 3)


# -- names ------------------------------------------------------------------------------------------------------------


def test_an_unknown_class_is_named_with_what_makes_it_known(run: Path, own_model: ModuleType, forgotten: None) -> None:
    assert json.loads((run / "config.json").read_text())["class"] == "examples_own_model:PiVAE"
    with pytest.raises(ls.UserError, match=r"'pivae' is 'examples_own_model:PiVAE', which is not known here.*plugin="):
        ls.load(run)
    assert type(ls.load(run, models=[own_model.PiVAE])) is own_model.PiVAE
    with pytest.raises(ls.UserError, match="not known here"):
        ls.load(run)  # it was for that call


def test_what_a_run_names_is_never_imported(run: Path, forgotten: None, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = json.loads((run / "config.json").read_text())
    for origin in ("trap:PiVAE", str(tmp_path / "trap.py") + ":PiVAE", ["trap"], "x" * 10_000):
        (run / "config.json").write_text(json.dumps({**config, "class": origin}))
        with pytest.raises(ls.UserError, match="not known here") as error:
            ls.load(run)
        assert len(str(error.value)) < 1000


def test_names_that_are_taken_are_refused(own_model: ModuleType) -> None:
    own = own_model.PiVAE
    with pytest.raises(ls.UserError, match="'lsvae' is one of labelspace's own"):
        ls.register(own, "lsvae")
    with pytest.raises(ls.UserError, match="'moons' is one of labelspace's own"):
        ls.register_source(own_model.rings, "moons")
    with pytest.raises(ls.UserError, match="small letters"):
        ls.register(own, "My VAE")
    assert ls.register(own) is own  # the same once more
    other = type("PiVAE", (VAE,), {"__module__": "elsewhere"})
    with pytest.raises(ls.UserError, match=r"registered already, by examples_own_model:PiVAE"):
        ls.register(other)
    assert ls.register(other, "other") is other
    assert models.model_class("other") is other
    assert {"lsvae", "pivae", "other"} <= set(models.names())


def test_a_class_defined_anew_takes_the_place_of_the_old(forgotten: None) -> None:
    first, second = (type("Mine", (VAE,), {"__module__": "a_notebook"}) for _ in range(2))
    ls.register(first)
    ls.register(second)
    assert models.model_class("mine") is second
    data = ls.open("moons:n=60")
    old = first(data.shape, data.schema)
    assert models.name_of(old) == "mine"  # made before the cell was run again


def test_what_is_not_registered_is_not_saved(own_model: ModuleType, forgotten: None, tmp_path: Path) -> None:
    data = ls.open("moons:n=60")
    model = own_model.PiVAE(data.shape, data.schema)
    for refused in (lambda: ls.save(model, tmp_path / "m"), lambda: ls.fit(model, data, out=tmp_path / "m", epochs=1)):
        with pytest.raises(ls.UserError, match="PiVAE is not registered"):
            refused()
    assert np.isfinite(ls.fit(model, data, epochs=1).best_score)


# -- the contract asks for little -------------------------------------------------------------------------------------


def test_a_model_of_few_lines_trains_and_predicts(forgotten: None, own_model: ModuleType, tmp_path: Path) -> None:
    class Short(own_model.PiVAE):
        """No description, one term of another name, no argument that defaults() suggests but ``latent``."""

        about = Model.about

        def __init__(self, shape, schema, frequencies, latent: int = 2, inner: Network = SMALL) -> None:
            super().__init__(shape, schema, frequencies, latent=latent, network=inner)

        def losses(self, batch, generator) -> Losses:
            terms = own_model.PiVAE.losses(self, batch, generator).objectives["model"]
            return Losses({"model": lambda: {"loss": torch.stack(list(terms().values())).sum()}})

    ls.register(Short)
    data = ls.open("moons:n=300")
    model = ls.build("short", data)
    assert model.blocks.size == 2
    fitted = ls.fit(model, data, out=tmp_path / "run", **SHORT)
    assert np.isfinite(fitted.best_score)
    loaded = ls.load(tmp_path / "run")
    assert loaded.arguments["inner"] == SMALL
    log_p = loaded.predict(data.samples(range(5))).log_table(0)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(5))


def test_a_class_without_a_constructor_is_loaded_again(forgotten: None, tmp_path: Path) -> None:
    mine = ls.register(type("Mine", (VAE,), {"__module__": __name__}))
    model = ls.build("mine", ls.open("moons:n=60"), latent=2)
    assert type(ls.load(ls.save(model, tmp_path / "m"))) is mine


def test_constructors_that_could_not_be_called_are_refused_at_once(forgotten: None) -> None:
    with pytest.raises(ls.UserError, match=r"Bare must take shape, schema, frequencies; schema is absent"):

        class Bare(Model):
            def __init__(self, shape, labels) -> None: ...

    class Untyped(Model):
        def __init__(self, shape, schema, frequencies, latent=3) -> None: ...

    with pytest.raises(ls.UserError, match="'latent' of Untyped needs an annotation"):
        ls.register(Untyped)
    with pytest.raises(ls.UserError, match="must be a class that extends"):
        ls.register(nn.Linear)  # type: ignore[type-var]


def test_a_model_without_its_parts_is_refused_at_once(forgotten: None) -> None:
    class Half(VAE):
        losses = Model.losses
        prior = Model.prior

    with pytest.raises(ls.UserError, match=r"'half' defines no prior and no losses; every model needs"):
        ls.register(Half)


def test_a_player_without_an_objective_is_named() -> None:
    with pytest.raises(ls.UserError, match="unknown objective of player 'adversary'"):
        Losses({"model": dict}).objective("adversary")


# -- data sources -----------------------------------------------------------------------------------------------------


def test_a_source_says_what_it_is(own_model: ModuleType) -> None:
    found = sources.source("rings")
    assert (found.form, found.about) == ("rings[:n=600,noise=0.1]", "Points on two rings around the origin; label ring.")
    data = ls.open("rings:n=200,noise=0", seed=3)
    assert (len(data), data.seed, data.address) == (200, 3, "rings:n=200,noise=0")
    with pytest.raises(ls.UserError, match="unknown option of address 'rings': 'm'"):
        ls.open("rings:m=3")


def test_sources_that_could_not_be_opened_are_refused(forgotten: None) -> None:
    def nothing(address: str) -> None: ...

    def untyped(address: str, n) -> None: ...

    ls.register_source(nothing)  # type: ignore[type-var]
    with pytest.raises(ls.UserError, match=r"'nothing' must return a .*Dataset, got NoneType"):
        ls.open("nothing")
    with pytest.raises(ls.UserError, match="option 'n' of data source 'untyped' needs a default"):
        ls.register_source(untyped)  # type: ignore[type-var]


# -- plug-ins ---------------------------------------------------------------------------------------------------------


def test_the_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(Path(FILE).read_text())
    words = ("--model", "pivae", "--epochs", "1", "--set", "hidden=8", "--out", "run", "--no-report")
    done = labelspace("train", "rings:n=300", *words, "--plugin", "own.py", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["class"] == "own.py:PiVAE"
    edit = ("edit", "run", "test:0", "--set", "ring=outer", "--out", "edit.csv")
    refused = labelspace(*edit, home=tmp_path)
    assert refused.returncode == 2
    assert "'pivae' is 'own.py:PiVAE', which is not known here" in one_line(refused.stderr)
    assert labelspace(*edit, home=tmp_path, LABELSPACE_PLUGINS="own.py").returncode == 0
    assert (tmp_path / "edit.csv").exists()


def test_commands_take_the_same_option(run: Path, forgotten: None, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    resume = ["train", "--resume", "--out", str(run), "--no-report"]
    assert main(resume) == 2
    assert "unknown data address 'rings'" in one_line(capsys.readouterr().err)
    assert main([*resume, "--plugin", FILE]) == 0
    assert main(["models", "--json"]) == 0
    assert "pivae" in json.loads(capsys.readouterr().out)
    assert main(["data", "list", "--json"]) == 0
    assert "rings" in [row["name"] for row in json.loads(capsys.readouterr().out)]
    session = Session(Workbench.open(run))
    session.apply(SetLabel("ring", "outer"))
    assert f"--plugin {FILE}" in session.command()
    scope: dict = {}
    exec(compile(session.python(), "copied", "exec"), scope)
    assert torch.equal(scope["edit"].x, session.x.view_as(scope["edit"].x))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def (", "SyntaxError"),
        ("import labelspace as ls\nfrom labelspace.models.vae import VAE\nls.register(VAE, 'm2')", "one of labelspace's own"),
        (None, "is not there"),
    ],
)
def test_a_broken_plugin_is_one_line(text: str | None, said: str, forgotten: None, tmp_path: Path, capsys) -> None:
    file = tmp_path / "broken.py"
    if text is not None:
        file.write_text(text)
    assert main(["models", "--plugin", str(file)]) == 2
    err = one_line(capsys.readouterr().err)
    assert f"plug-in {file}" in err
    assert said in err


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes installed packages with entry points."""
    monkeypatch.syspath_prepend(tmp_path / "site")

    def make(name: str, points: str, code: str) -> None:
        module = name.replace("-", "_")
        info = tmp_path / "site" / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        (tmp_path / "site" / f"{module}.py").write_text(code)

    yield make
    for name in ("good_models", "bad_models", "more_models"):
        sys.modules.pop(name, None)


def test_installed_packages_bring_models_and_sources(package, forgotten: None, tmp_path: Path, capsys) -> None:
    points = "[labelspace.models]\npivae = good_models:PiVAE\n\n[labelspace.sources]\nhoops = good_models:rings\n"
    code = Path(FILE).read_text().replace("@ls.register_source\n", "").replace("@ls.register\n", "")
    package("good-models", points, code)
    package("bad-models", "[labelspace.models]\nbroken = bad_models:Broken\n", "import nothing_of_this_name\n")
    data = ls.open("hoops:n=100")
    assert "bad_models" not in sys.modules
    model = ls.build("pivae", data, latent=2)
    assert type(model).__module__ == "good_models"
    assert type(ls.load(ls.save(model, tmp_path / "m"))) is type(model)
    with pytest.raises(ls.UserError, match=r"'broken' of package bad-models cannot be loaded: ModuleNotFoundError"):
        ls.build("broken", data)
    assert main(["models", "--json"]) == 0
    listed = capsys.readouterr()
    assert "pivae" in json.loads(listed.out)
    assert "package bad-models cannot be loaded" in one_line(listed.err)


def test_a_model_in_two_packages_is_refused(package, forgotten: None) -> None:
    for name in ("good-models", "more-models"):
        package(name, f"[labelspace.models]\npivae = {name.replace('-', '_')}:PiVAE\n", "")
    with pytest.raises(ls.UserError, match="in several packages, good-models and more-models"):
        models.model_class("pivae")


def test_a_class_of_a_package_is_saved_under_its_name_without_asking_for_it(package, forgotten: None, tmp_path: Path) -> None:
    code = "from labelspace.models.vae import VAE\n\n\nclass Mine(VAE): ...\n"
    package("good-models", "[labelspace.models]\nmine-too = good_models:Mine\n", code)
    import good_models  # type: ignore[import-not-found]

    data = ls.open("moons:n=60")
    home = ls.save(good_models.Mine(data.shape, data.schema), tmp_path / "m")
    assert json.loads((home / "config.json").read_text())["model"] == "mine-too"


def test_a_saved_model_whose_name_the_library_has_taken_since_is_not_taken_for_the_librarys(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "model": "ivae", "class": "own.py:IVAE"}))
    with pytest.raises(ls.UserError, match=r"'ivae' is 'own.py:IVAE', which is not known here"):
        ls.load(run)
