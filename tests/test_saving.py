"""Model files are refused with one clear line when they are not what they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace.errors import UserError
from labelspace.models.networks import Network
from labelspace.saving import warm_start
from labelspace.storage import tensorfiles


@pytest.fixture
def home(tmp_path: Path) -> Path:
    data = ls.open("swiss-roll:n=100")
    return ls.save(ls.build("lsvae", data), tmp_path / "model")


def refused(home: Path, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        ls.load(home)
    assert "\n" not in str(error.value)


def test_an_absent_or_empty_directory(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no such directory")
    refused(tmp_path, "holds no model")


@pytest.mark.parametrize("name", ["model.safetensors", "schema.json"])
def test_an_absent_file(home: Path, name: str) -> None:
    (home / name).unlink()
    refused(home, name)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights(home: Path, keep: int) -> None:
    file = home / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused(home, "truncated or not a safetensors file")


@pytest.mark.parametrize("name", ["config.json", "schema.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"labels": 3}'])
def test_damaged_json(home: Path, name: str, content: bytes) -> None:
    (home / name).write_bytes(content)
    refused(home, ".")


def test_weights_of_another_model(home: Path) -> None:
    tensorfiles.write(home / "model.safetensors", {"x": torch.zeros(3)})
    refused(home, "belongs to another model")


def test_weights_of_another_size(home: Path) -> None:
    config = json.loads((home / "config.json").read_text())
    config["arguments"]["latent"] += 1
    (home / "config.json").write_text(json.dumps(config))
    refused(home, "shape")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "newer than this version reads"),
        ({"model": "gan"}, "does not have"),
        ({"arguments": {"nonsense": 1}}, "does not fit"),
    ],
)
def test_a_configuration_of_something_else(home: Path, change: dict, said: str) -> None:
    config = json.loads((home / "config.json").read_text())
    (home / "config.json").write_text(json.dumps({**config, **change}))
    refused(home, said)


def test_loading_does_not_move_the_random_state(home: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    ls.load(home)
    assert torch.equal(torch.rand(1), expected)


def test_a_pickle_is_never_read(home: Path) -> None:
    torch.save({"x": torch.zeros(1)}, home / "model.safetensors")
    refused(home, "not a safetensors file")


# -- warm start -------------------------------------------------------------------------------------------------------


def test_a_warm_start_takes_what_fits_by_place_and_shape_and_says_what_not(tmp_path: Path) -> None:
    data = ls.open("swiss-roll:n=100")
    torch.manual_seed(0)
    theirs = ls.build("vae", data)
    home = ls.save(theirs, tmp_path / "vae")
    torch.manual_seed(1)
    model = ls.build("lsvae", data, latent=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    started = warm_start(model, home)
    source, after = theirs.state_dict(), model.state_dict()
    assert {"trunk.1.0.weight", "head.linear.weight"} <= set(started.taken)
    assert "decoder.0.0.weight" in started.left  # its input is wider: z and w
    assert set(started.taken) | set(started.left) == set(after)
    for name, tensor in after.items():
        expected = source[name] if name in started.taken else before[name]
        assert torch.equal(tensor.nan_to_num(), expected.nan_to_num()), name
    said = "\n".join(started.lines())
    assert said.startswith("taken: likelihood, trunk (")
    assert "not taken, not there: " in said
    assert "shape 256x2 there and 256x4 here" in said


def test_a_warm_start_from_the_same_class_takes_everything(tmp_path: Path) -> None:
    data = ls.open("swiss-roll:n=100")
    home = ls.save(ls.build("ccvae", data), tmp_path / "ccvae")
    left = warm_start(ls.build("ccvae", data), home).left
    measured = {"aggregate", "likelihood", "label_range", "label_columns"}
    assert {name.split(".")[0] for name in left} == measured  # measured when training ends, or of the data
    assert "likelihood.log_scale" not in left
    fixed = ls.save(ls.build("ccvae", data, scale=0.1), tmp_path / "fixed")
    assert warm_start(ls.build("ccvae", data, scale=0.2), fixed).left["likelihood.log_scale"] == "a setting"


def test_a_warm_start_from_nothing_that_fits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no model to start from"):
        warm_start(ls.build("vae", ls.open("swiss-roll:n=100")), tmp_path)
    home = ls.save(ls.build("vae", ls.open("swiss-roll:n=100"), network=Network(width=8)), tmp_path / "small")
    with pytest.raises(UserError, match=r"nothing in .* fits"):
        warm_start(ls.build("vae", ls.open("digits"), latent=5), home)
