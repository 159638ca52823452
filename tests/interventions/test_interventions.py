"""Interventions change what they say, hold the rest, and say what they did."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import labelspace as ls
from labelspace import interventions as iv
from labelspace.blocks import Latents, modes
from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.errors import UserError
from labelspace.labels import Schema, binary, categorical
from labelspace.models.base import Model
from labelspace.models.networks import Network

SCHEMA = Schema([binary("a"), categorical("k", ("x", "y", "z"))])


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    n = 80
    values = np.stack([np.arange(n) % 2, np.arange(n) % 3], 1).astype(np.float32)
    x = rng.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8)
    return Dataset("made", x, values, np.ones(values.shape, bool), SCHEMA, random_splits(n, 0))


@pytest.fixture(scope="module")
def model(data: Dataset, listening: Callable[[Model], Model]) -> Model:
    torch.manual_seed(0)
    made = listening(ls.build("lsvae", data, latent=3, subspace=2, network=Network(width=8)))
    ls.fit(made, data, epochs=1)
    return made


def some(data: Dataset, n: int = 4):
    return data.samples(range(n)), data.labels(range(n))


def started(model: Model, x: Tensor, labels: tuple[Tensor, Tensor]) -> Latents[Tensor]:
    """The codes that edits start from."""
    with torch.no_grad():
        return model.as_drawn(modes(model.encode(x, *labels)), *labels)


def test_set_changes_one_block_and_holds_the_others(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    done = iv.set(model, x, {"a": 1}, labels)
    before = started(model, x, labels)
    assert done.x.shape == x.shape
    assert torch.equal(done.codes["z"], before["z"])
    assert torch.equal(done.codes["w.k"], before["w.k"])
    assert done.record.changed == ("w.a",)
    assert done.record.held == ("z", "w.k")
    assert done.record.source == {"a": [0, 1, 0, 1]}
    assert done.record.target == {"a": [1, 1, 1, 1]}
    json.dumps(done.record.to_dict())


def test_set_to_the_prior_point_and_to_a_draw(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    assert torch.equal(iv.set(model, x, {"a": 1}, labels, point="prior").codes["w.a"], torch.full((4, 2), 3.0))
    draws = [iv.set(model, x, {"a": 1}, labels, point="draw", generator=torch.Generator().manual_seed(s)).x for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_others_zero_puts_every_other_block_at_its_off_point(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    done = iv.set(model, x, {"a": 1}, labels, others="zero")
    off = model.prior(torch.zeros(4, 2))["w.k"].mean
    assert torch.equal(done.codes["w.k"], off)
    assert "w.k" in done.record.changed


def test_one_sample_and_a_batch_agree(model: Model, data: Dataset) -> None:
    x, (values, observed) = some(data)
    batch = iv.set(model, x, {"a": 1}, (values, observed)).x
    single = iv.set(model, x[2], {"a": 1}, (values[2:3], observed[2:3])).x
    assert single.shape == model.shape
    assert torch.allclose(single, batch[2], atol=1e-5)


def test_keep_detail_keeps_what_was_not_reconstructed_where_the_edit_changes_little(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    labels = (torch.where(torch.tensor([True, False]), 0, labels[0]), labels[1])  # who has the value stays as it is
    plain, kept = (iv.set(model, x, {"a": 1}, labels, keep_detail=k).x for k in (False, True))
    with torch.no_grad():
        reconstruction = model.decode(started(model, x, labels)).mean
    share = torch.exp(-(((plain - reconstruction).abs().amax(1, keepdim=True) / model.likelihood.resolution) ** 2))
    assert float(share.min()) < 0.5 < float(share.max())
    assert torch.allclose(kept, (plain + share * (x - reconstruction)).clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("scale", ["auto", 0.5])
def test_what_counts_as_a_change_is_in_the_units_of_the_data(scale: float | str) -> None:
    x = np.random.default_rng(0).normal(7, [10, 60, 1], (50, 3)).astype("f4")
    arranged = Dataset(
        "generated", x, np.zeros((50, 1), "f4"), np.ones((50, 1), bool), Schema([binary("a")]), {"train": np.arange(50)}
    )
    model = ls.build("lsvae", arranged, scale=scale, network=Network(width=4, depth=1))
    if scale == "auto":  # a third of each column's deviation
        expected = torch.from_numpy(x.std(0)) / 3
        torch.testing.assert_close(torch.as_tensor(model.likelihood.resolution), expected, rtol=1e-4, atol=0)
    else:
        assert float(model.likelihood.resolution) == pytest.approx(scale)


def test_keeping_detail_where_nothing_changes_gives_the_sample_back(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    done = iv.transfer(model, x, x, "a", labels, labels, keep_detail=True)
    assert torch.allclose(done.x, x, atol=1e-5)


def test_transfer_takes_the_donors_block_only(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    donor, donor_labels = data.samples([7]), data.labels([7])
    done = iv.transfer(model, x, donor, "a", labels, donor_labels)
    lent = started(model, donor, donor_labels)["w.a"]
    assert torch.equal(done.codes["w.a"], lent.expand(4, -1))
    assert done.record.changed == ("w.a",)
    assert done.record.target == {"a": [1, 1, 1, 1]}


def test_traverse_covers_a_plane_of_the_prior(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    done = iv.traverse(model, x, "a", labels, coordinates=(0, 1), steps=3)
    assert done.x.shape == (4, 3, 3, *model.shape)
    assert done.record.options["axes"] == [[1.0, 3.0, 5.0], [1.0, 3.0, 5.0]]
    codes = done.codes["w.a"].view(4, 3, 3, 2)
    assert torch.equal(codes[0, 0, 2], torch.tensor([1.0, 5.0]))


def test_traverse_of_the_data_and_of_given_numbers(model: Model, data: Dataset) -> None:
    x, (values, observed) = some(data)
    codes, _ = iv.encode_all(model, Batches(data, "train", 16, shuffle=False))
    done = iv.traverse(
        model, x[0], block="z", labels=(values[:1], observed[:1]), coordinates=(2,), span="data", data_codes=codes
    )
    low, high = np.quantile(codes["z"][:, 2].numpy(), [0.02, 0.98])
    assert done.x.shape == (7, *model.shape)
    assert done.record.options["axes"][0][0] == pytest.approx(low, abs=1e-5)
    assert done.record.options["axes"][0][-1] == pytest.approx(high, abs=1e-5)
    given = iv.traverse(model, x[0], "a", (values[:1], observed[:1]), span=(-1.0, 2.0), steps=4)
    assert given.record.options["axes"][0] == pytest.approx([-1, 0, 1, 2])


def test_interpolation_starts_and_ends_at_the_reconstructions(model: Model, data: Dataset) -> None:
    x, (values, observed) = some(data)
    done = iv.interpolate(model, x[:2], x[2:], (values[:2], observed[:2]), (values[2:], observed[2:]), steps=5)
    assert done.x.shape == (2, 5, *model.shape)
    with torch.no_grad():
        ends = model.decode(started(model, x, (values, observed))).mean
    assert torch.allclose(done.x[:, 0], ends[:2], atol=1e-5)
    assert torch.allclose(done.x[:, -1], ends[2:], atol=1e-5)


def test_interpolation_of_one_block_holds_the_rest(model: Model, data: Dataset) -> None:
    x, (values, observed) = some(data)
    done = iv.interpolate(model, x[0], x[1], (values[:1], observed[:1]), (values[1:2], observed[1:2]), blocks=["w.a"], steps=3)
    assert done.record.changed == ("w.a",)
    assert torch.equal(done.codes["z"][0], done.codes["z"][2])


def test_resample_draws_one_block(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    done = iv.resample(model, x, "a", labels, n=5, generator=torch.Generator().manual_seed(0))
    assert done.x.shape == (4, 5, *model.shape)
    assert done.record.changed == ("w.a",)
    assert not torch.equal(done.x[0, 0], done.x[0, 1])


def test_generate_gives_what_was_asked_and_repeats_with_its_seed(model: Model, data: Dataset) -> None:
    first, again = (iv.generate(model, {"k": "y"}, 6, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.x.shape == (6, *model.shape)
    assert torch.equal(first.x, again.x)
    assert first.record.target["k"] == ["y"] * 6
    x, _ = some(data, 1)
    kept = iv.generate(model, {"a": 1}, 3, keep=x[0])
    assert kept.record.held == ("z",)


def test_new_samples_come_from_where_codes_lie_or_from_the_prior(model: Model, data: Dataset) -> None:
    def drawn(source: str) -> iv.Intervention:
        return iv.generate(model, {"a": 1}, 500, source=source, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]

    model.aggregate.get_buffer("mean_0").fill_(7.0)
    model.aggregate.get_buffer("factor_0").copy_(0.1 * torch.eye(model.blocks[0].size))
    assert drawn("codes").record.options["source"] == "codes"
    assert float((drawn("codes").codes["z"].mean(0) - 7).abs().max()) < 0.05
    assert float(drawn("prior").codes["z"].mean(0).abs().max()) < 0.3
    model.aggregate.get_buffer("mean_1").fill_(torch.nan)  # nothing was measured there
    torch.testing.assert_close(drawn("codes").codes["w.a"], drawn("prior").codes["w.a"])
    model.aggregate.get_buffer("mean_1").fill_(-5.0)
    model.aggregate.get_buffer("scale_1").fill_(0.1)
    assert float((drawn("codes").codes["w.a"] + 5).abs().max()) < 1
    x, labels = some(data)
    done = iv.resample(model, x, None, labels, block="z", n=3)
    assert float((done.codes["z"] - 7).abs().max()) < 1
    with pytest.raises(ls.UserError, match="prior"):
        drawn("prio")


def test_unknown_own_labels_are_predicted(model: Model, data: Dataset) -> None:
    x, _ = some(data)
    assert iv.set(model, x, {"a": 1}).record.source["a"] == [int(v) for v in model.predict(x).mode()[:, 0]]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m, x: iv.set(m, x, {"b": 1}), "unknown label 'b'"),
        (lambda m, x: iv.set(m, x, {"a": 2}), "expected 0 or 1"),
        (lambda m, x: iv.set(m, x, {"a": None}), "set to nothing"),
        (lambda m, x: iv.set(m, x, {"a": 1}, point="prio"), "did you mean 'prior'"),  # type: ignore[arg-type]
        (lambda m, x: iv.set(m, x[:, :, :4], {"a": 1}), "shape"),
        (lambda m, x: iv.set(m, x[:0], {"a": 1}), "no sample"),
        (lambda m, x: iv.transfer(m, x, x[:3], "a"), "3 donors for 4"),
        (lambda m, x: iv.transfer(m, x, x, "c"), "no latent block for label 'c'"),
        (lambda m, x: iv.traverse(m, x), "a label or the name of a block"),
        (lambda m, x: iv.traverse(m, x, "a", coordinates=(5,)), "coordinates 0 to 1"),
        (lambda m, x: iv.traverse(m, x, "a", coordinates=(0, 0)), "different"),
        (lambda m, x: iv.traverse(m, x, "a", steps=1), "at least 2"),
        (lambda m, x: iv.traverse(m, x, "a", span="data"), "data_codes"),
        (lambda m, x: iv.interpolate(m, x, x[:2]), "expected as many"),
        (lambda m, x: iv.resample(m, x, "a", n=0), "at least one"),
        (lambda m, x: iv.generate(m, {}, 0), "at least one"),
    ],
)
def test_mistakes_are_named(model: Model, data: Dataset, call, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        call(model, some(data)[0])
    assert "\n" not in str(error.value)


def test_a_walk_through_a_label_that_is_its_own_value_goes_from_its_smallest_to_its_largest(data: Dataset) -> None:
    torch.manual_seed(0)
    made = ls.build("condvae", data, latent=3, network=Network(width=8)).eval()
    walk = iv.traverse(made, data.samples([0])[0], "a", steps=3)
    assert walk.record.options["axes"] == [[0.0, 0.5, 1.0]]
    assert walk.codes["y.a"][:, 0].tolist() == [0.0, 0.5, 1.0]
    given = iv.transfer(made, data.samples([0])[0], data.samples([1])[0], "a", data.labels([0]), data.labels([1]))
    assert given.codes["y.a"][0].tolist() == [float(data.values[1, 0]), 0.0]


# -- inpaint ----------------------------------------------------------------------------------------------------------


def test_inpainting_fills_the_hole_from_the_rest_and_keeps_the_rest(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    hole = torch.zeros(8, 8, dtype=torch.bool)
    hole[2:5, 3:6] = True
    filled = iv.inpaint(model, x, hole, labels)
    assert torch.equal(filled.x[..., ~hole], x[..., ~hole])
    other = x.clone()
    other[..., hole] = torch.rand_like(other[..., hole])
    assert torch.equal(iv.inpaint(model, other, hole, labels).x, filled.x)  # what was in the hole does not matter
    assert filled.record.kind == "inpaint"
    assert filled.record.options["hole"] == pytest.approx(9 / 64)
    again = iv.inpaint(model, x, hole, labels, rounds=3).x
    assert not torch.equal(again, filled.x)
    assert iv.inpaint(model, x[0], hole, (labels[0][:1], labels[1][:1])).x.shape == (1, 8, 8)


def test_holes_that_do_not_fit_are_refused(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    with pytest.raises(UserError, match="does not fit samples"):
        iv.inpaint(model, x, torch.ones(3, 3, dtype=torch.bool), labels)
    with pytest.raises(UserError, match="empty"):
        iv.inpaint(model, x, torch.zeros(8, 8, dtype=torch.bool), labels)
    with pytest.raises(UserError, match="at least one round"):
        iv.inpaint(model, x, torch.ones(8, 8, dtype=torch.bool), labels, rounds=0)


def test_a_hole_in_counts_is_filled_from_the_counts_that_are_known() -> None:
    rng = np.random.default_rng(0)
    n = 60
    values = (np.arange(n) % 2)[:, None].astype(np.float32)
    x = rng.poisson(10, (n, 4)).astype(np.float32)
    schema = Schema([binary("a")])
    data = Dataset("made", x, values, np.ones(values.shape, bool), schema, random_splits(n, 0), likelihood="negative-binomial")
    torch.manual_seed(0)
    made = ls.build("ccvae", data, latent=2, network=Network(width=8)).eval()
    hole = torch.tensor([False, False, True, True])
    low, high = (iv.inpaint(made, torch.tensor([10.0, 10.0, *rest]), hole).x for rest in ((0.0, 0.0), (1000.0, 1000.0)))
    assert torch.equal(low, high)
    assert 5 < float(low[2:].mean()) < 20


def test_an_own_value_that_is_not_known_is_predicted_where_the_model_can(data: Dataset) -> None:
    torch.manual_seed(0)
    x = data.samples([0, 1])
    mvae, vae = (ls.build(name, data, latent=3, network=Network(width=8)).eval() for name in ("mvae", "vae"))
    assert iv.set(mvae, x, {"a": 1}).x.shape == x.shape
    with pytest.raises(UserError, match="its own value, which is not known"):
        iv.set(vae, x, {"a": 1})


# -- points, and edits after each other -------------------------------------------------------------------------------


def test_move_puts_blocks_at_points_and_holds_the_rest(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    done = iv.move(model, x, {"w.a": [1.5, -2.0]}, labels)
    assert torch.equal(done.codes["w.a"], torch.tensor([1.5, -2.0]).expand(4, 2))
    assert done.record.changed == ("w.a",)
    each = torch.arange(8.0).view(4, 2)
    assert torch.equal(iv.move(model, x, {"w.a": each}, labels).codes["w.a"], each)
    single = iv.move(model, x[2], {"w.a": each[2]}, (labels[0][2:3], labels[1][2:3]))
    assert single.x.shape == model.shape
    torch.testing.assert_close(single.x, iv.move(model, x, {"w.a": each}, labels).x[2], atol=1e-5, rtol=0)
    json.dumps(done.record.to_dict())


def test_a_move_to_nowhere_is_the_reconstruction(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    done = iv.move(model, x, {}, labels)
    assert done.record.changed == ()
    torch.testing.assert_close(done.x, model.decode(started(model, x, labels)).mean)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ({"w.b": [0.0, 0.0]}, "unknown latent block"),
        ({"w.a": [0.0]}, "2 numbers"),
        ({"w.a": torch.zeros(3, 2)}, "2 numbers"),
        ({"w.a": "here"}, "2 numbers"),
        ({"w.a": [float("nan"), 0.0]}, "NaN"),
    ],
    ids=range(5),
)
def test_points_that_are_none_are_refused(model: Model, data: Dataset, points, said: str) -> None:
    x, labels = some(data)
    with pytest.raises(UserError, match=said):
        iv.move(model, x, points, labels)


def test_edits_go_on_from_each_other(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    donor, donor_labels = data.samples([9]), data.labels([9])
    first = iv.set(model, x, {"a": 1}, labels)
    second = iv.transfer(model, x, donor, "k", donor_labels=donor_labels, after=first)
    third = iv.move(model, x, {"z": [0.5, 0.5, 0.5]}, keep_detail=True, after=second)
    assert torch.equal(third.codes["w.a"], first.codes["w.a"])
    assert torch.equal(third.codes["w.k"], second.codes["w.k"])
    # one move to the same points is the same edit, details included
    points = {name: third.codes[name] for name in third.codes}
    torch.testing.assert_close(third.x, iv.move(model, x, points, labels, keep_detail=True).x)
    record = third.record
    assert record.changed == ("z", "w.a", "w.k")
    assert record.source["a"] == [0, 1, 0, 1]
    assert record.target == {"a": [1] * 4, "k": ["x"] * 4}
    assert [step["kind"] for step in record.options["after"]] == ["set", "transfer"]
    back = iv.set(model, x, {"a": 0}, after=third)
    assert back.record.source["a"] == [0, 1, 0, 1]  # from the samples' own values, not from the step before
    assert back.record.target["a"] == [0] * 4
    json.dumps(back.record.to_dict())


def test_walks_and_draws_go_on_from_edits_too(model: Model, data: Dataset) -> None:
    x, labels = some(data)
    edit = iv.set(model, x, {"a": 1}, labels)
    walk = iv.traverse(model, x, "k", steps=3, after=edit)
    assert torch.equal(walk.codes["w.a"], edit.codes["w.a"].repeat_interleave(3, 0))
    assert walk.record.changed == ("w.a", "w.k")
    line = iv.interpolate(model, x, x.flip(0), other_labels=(labels[0].flip(0), labels[1].flip(0)), steps=3, after=edit)
    torch.testing.assert_close(line.x[:, 0], edit.x)
    draws = iv.resample(model, x, "k", n=2, generator=torch.Generator().manual_seed(0), after=edit)
    assert torch.equal(draws.codes["w.a"], edit.codes["w.a"].repeat_interleave(2, 0))
    assert draws.record.target["a"] == [1] * 4


def test_generated_samples_can_be_edited_without_being_encoded(model: Model, data: Dataset) -> None:
    drawn = iv.generate(model, {"a": 1, "k": "y"}, n=5, generator=torch.Generator().manual_seed(0))
    edit = iv.set(model, drawn.x, {"k": "x"}, after=drawn)
    assert torch.equal(edit.codes["z"], drawn.codes["z"])
    assert torch.equal(edit.codes["w.a"], drawn.codes["w.a"])
    assert edit.record.changed == ("w.k",)
    with pytest.raises(UserError, match="has 5 samples, this one 4"):
        iv.set(model, drawn.x[:4], {"k": "x"}, after=drawn)
    filled = iv.inpaint(model, drawn.x, torch.ones(8, 8, dtype=torch.bool))
    with pytest.raises(UserError, match="nothing can come after inpaint"):
        iv.set(model, drawn.x, {"k": "x"}, after=filled)


def test_new_samples_of_a_model_without_labels_have_none() -> None:
    data = ls.open("swiss-roll:n=100")
    done = iv.generate(ls.build("vae", data), n=3)
    assert done.record.target == {}
    assert done.labels is not None
    assert not bool(done.labels[1].any())
