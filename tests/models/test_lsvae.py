"""LSVAE: empty blocks, what balances it, and files of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import labelspace as ls
from labelspace import saving
from labelspace.data.batches import Batch
from labelspace.data.dataset import Dataset
from labelspace.errors import Unverified, UserError
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models.lsvae import LSVAE
from labelspace.models.networks import Network
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


@pytest.mark.parametrize("images", [False, True])
def test_pictures_begin_as_those_of_z_alone_and_learn_what_blocks_say(images: bool) -> None:
    model = ls.build("lsvae", data := mixed(images), network=Network(width=8))
    codes = torch.randn(6, model.blocks.size, generator=torch.Generator().manual_seed(0))
    others = torch.cat([codes[:, : model.blocks[0].size], codes.flip(0)[:, model.blocks[0].size :]], 1)

    def pictures(codes: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.eval().decode(model.blocks.split(codes)).mean

    assert torch.equal(pictures(codes), pictures(others))
    assert not torch.equal(pictures(codes), pictures(codes.flip(0)))
    ls.fit(model, data, epochs=1)
    assert not torch.equal(pictures(codes), pictures(others))


@pytest.mark.parametrize(
    ("model", "version", "more"),
    [("lsvae", 4, {}), ("lsvae", 2, {}), ("csvae", 1, {"balance": "dual"}), ("csvae", 1, {"balance": "fixed"})],
)
def test_models_of_earlier_versions_are_refused_in_one_line(model: str, version: int, more: dict, tmp_path: Path) -> None:
    saving.save(ls.build("lsvae", ls.open("swiss-roll:n=100"), network=Network(width=4, depth=1)), tmp_path)
    config = files.read_json(tmp_path / "config.json")
    config |= {"format": version, "model": model, "arguments": config["arguments"] | more}
    files.write_json(tmp_path / "config.json", config)
    with pytest.raises(UserError, match=rf"config.json: it is of an earlier version's {model}.*train it again"):
        ls.load(tmp_path)


def test_a_configuration_of_an_earlier_version_is_read_in_todays_words(tmp_path: Path) -> None:
    from labelspace.training.run import read_config

    (tmp_path / "config.yaml").write_text(
        "data: {address: swiss-roll, labels: [side], seed: 0, mislabelled: 0.1}\n"
        "model: {name: csvae, latent: 3}\n"
        "training: {epochs: 2, matrix_rate: 0.01, reader_rate: 0.002}\n"
    )
    found = read_config(tmp_path / "config.yaml")
    assert found["data"]["label_noise"] == 0.1
    assert found["model"] == {"name": "csvae", "latent": 3}
    assert found["training"] == {"epochs": 2, "muon_learning_rate": 0.01, "auxiliary_learning_rate": 0.002}


# -- empty blocks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", ["off", "on"])
@pytest.mark.parametrize("prior", ["fixed", "learned"])
def test_where_a_label_is_off_its_block_holds_nothing_of_the_sample(empty: str, prior: str) -> None:
    data = mixed(images=False)
    torch.manual_seed(0)
    m = ls.build("lsvae", data, empty=empty, prior=prior, latent=3, subspace=2, network=Network(width=8, depth=1))
    x = data.samples(np.arange(6))
    values = torch.tensor([[0.0, 1.0, 2.0], [1.0, 1.0, 2.0]]).repeat_interleave(3, 0)
    q = m.posterior(x, values, torch.ones_like(values, dtype=torch.bool))
    p = m.prior(values)
    off = slice(0, 3) if empty == "off" else slice(3, 6)
    on = slice(3, 6) if empty == "off" else slice(0, 3)
    assert torch.equal(q["w.on"].mean[off], p["w.on"].mean[off])
    of_second = torch.tensor([False, False, True, True, False, False])  # the coordinates of the second of three classes
    assert torch.equal(q["w.kind"].mean != p["w.kind"].mean, of_second.expand(6, -1))
    assert bool((q["w.on"].mean[on] != p["w.on"].mean[on]).all())
    assert bool((q["w.size"].mean != p["w.size"].mean).all())  # of a number no value is nothing
    kl = q["w.on"].kl_per_dimension(p["w.on"]).detach()
    assert float(kl[off].abs().max()) == 0.0
    assert float(kl[on].min()) > 0


def test_the_empty_value_is_the_one_in_which_samples_vary_less_and_is_saved(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 2, (400, 2)).astype("f4")
    x = random.normal(size=(400, 6)).astype("f4")
    x[:, 0] += np.where(values[:, 0] == 1, random.normal(0, 3, 400), 0)  # glasses: many ways of having them
    x[:, 1] += np.where(values[:, 1] == 0, random.normal(0, 3, 400), 0)  # bald: many ways of not being it
    data = Dataset(
        "generated",
        x,
        values,
        np.ones(values.shape, bool),
        Schema([binary("glasses"), binary("bald")]),
        {"train": np.arange(300), "val": np.arange(300, 350), "test": np.arange(350, 400)},
    )
    m = ls.build("lsvae", data, network=Network(width=8, depth=1))
    saving.save(m, tmp_path)
    for model in (m, ls.load(tmp_path)):
        assert isinstance(model, LSVAE)
        assert model.w_prior.turned.tolist() == [False, True]
    other = ls.build("lsvae", data, empty="off", network=Network(width=8, depth=1))
    assert isinstance(other, LSVAE)
    assert not other.w_prior.turned.any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prior": "fixd"}, "fixed"),
        ({"empty": "of"}, "did you mean 'off'"),
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
    assert float(m.independence.weight.value[1]) == 20.0
    assert float(m.independence.weight.value[0]) != 20.0
    assert sorted(float(v) == 2.0 for v in m.block_leak_weight.value) == [False, True]


def test_the_weight_of_a_leak_ends_where_codes_would_run_from_the_adversary() -> None:
    torch.manual_seed(0)
    schema = Schema([binary("a")])
    told = torch.tensor([[0.6], [0.7]])  # most of the label, whatever is done
    for leak, most in ((20.0, 100.0), (300.0, 300.0)):
        m = LSVAE((3,), schema, latent=2, leak=leak, network=Network(width=8, depth=1))
        for falling in range(2000):
            m.independence.weight.update(told * 0.9995**falling, torch.tensor([True]))
        assert float(m.independence.weight.value) <= most


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_an_older_model_s_erasure_becomes_part_of_the_layer_that_it_followed(kind: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    m = LSVAE((3,), Schema([binary("a")]), latent=2, network=Network(width=8, depth=1))
    x, y = torch.randn(5, 3), torch.ones(5, 1)
    before = m.encode(x, y)["z"].mean
    saving.save(m, tmp_path / "m")
    projection, center = torch.randn(2, 2), torch.randn(2)
    tensors = load_file(tmp_path / "m/model.safetensors")
    tensors |= {"head.linear.weight": tensors["head.linear.weight"].to(kind)}
    older = {"erasure.projection": projection, "erasure.center": center, "erasure.updates": torch.zeros(())}
    older = tensors | older
    save_file(older, tmp_path / "m/model.safetensors")
    config = json.loads((tmp_path / "m/config.json").read_text())
    (tmp_path / "m/config.json").write_text(json.dumps(config | {"format": 8}))
    with pytest.warns(Unverified):
        loaded = ls.load(tmp_path / "m")
    torch.testing.assert_close(
        loaded.encode(x, y)["z"].mean,
        before - (before - center) @ projection.T,
        atol=1e-5 if kind == torch.float32 else 0.01,
        rtol=1e-3,
    )
    save_file(older | {"erasure.center": torch.randn(3)}, tmp_path / "m/model.safetensors")
    with pytest.raises(UserError, match="damaged"), pytest.warns(Unverified):
        ls.load(tmp_path / "m")


@pytest.mark.parametrize("damaged", [False, True])
def test_an_older_model_has_one_point_of_a_value_for_all_samples(damaged: bool, tmp_path: Path) -> None:
    m = LSVAE((3,), Schema([binary("a"), categorical("b", ["p", "q", "r"])]), latent=2, network=Network(width=8, depth=1))
    saving.save(m, tmp_path / "m")
    tensors = {k: v for k, v in load_file(tmp_path / "m/model.safetensors").items() if not k.startswith("typical.")}
    points = torch.randn(5, m.blocks.of("b").size)
    points[1] = torch.nan  # of a value that no training sample had
    tensors["typical.points"] = points[:3, :2].contiguous() if damaged else points
    save_file(tensors, tmp_path / "m/model.safetensors")
    config = json.loads((tmp_path / "m/config.json").read_text())
    (tmp_path / "m/config.json").write_text(json.dumps(config | {"format": 9}))
    if damaged:
        with pytest.raises(UserError, match="typical"), pytest.warns(Unverified):
            ls.load(tmp_path / "m")
        return
    with pytest.warns(Unverified):
        loaded = ls.load(tmp_path / "m")
    assert isinstance(loaded, LSVAE)
    codes, typical = m.blocks.split(torch.randn(4, m.blocks.size)), loaded.typical
    assert typical is not None
    put = typical.put(loaded, codes, "b", torch.tensor([0.0, 2.0, 2.0, 0.0]))
    assert put is not None
    torch.testing.assert_close(put["w.b"], points[torch.tensor([2, 4, 4, 2])])
    assert typical.put(loaded, codes, "a", torch.ones(4)) is None
    put = typical.put(loaded, codes, "a", torch.zeros(4))
    assert put is not None
    torch.testing.assert_close(put["w.a"], points[:1, : m.blocks.of("a").size].expand(4, -1))


@pytest.mark.slow
def test_it_keeps_labels_out_of_z_and_in_w_on_the_swiss_roll() -> None:
    from labelspace.evaluation.probing import probes, said

    data = ls.open("swiss-roll:n=4000")
    torch.manual_seed(0)
    m = ls.build("lsvae", data)
    ls.fit(m, data, epochs=15)
    found = probes(m, data, np.concatenate([data.rows("val"), data.rows("test")]))["side"]
    assert said(found["own_hidden"], "draws")["value"] > 0.97
    assert said(found["free"], "draws")["value"] < 0.6
