"""A model as a folder for a hub: read back without its run, a card that says what is known, and addresses of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import labelspace as ls
from labelspace.cli import main
from labelspace.evaluation import kept
from labelspace.export import folder
from labelspace.models.networks import Network
from labelspace.storage import hub


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("private-directory")
    rng = np.random.default_rng(0)
    np.savez(home / "table.npz", x=rng.normal(size=(50, 3)), on=rng.integers(0, 2, 50), dose=rng.normal(3, 2, 50))
    data = ls.open(f"npz:{home / 'table.npz'}", supervision=0.5)
    torch.manual_seed(0)
    ls.fit(ls.build("lsvae", data, latent=2, network=Network(width=4, depth=1)), data, out=home / "run", epochs=1)
    return home


def header(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---")[1])


def test_the_folder_is_a_model_of_its_own(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder.export(home / "run", "mine")
    assert sorted(file.name for file in Path("mine").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "schema.json",
    ]
    model, again = ls.load(home / "run"), ls.load("hf:./mine")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    text = Path("mine/README.md").read_text()
    assert header(text)["library_name"] == "labelspace"
    assert "license" not in header(text)
    assert str(home) not in text + Path("mine/config.json").read_text()
    assert "`npz:table.npz`" in text
    assert "50 samples" in text
    assert "only 50.00%" in text
    assert "Not measured." in text
    counts = ls.open(f"npz:{home / 'table.npz'}", supervision=0.5).describe()["labels"][0]
    assert f"0: {counts['counts']['0']} (" in text
    code = text.split("```python\n")[1].split("```")[0]
    exec(compile(code, "card", "exec"), {})


def test_the_card_takes_the_numbers_of_these_weights_only(home: Path, tmp_path: Path) -> None:
    score = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 40}
    found = {
        "data": f"npz:{home / 'table.npz'}",
        "split": "test",
        "samples": 40,
        "seed": 0,
        **kept.marked(home / "run", {}),
        "judge": {"on": score},
        "prediction": {},
        "seconds": {},
        "not measured": {},
    }
    path = home / "run" / "evaluation.json"
    try:
        path.write_text(json.dumps(found))
        text = folder.card(home / "run", ls.load(home / "run"), "mine", "mit")
        assert header(text)["license"] == "mit"
        assert "on 40 samples of the test split of `npz:table.npz`" in text
        assert "Weak judge, on: the judge itself reads on off real samples in 70.0%" in text
        path.write_text(json.dumps({**found, "model": "another"}))
        assert "of other weights" in folder.card(home / "run", ls.load(home / "run"), "mine")
    finally:
        path.unlink()


def test_a_saved_model_without_a_run_says_so(home: Path, tmp_path: Path) -> None:
    ls.save(ls.load(home / "run"), tmp_path / "saved")
    text = folder.card(tmp_path / "saved", ls.load(tmp_path / "saved"), "mine")
    assert "Not recorded: the model was saved without its run." in text
    (tmp_path / "saved" / "config.yaml").write_text((home / "run" / "config.yaml").read_text().replace("table.npz", "gone.npz"))
    text = folder.card(tmp_path / "saved", ls.load(tmp_path / "saved"), "mine")
    assert "could not be opened" in text
    assert str(home) not in text


def test_the_command_replaces_its_own_folders_only(home: Path, tmp_path: Path, monkeypatch, capsys, fails) -> None:
    monkeypatch.chdir(tmp_path)
    run = str(home / "run")
    for _ in range(2):
        assert main(["export", run, "--to", "hub", "--out", "mine", "--json"]) == 0
        assert "README.md" in json.loads(capsys.readouterr().out)["files"]
    Path("other").mkdir()
    Path("other/README.md").write_text("# mine")
    fails(["export", run, "--to", "hub", "--out", "other"], "holds other files")
    assert Path("other/README.md").read_text() == "# mine"
    fails(["export", "nowhere", "--to", "hub", "--out", "x"], "no such directory")
    fails(["export", run, "--to", "hub", "--out", "x", "--private"], "--push")
    fails(["export", run, "--to", "onnx", "--out", "x", "--push", "me/mine"], "--to hub")
    fails(["export", run, "--to", "onx", "--out", "x"], "did you mean 'onnx'")


def test_pushing_uploads_the_folder(home: Path, tmp_path: Path, monkeypatch, capsys, fails) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.chdir(tmp_path)
    called: list[Any] = []

    class Api:
        def create_repo(self, name: str, **given: Any) -> Any:
            called.append((name, given))
            return type("Url", (str,), {"repo_id": name})(f"https://hub/{name}")

        def upload_folder(self, **given: Any) -> None:
            called.append((given["repo_id"], sorted(file.name for file in Path(given["folder_path"]).iterdir())))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    arguments = ["export", str(home / "run"), "--to", "hub", "--out", "mine", "--push", "me/faces"]
    assert main([*arguments, "--private", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["url"] == "https://hub/me/faces"
    assert called[0] == ("me/faces", {"private": True, "exist_ok": True})
    assert called[1] == ("me/faces", ["README.md", "config.json", "model.safetensors", "schema.json"])
    assert Path("mine/README.md").read_text().count("# faces\n") == 1

    def refused(self: Any, name: str, **given: Any) -> None:
        raise huggingface_hub.errors.LocalTokenNotFoundError("no token")

    monkeypatch.setattr(Api, "create_repo", refused)
    fails(arguments, "mine is written, but could not be uploaded", "no token")


def test_models_of_the_hub_are_fetched_without_their_other_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked: list[Any] = []

    def fetched(name: str, **given: Any) -> str:
        asked.append(SimpleNamespace(name=name, **given))
        return str(home / "run")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assert ls.load("hf:me/faces@v2").schema.names == ("on", "dose")
    assert (asked[0].name, asked[0].revision) == ("me/faces", "v2")
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".py")) or "*" in name for name in asked[0].allow_patterns)
    ls.load("hf:me/faces")
    assert asked[1].revision is None


def test_what_cannot_be_fetched_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    fails(["embed", "hf:nobody/nothing", "digits", "--out", "c.npz"], "hf:nobody/nothing could not be fetched")
    for bad in ("hf:", "hf:a b", "hf:a/b/c"):
        with pytest.raises(ls.UserError, match="is not hf:OWNER/NAME"):
            hub.fetch(bad)
    with pytest.raises(ls.UserError, match="no such directory"):
        ls.load("hf:./nowhere")
