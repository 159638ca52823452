"""LSVAE: what balances it, and runs of earlier versions."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

import labelspace as ls
from labelspace import saving
from labelspace.data.batches import Batch, Batches
from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.base import Model
from labelspace.models.lsvae import LSVAE
from labelspace.models.networks import Network
from labelspace.models.parts import Erasure
from labelspace.storage import files


def mixed(images: bool) -> Dataset:
    """A binary, a categorical and a continuous label; of vectors one label in five is missing."""
    random, n, shape = np.random.default_rng(3), 240, (3, 16, 16) if images else (5,)
    values = np.stack([random.integers(0, 2, n), random.integers(0, 3, n), random.normal(2, 3, n)], 1).astype("f4")
    x = random.normal(size=(n, *shape)).astype("f4") * 0.2 + 0.5
    x += (values[:, :1] * 0.3).reshape(n, *[1] * len(shape))
    observed = random.random(values.shape) < (1.0 if images else 0.8)
    return Dataset(
        "generated",
        (x.clip(0, 1) * 255).astype(np.uint8) if images else x,
        np.where(observed, values, 0).astype("f4"),
        observed,
        Schema([binary("on"), categorical("kind", ("a", "b", "c")), continuous("size", 2, 3)]),
        {"train": np.arange(160), "val": np.arange(160, 200), "test": np.arange(200, n)},
    )


FORMER = {  # names of tensors when it was a form of the csvae, by their names now
    "w_trunk.": "label_trunk.",
    "w_head.": "label_head.",
    "label_head.": "labeller.",
    "w_prior.network.": "prior_network.",
    "erasure.": "balance.erasure.",
    "block_adversaries.": "balance.readers.",
    "leak_weight.": "balance.leak.",
    "block_leak_weight.": "balance.block_leak.",
    "typical.points": "points",
}


def as_the_head_was(model: Model) -> dict[str, torch.Tensor]:
    """Tensors of formats 1 and 2: the label head reads the features of w, and other things balance training."""
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("label_trunk.")}
    return {name: tensor[..., :1] if "block_adversaries" in name else tensor for name, tensor in own.items()}


def as_it_was_saved(model: Model, home: Path, balance: str = "dual") -> Path:
    """A model as the version before wrote it."""
    saving.save(model, home)
    config = files.read_json(home / "config.json")
    more = {"balance": balance, "adversary": True, "adversary_target": "marginal"}
    files.write_json(home / "config.json", {"format": 1, "model": "csvae", "arguments": config["arguments"] | more})
    tensors = {}
    for name, tensor in as_the_head_was(model).items():
        now = next((part for part in FORMER if name.startswith(part)), "")
        tensors[FORMER.get(now, "") + name.removeprefix(now)] = tensor
    files.write_tensors(home / "model.safetensors", tensors)
    return home


@pytest.mark.parametrize("prior", ["fixed", "learned"])
def test_a_csvae_that_balanced_itself_loads_and_says_what_it_is_now(
    prior: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = mixed(images=False)
    torch.manual_seed(0)
    model = ls.build("lsvae", data, prior=prior, latent=3, network=Network(width=8, depth=1))
    home = as_it_was_saved(model, tmp_path / "run")
    with caplog.at_level(logging.WARNING, "labelspace"):
        loaded = ls.load(home)
    assert isinstance(loaded, LSVAE)
    assert "csvae with balance=dual of an earlier version is lsvae now" in caplog.text
    anew = ("block_adversaries.", "leak_weight.", "block_leak_weight.")
    for name, tensor in loaded.state_dict().items():
        was = model.state_dict()[name.replace("label_trunk.", "w_trunk.")]
        assert name.startswith(anew) or torch.equal(tensor, was) or tensor.isnan().all(), name
    started = ls.build("lsvae", data, prior=prior, latent=3, network=Network(width=8, depth=1))
    assert "w_head.0.weight" in saving.warm_start(started, home).taken


def test_a_model_of_format_2_predicts_as_it_did(tmp_path: Path) -> None:
    data = mixed(images=False)
    torch.manual_seed(0)
    model = ls.build("lsvae", data, latent=3, network=Network(width=8, depth=1)).eval()
    assert isinstance(model, LSVAE)
    saving.save(model, tmp_path)
    files.write_json(tmp_path / "config.json", files.read_json(tmp_path / "config.json") | {"format": 2})
    files.write_tensors(tmp_path / "model.safetensors", as_the_head_was(model))
    x = data.samples(np.arange(5))
    features = model.w_trunk(model.likelihood.inputs(x))
    predicted = ls.load(tmp_path).predict(x).parameters
    torch.testing.assert_close(predicted, model.schema.distribution(model.label_head(features)).parameters)


def test_a_csvae_with_fixed_weights_of_an_earlier_version_is_refused_in_one_line(tmp_path: Path) -> None:
    model = ls.build("lsvae", ls.open("swiss-roll:n=100"), network=Network(width=4, depth=1))
    home = as_it_was_saved(model, tmp_path / "run", "fixed")
    with pytest.raises(UserError, match=r"config.json: it is of a csvae of an earlier version.*train it again"):
        ls.load(home)


def test_a_configuration_of_an_earlier_version_is_read_in_todays_words(tmp_path: Path) -> None:
    from labelspace.training.run import read_config

    (tmp_path / "config.yaml").write_text(
        "data: {address: swiss-roll, labels: [side], seed: 0, mislabelled: 0.1}\n"
        "model: {name: csvae, latent: 3, balance: dual, adversary: true, adversary_target: marginal}\n"
        "training: {epochs: 2, matrix_rate: 0.01, reader_rate: 0.002}\n"
    )
    found = read_config(tmp_path / "config.yaml")
    assert found["data"]["label_noise"] == 0.1
    assert found["model"] == {"name": "lsvae", "latent": 3}
    assert found["training"] == {"epochs": 2, "muon_learning_rate": 0.01, "auxiliary_learning_rate": 0.002}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prior": "fixd"}, "fixed"),
        ({"adversary_steps": 0}, "at least 1"),
        ({"leak": 0.0}, "positive"),
        ({"scale": 0.0}, "positive"),
    ],
)
def test_wrong_arguments_are_named(changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        LSVAE((4,), Schema([binary("a")]), **changes)


def test_a_label_that_no_sample_of_a_batch_has_moves_no_multiplier() -> None:
    data = ls.open("swiss-roll:n=200")
    x = data.samples(np.arange(32))
    schema = Schema([binary("a"), binary("b")])
    torch.manual_seed(0)
    m = LSVAE((3,), schema, latent=2, network=Network(width=8, depth=1)).train()
    observed = torch.tensor([[True, False]]).expand(32, -1)
    batch = Batch(x, torch.randint(0, 2, (32, 2), generator=torch.Generator().manual_seed(0)).float() * observed, observed)
    for step in range(20):
        losses = m.losses(batch, torch.Generator().manual_seed(step))
        for player in m.players():
            losses.objective(player)
        m.adapt(losses)
    assert float(m.leak_weight.value[1]) == 20.0
    assert float(m.leak_weight.value[0]) != 20.0
    assert sorted(float(v) == 2.0 for v in m.block_leak_weight.value) == [False, True]


@pytest.mark.parametrize(("harm", "kept"), [(0.0, True), (1.0, False)])
def test_exact_erasure_is_kept_where_reconstructions_stay_as_good(
    harm: float, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    data = ls.open("swiss-roll:n=600")
    m = ls.build("lsvae", data)
    ls.fit(m, data, epochs=2)
    x = data.samples(data.rows("test"))
    before = m.encode(x)["z"].mean

    def fix(self: Erasure, code: torch.Tensor, labels: torch.Tensor, share: torch.Tensor) -> None:
        self.center.fill_(1e-4)  # harmless
        self.projection = torch.full_like(self.projection, 500 * harm)

    monkeypatch.setattr(Erasure, "fix", fix)
    assert isinstance(m, LSVAE)
    erasure = m.erasure
    batches = list(Batches(data, "train", 128, shuffle=False))
    m.calibrate(lambda: batches)
    assert bool((erasure.center == torch.tensor(1e-4)).all()) == kept
    assert torch.equal(m.encode(x)["z"].mean, before) or kept


@pytest.mark.slow
def test_it_keeps_labels_out_of_z_and_in_w_on_the_swiss_roll() -> None:
    from labelspace.evaluation.edits import leakage

    data = ls.open("swiss-roll:n=4000")
    torch.manual_seed(0)
    m = ls.build("lsvae", data)
    ls.fit(m, data, epochs=15)
    found = leakage(m, data, np.concatenate([data.rows("val"), data.rows("test")]))["side"]
    assert found["own"]["logistic"]["value"] > 0.97
    assert found["free"]["logistic"]["value"] < 0.6
