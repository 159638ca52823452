"""What every model must do, run over all of them without knowing which is which."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import labelspace as ls
from labelspace import saving
from labelspace.blocks import Latents, sample
from labelspace.data.batches import Batch, Batches
from labelspace.data.dataset import Dataset
from labelspace.data.splits import random_splits
from labelspace.distributions import Degenerate, DiagonalGaussian, Point
from labelspace.labels import Schema, binary, categorical, continuous
from labelspace.models import MODELS, model_class
from labelspace.models.base import Model
from labelspace.models.networks import Network
from labelspace.training.progress import Callback

SCHEMAS = {
    "one": Schema([binary("a")]),
    "several": Schema([binary("a"), categorical("k", ("x", "y", "z")), binary("b")]),
    "continuous": Schema([binary("a"), continuous("c", 2.0, 3.0)]),
}
SHAPES = {"vector": (5,), "grey": (1, 8, 8), "odd": (3, 13, 10)}
SMALL = Network(width=8, depth=1)


def make_data(shape: tuple[int, ...], schema: Schema, n: int = 60, missing: float = 0.0) -> Dataset:
    rng = np.random.default_rng(0)
    columns = []
    for label in schema:
        if label.discrete:
            columns.append(rng.permutation(np.arange(n) % len(label.values)))
        else:
            columns.append(rng.normal(label.mean, label.scale, n))
    values = np.stack(columns, 1).astype(np.float32)
    observed = rng.random(values.shape) >= missing
    if len(shape) == 1:
        x = rng.normal(size=(n, *shape)).astype(np.float32)
    else:
        x = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
    return Dataset("made", x, np.where(observed, values, 0).astype(np.float32), observed, schema, random_splits(n, 0))


def make(name: str, data: Dataset) -> Model:
    torch.manual_seed(0)
    return ls.build(name, data, latent=3, network=SMALL, likelihood="gaussian")


def batch_of(data: Dataset, n: int) -> Batch:
    rows = np.arange(n)
    return Batch(data.samples(rows), *data.labels(rows))


@pytest.fixture(params=[*sorted(MODELS), "pivae"])
def name(request: pytest.FixtureRequest) -> str:
    if request.param not in MODELS:
        request.getfixturevalue("own_model")  # examples/own_model.py registers it
    return request.param


@pytest.fixture(params=sorted(SHAPES))
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    return SHAPES[request.param]


@pytest.fixture(params=sorted(SCHEMAS))
def schema(request: pytest.FixtureRequest, name: str) -> Schema:
    """Labels of every kind that the model takes."""
    return Schema(label for label in SCHEMAS[request.param] if label.kind in model_class(name).label_kinds)


def test_shapes_of_codes_priors_decodings_and_samples(name: str, shape: tuple[int, ...], schema: Schema) -> None:
    data = make_data(shape, schema)
    model = make(name, data).eval()
    batch = batch_of(data, 4)
    posterior = model.encode(batch.x, batch.values, batch.observed)
    prior = model.prior(batch.values)
    for block in model.blocks:
        assert posterior[block.name].mean.shape == (4, block.size)
        assert prior[block.name].mean.shape == (4, block.size)
        assert isinstance(posterior[block.name], Degenerate) or bool((posterior[block.name].scale > 0).all())
    assert model.decode(sample(posterior)).mean.shape == batch.x.shape
    assert model.decode(sample(posterior)).log_prob(batch.x).shape == (4,)
    assert model.generate(batch.values).shape == batch.x.shape
    pairs = [(posterior[block.name], prior[block.name]) for block in model.blocks]
    if any(isinstance(q, Point) and not isinstance(p, Point) for q, p in pairs):
        with pytest.raises(ls.UserError, match="deterministic"):
            model.log_likelihood(batch.x, batch.values, draws=3)
    else:
        for known in (None, batch.observed, torch.zeros_like(batch.observed)):
            estimate = model.log_likelihood(batch.x, batch.values, known, draws=3)
            assert estimate.shape == (4,)
            assert bool(torch.isfinite(estimate).all())


def test_new_samples_have_their_codes_where_those_of_data_lie(name: str, schema: Schema) -> None:
    data = make_data((5,), schema)
    model = make(name, data).eval()
    batch = batch_of(data, 60)
    values = batch.values[:1].expand(4000, -1)

    def drawn(source: str) -> Latents[Tensor]:
        return model.new_codes(values, source=source, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]

    before = drawn("prior")
    for block in model.blocks:
        assert torch.equal(drawn("codes")[block.name], before[block.name])  # nothing has been measured yet
    model.calibrate(lambda: [batch])
    found, prior = drawn("codes"), model.prior(values[:1])
    posterior = model.encode(batch.x, batch.values, batch.observed)
    for block in model.blocks:
        mine, code = posterior[block.name], found[block.name]
        if isinstance(prior[block.name], Point):
            torch.testing.assert_close(code.mean(0), prior[block.name].mean[0], atol=0.1, rtol=0)
            continue
        if block.label is not None and not schema[block.label].discrete:  # around a line through the codes
            number = batch.values[:, schema.index(block.label)]
            line = torch.linalg.lstsq(torch.stack([torch.ones_like(number), number], 1), mine.mean).solution
            wanted = line[0] + line[1] * values[0, schema.index(block.label)]
            torch.testing.assert_close(code.mean(0), wanted, atol=0.1, rtol=0)
            continue
        if block.label is not None:
            rows = batch.values[:, schema.index(block.label)] == values[0, schema.index(block.label)]
            mine = DiagonalGaussian(mine.mean[rows], mine.scale[rows])
        if bool(model.aggregate.get_buffer(f"mean_{model.blocks.index(block)}").isnan().all()):
            continue  # a free block that depends on labels is drawn from p(z | labels)
        torch.testing.assert_close(code.mean(0), mine.mean.mean(0), atol=0.1, rtol=0)
        variance = mine.mean.var(0, correction=0) + (mine.scale**2).mean(0)
        torch.testing.assert_close(code.var(0), variance.clamp_min(1e-4), atol=0.05, rtol=0.15)
        if block.label is None:
            spread = torch.cov(mine.mean.T, correction=0) + torch.diag((mine.scale**2).mean(0))
            torch.testing.assert_close(torch.cov(code.T), spread, atol=0.12, rtol=0)


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("missing", [0.0, 0.5, 1.0])
def test_terms_are_finite_for_any_batch_and_any_missing_labels(name: str, schema: Schema, n: int, missing: float) -> None:
    data = make_data((5,), schema, missing=missing)
    full = make_data((5,), schema)
    model = make(name, full).train()
    losses = model.losses(batch_of(data, n), torch.Generator().manual_seed(0))
    for player in model.players():
        assert bool(torch.isfinite(losses.objective(player)))
    for term, value in losses.terms.items():
        assert bool(torch.isfinite(value).all()), term


def test_a_players_objective_leaves_gradients_on_its_own_parameters_only(name: str, schema: Schema) -> None:
    data = make_data((1, 8, 8), schema)
    model = make(name, data).train()
    players = model.players()
    losses = model.losses(batch_of(data, 8), torch.Generator().manual_seed(0))
    for player, owner in players.items():
        model.zero_grad(set_to_none=True)
        losses.objective(player).backward(retain_graph=True)
        own = {id(p) for p in owner.parameters}
        touched = {id(p) for p in model.parameters() if p.grad is not None}
        assert touched <= own
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in owner.parameters)


def test_players_share_no_parameter_and_leave_none_out(name: str, schema: Schema) -> None:
    model = make(name, make_data((5,), schema))
    owned = [id(p) for player in model.players().values() for p in player.parameters]
    assert len(owned) == len(set(owned))
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert trainable <= set(owned)


def test_every_term_has_a_name_for_each_entry(name: str, schema: Schema) -> None:
    data = make_data((5,), schema)
    model = make(name, data).train()
    losses = model.losses(batch_of(data, 8), torch.Generator().manual_seed(0))
    for player in model.players():
        losses.objective(player)
    for term, value in losses.terms.items():
        if value.ndim:
            assert len(model.term_names()[term]) == len(value), term


def test_an_objective_can_be_evaluated_again_after_its_player_stepped(name: str, schema: Schema) -> None:
    data = make_data((5,), schema)
    model = make(name, data).train()
    losses = model.losses(batch_of(data, 8), torch.Generator().manual_seed(0))
    for player, owner in model.players().items():
        optimizer = torch.optim.SGD(owner.parameters, 1e-4)
        for _ in range(2 if player != "model" else 1):
            optimizer.zero_grad()
            losses.objective(player).backward()
            optimizer.step()


def test_saving_and_loading_changes_no_bit(name: str, shape: tuple[int, ...], schema: Schema, tmp_path) -> None:
    data = make_data(shape, schema)
    model = make(name, data).eval()
    loaded = saving.load(saving.save(model, tmp_path / "m"))
    assert type(loaded) is type(model)
    assert loaded.schema == model.schema
    for (key, a), (_, b) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(a, b) or (a.isnan().all() and b.isnan().all()), key
    batch = batch_of(data, 3)
    a, b = (m.encode(batch.x, batch.values, batch.observed) for m in (model, loaded))
    assert all(torch.equal(a[k].mean, b[k].mean) and torch.equal(a[k].scale, b[k].scale) for k in a)


def test_training_is_deterministic_and_reduces_the_score(name: str, schema: Schema) -> None:
    data = make_data((5,), schema, n=120)
    results = []
    for _ in range(2):
        model = make(name, data)
        held = Batches(data, "val", 64, shuffle=False)
        (batch,) = held
        before = _score(model, batch)
        ls.fit(model, data, epochs=3, batch_size=12, warmup=5)
        results.append(model.state_dict())
        assert _score(model, batch) < before
    for key in results[0]:
        assert torch.equal(results[0][key].nan_to_num(), results[1][key].nan_to_num()), key


def _score(model: Model, batch: Batch) -> float:
    model.eval()
    with torch.no_grad():
        losses = model.losses(batch, torch.Generator().manual_seed(0))
        for player in model.players():
            losses.objective(player)
    terms: dict[str, Tensor] = {k: v for k, v in losses.terms.items() if not k.endswith("leak")}
    return float(sum(v.sum() for k, v in terms.items() if k == "reconstruction" or k.startswith("kl_")))


def test_partially_missing_labels_train(name: str, schema: Schema) -> None:
    data = make_data((5,), schema, n=120, missing=0.4)
    fitted = ls.fit(make(name, data), data, epochs=1, batch_size=16)
    assert np.isfinite(fitted.best_score)


def test_a_last_batch_of_one_sample_trains(name: str) -> None:
    data = make_data((1, 8, 8), SCHEMAS["one"], n=61)
    train = data.rows("train")
    ls.fit(make(name, data), data, epochs=1, batch_size=len(train) - 1)


@pytest.mark.parametrize("side", [8, 9, 27, 33])
def test_odd_image_sizes(name: str, side: int) -> None:
    data = make_data((2, side, side + 3), SCHEMAS["one"], n=30)
    model = make(name, data)
    batch = batch_of(data, 2)
    assert model.decode(sample(model.encode(batch.x, batch.values, batch.observed))).mean.shape == batch.x.shape


def test_batches_without_any_label_train(name: str, schema: Schema) -> None:
    data = make_data((5,), schema, n=200)
    rows = data.rows("train")
    observed = data.observed.copy()
    observed[rows[2:]] = False  # one in a hundred
    rare = replace(data, observed=observed, values=np.where(observed, data.values, 0).astype(np.float32))
    model = make(name, data)
    seen = [bool(batch.observed.any()) for batch in Batches(rare, "train", 16, prefetch=0)]
    assert not all(seen)
    fitted = ls.fit(model, rare, epochs=1, batch_size=16, labelled=0.0)
    assert np.isfinite(fitted.best_score)


class _Interrupt(Callback):
    """Stops training after an epoch, as a keyboard does."""

    def epoch(self, row: dict) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_and_resumed_run_ends_with_the_same_bits(name: str, tmp_path) -> None:
    data = make_data((1, 8, 8), SCHEMAS["one"], n=80, missing=0.3)
    options = ls.Options(epochs=2, batch_size=16)
    whole = ls.fit(make(name, data), data, options, out=tmp_path / "whole").model.state_dict()
    with pytest.raises(KeyboardInterrupt):
        ls.fit(make(name, data), data, options, out=tmp_path / "cut", callbacks=[_Interrupt()])
    again = ls.fit(make(name, data), data, options, out=tmp_path / "cut", resume=True).model.state_dict()
    for key, tensor in whole.items():
        assert torch.equal(tensor.nan_to_num(), again[key].nan_to_num()), key


def test_every_intervention_answers(name: str, shape: tuple[int, ...], schema: Schema) -> None:
    data = make_data(shape, schema)
    model = make(name, data).eval()
    model.calibrate(lambda: Batches(data, "train", 32, shuffle=False, prefetch=0))
    batch = batch_of(data, 3)
    labels = (batch.values, batch.observed)
    i = ls.interventions
    for label in schema:
        new = label.format(1.0)
        assert i.set(model, batch.x, {label.name: new}, labels).x.shape == batch.x.shape
        if any(block.label == label.name for block in model.blocks):
            assert i.transfer(model, batch.x, batch.x.flip(0), label.name, labels, labels).x.shape == batch.x.shape
            assert i.traverse(model, batch.x[0], label.name, steps=3).x.shape == (3, *shape)
            assert i.resample(model, batch.x[0], label.name, n=2).x.shape == (2, *shape)
    assert i.interpolate(model, batch.x[0], batch.x[1], steps=3).x.shape == (3, *shape)
    if model.labelled:
        assert i.generate(model, {schema.labels[0].name: 1}, 4).x.shape == (4, *shape)
    else:
        with pytest.raises(ls.UserError, match="does not generate under labels"):
            i.generate(model, {schema.labels[0].name: 1}, 4)
    assert i.generate(model, n=4).x.shape == (4, *shape)
    hole = torch.zeros(shape, dtype=torch.bool)
    hole[..., :2] = True
    filled = i.inpaint(model, batch.x, hole, labels)
    assert torch.equal(filled.x[..., 2:], batch.x[..., 2:])
    assert not torch.equal(filled.x[..., :2], batch.x[..., :2])


def test_setting_a_label_has_an_effect_after_a_little_training(name: str) -> None:
    schema = SCHEMAS["one"]
    data = make_data((5,), schema, n=200)
    x = (data.x + 3 * data.values).astype(np.float32)  # the label is plain to see
    data = replace(data, x=x)
    model = ls.fit(make(name, data), data, epochs=3, batch_size=16, warmup=5, learning_rate=1e-2).model
    rows = data.rows("test")
    labels = data.labels(rows)
    on = ls.interventions.set(model, data.samples(rows), {"a": 1}, labels).x
    off = ls.interventions.set(model, data.samples(rows), {"a": 0}, labels).x
    assert float((on - off).abs().mean()) > 1e-3  # how much, and which way, is the evaluation's business


@pytest.mark.parametrize("what", ["counts", "table"])
def test_counts_and_tables_with_missing_cells_train(name: str, what: str) -> None:
    data = make_data((5,), SCHEMAS["one"], n=100, missing=0.2)
    rng = np.random.default_rng(0)
    if what == "counts":
        data = replace(data, x=rng.poisson(5, data.x.shape).astype(np.float32), likelihood="negative-binomial")
    else:
        x = data.x.copy()
        x[:, 1], x[:, 2] = rng.integers(0, 3, len(x)), rng.poisson(4, len(x))
        x[rng.random(x.shape) < 0.1] = np.nan
        data = replace(data, x=x, likelihood="table(continuous,categorical:3,count,continuous,continuous)")
    torch.manual_seed(0)
    if any("on samples" in part for part in [model_class(name).about.adversaries]):
        with pytest.raises(ls.UserError, match="has a discriminator"):
            ls.build(name, data, latent=3, network=SMALL)
        return
    model = ls.fit(ls.build(name, data, latent=3, network=SMALL), data, epochs=2, batch_size=16).model
    batch = batch_of(data, 3)
    labels = (batch.values, torch.ones_like(batch.observed))
    edited = ls.interventions.set(model, batch.x, {"a": 1}, labels, keep_detail=False).x
    assert bool(torch.isfinite(edited).all())  # missing cells are filled
    kept = ls.interventions.set(model, batch.x, {"a": 1}, labels, keep_detail=True).x
    assert torch.equal(kept.isnan(), batch.x.isnan())
    model.likelihood.check(kept.round() if what == "counts" else kept)
    if what == "counts":
        for result in (edited, kept):
            assert torch.allclose(result.sum(1), batch.x.sum(1), rtol=1e-3)  # a sample keeps its total
    drawn = model.generate(batch.values)
    model.likelihood.check(drawn)
    assert bool(torch.isfinite(drawn).all())


def test_kinds_that_a_model_is_not_defined_for_are_refused_by_name(name: str) -> None:
    taken = model_class(name).label_kinds
    for schema in SCHEMAS.values():
        for label in schema:
            if label.kind not in taken:
                with pytest.raises(ls.UserError, match=rf"'{label.name}' is {label.kind}"):
                    make(name, make_data((5,), schema))


def test_a_negative_weight_is_refused_by_name(name: str) -> None:
    data = make_data((5,), SCHEMAS["one"])
    for weight in model_class(name).weight_arguments():
        with pytest.raises(ls.UserError, match=f"{weight}.*negative"):
            ls.build(name, data, **{weight: -1.0})


def test_data_without_labels(name: str) -> None:
    data = make_data((5,), SCHEMAS["one"])
    bare = data.select([])
    if model_class(name).trained_on_labels():
        with pytest.raises(ls.UserError, match="needs at least one label"):
            make(name, bare)
    else:
        assert np.isfinite(ls.fit(make(name, bare), bare, epochs=1).best_score)


def test_the_model_says_what_it_is_for(name: str) -> None:
    about = type(make(name, make_data((5,), SCHEMAS["one"]))).about
    assert all(vars(about).values())
