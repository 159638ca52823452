"""Published claims as recipes: runs that can be made, and verdicts that follow the numbers.

What the runs would measure is made up, once as the claim has it and once turned round.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelspace import config
from labelspace.data import sources
from labelspace.errors import UserError
from labelspace.experiments import evidence
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import SCALES, Recipe, Result, Scale, setting
from labelspace.experiments.recipes import RECIPES, load
from labelspace.experiments.verdicts import SEEDS
from labelspace.models import MODELS

FACES = ("Eyeglasses", "Beard", "Smiling")
Found = dict[str, Any]


def told(value: float) -> Found:
    """What readers say at a place, of draws and of means."""
    return {of: {"balanced_accuracy": score(value), "auc": score(value)} for of in ("draws", "means")}


def score(value: float, n: int = 400) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": n}


# -- what the runs would measure: as claimed (good), or turned round ---------------------------------------------------


def swiss_roll(job: Job, good: bool) -> Found:
    from labelspace.experiments.recipes.csvae_swiss_roll import kind

    z = {"VAE": 1.6, "CSVAE, no adversary": 0.7, "CSVAE": 0.01, "LSVAE": 0.02}[kind(job)]
    z, w, tells = (z, 1.3, 0.99) if good else (1.7 - z, 0.2, 0.6)
    block = {"floor": 0.01, "floor_sd": 0.01, "told": told(0.52 if good else 0.9)["draws"]}
    return {
        "z": {"kl": z, **block},
        "w": {"kl": w, **block},
        "w_hidden": {"kl": w, **block, "told": told(tells)["draws"]},
        "reconstruction": 0.02,
    }


def faces(job: Job, good: bool) -> Found:
    first = (job.model in ("lsvae", "csvae")) == good
    hit, error, spread = (0.95, 0.3, 0.01) if first else (0.8, 0.6, 0.0)
    edits = {
        y: {
            "operator": "typical point",
            "judge": score(hit),
            "kept": {other: score(0.97) for other in FACES if other != y},
            "changed": score(0.01),
            "to_truth": score(0.01 * error),
            "nothing": score(0.01),
            "error": error,
        }
        for y in FACES
    }
    return {
        "judge": {y: score(0.99) for y in FACES},
        "judge on truths": {y: score(0.99) for y in FACES},
        "reconstruction": 0.002,
        "edits": edits,
        "styles": {y: {"spread": score(spread), "share": score(0.75 if first else 0.25), "styles": 4} for y in FACES},
        "leak": {y: {"chance": 0.5, "free": told(0.55), "own_hidden": told(0.99)} for y in FACES},
        "donor": {y: score(0.5) for y in FACES},
    }


def attributes(job: Job, good: bool) -> Found:
    from labelspace.experiments.recipes.csvae_attributes import STEPS, named, requests

    rate = {"lsvae": 0.95, "condvae": 0.99}[job.model] if good else {"lsvae": 0.6, "condvae": 0.5}[job.model]
    asked = {
        named(on, off): {s: {"all": score(rate)} for s in ("posterior", "codes", "prior")} for on, off in requests([*FACES])
    }
    return {
        "requests": asked,
        "curve": {
            "rate": [score(t / (STEPS - 1) if good else 0.3) for t in range(STEPS)],
            "kept": [score(1.0)] * STEPS,
            "backwards": score(0.01 if good else 0.3),
        },
    }


def supervision(job: Job, good: bool) -> Found:
    first = (job.model == "ccvae") == good
    value = 0.95 if first or job.supervision == 1 else 0.6
    found: Found = {name: {y: score(v) for y in FACES} for name, v in (("accuracy", value), ("majority", 0.55))}
    found["labelled"] = round(1000 * job.supervision)
    return found | ({"plain": {y: score(0.58 if good else 0.97) for y in FACES}} if job.model == "ccvae" else {})


def ccvae_interventions(job: Job, good: bool) -> Found:
    first = (job.model == "ccvae") == good
    cells = {
        a: {b: {k: score(10.0 if a == b else 0.5 if first else 5.0) for k in ("absolute", "signed")} for b in FACES}
        for a in FACES
    }
    return {
        "side_effects": cells,
        "walk": {y: {"rising": score(0.95 if first else 0.5), "rate": [score(0.02), score(0.98)]} for y in FACES},
        "styles": {y: {"spread": score(0.1), "share": score(0.75 if first else 0.25), "styles": 4} for y in FACES},
        "swap": {y: score(0.9) for y in FACES},
        "donor": {y: score(0.7 if first else 0.25) for y in FACES},
        "local": {
            y: {"share": score(0.6) if job.model != "m2" else dict.fromkeys(score(0.6))} for y in FACES
        },  # M2 never varies
    }


def moons(job: Job, good: bool) -> Found:
    first = (job.model != "cvae-gan") == good
    own, free = (0.99, 0.35) if first else (0.6, 0.9)
    classes = {
        name: {
            "precision": score(0.9),
            "recall": score(0.9),
            "coverage": score(0.9 if first else 0.2),
            "diversity": 1.0,
            "kernel": score(0.1),
        }
        for name in ("middle", "right", "left")
    }
    return {"leak": {"chance": 1 / 3, "free": told(free), "own_hidden": told(own)}, "classes": classes}


def classes(job: Job, good: bool) -> Found:
    first = job.model.startswith("lr-livae") == good
    return {
        "leak": {"chance": 0.1, "free": told(0.12 if first else 0.9), "own_hidden": told(0.99 if first else 0.5)},
        "generation": {
            "read": score(0.95 if first else 0.5),
            "diversity_ratio": 0.9 if first else 0.2,
            "pixel_ratio": 0.9,
            "frechet": score(1.0),
            "recall": score(0.5),
        },
        "exchange": {"class": score(0.95 if first else 0.3), "style": {"thickness": 0.95 if first else 0.1}},
        "inpainting": {"ratio": 0.4},
    }


def mnist(job: Job, good: bool) -> Found:
    weight = setting(job, "beta")
    beta, latent, given = int(weight) if weight.isdigit() else 5, int(setting(job, "latent")), job.model == "condvae"
    if not good:
        beta, given = 21 - beta, not given
    gap = 0.02 * beta + (0.3 if given else 0.0)
    carriers = {
        name: {
            "best": j if good else 0,
            "alone": good,
            "r2": score(0.3 + gap),
            "gap": score(gap),
            "slope": score(0.1),
        }
        for j, name in enumerate(("thickness", "slant", "width"))
    }
    return {
        "kl_of_latents": [1.0] * latent,
        "active": 3,
        "elbo": {2: -150.0, 3: -140.0, 5: -120.0, 10: -105.0, 20: -104.9 if good else -60.0}[latent],
        "reconstruction": 80.0 + beta,
        "kl": 20.0,
        "alignment": {"carriers": carriers},
        "metrics": {"mig": score(gap / 2), "dci_disentanglement": score(gap)},
        "traversal": {"effects": {name: {"range": score(2.0), "latent": 0, "share": 0.8} for name in carriers}},
    }


def label_quality(job: Job, good: bool) -> Found:
    cost = 0.0 if good else 0.3 * (1 - job.supervision) + job.label_noise
    return {
        "accuracy": {y: score(0.95 - cost) for y in FACES},
        "edits": {y: {"judge": score(0.95 - cost)} for y in FACES},
    }


def everywhere(job: Job, good: bool) -> Found:
    share = 0.95 if (job.model == "lsvae") == good else 0.2
    entry = {"value": share, "floor": 0.0, "ceiling": 1.0, "share": share, "n": 100}
    error = 0.01 if (job.model == "lsvae") == good else 0.02
    reconstruction = {"value": error, "floor": 1.0, "ceiling": 0.0, "share": 1 - error, "n": 100}
    return {"figures": {"read as set": {"a": entry}, "told by z": {}, "reconstruction": {"x": reconstruction}}}


def prices(job: Job, good: bool) -> Found:
    share = 0.9 if good or not job.settings else 0.5
    entry = {"value": share, "floor": 0.0, "ceiling": 1.0, "share": share, "n": 100}
    names = ("error", "read as set", "others kept", "donor", "told by z", "block's own", "coverage", "reconstruction")
    return {"figures": {name: {"x" if name in ("coverage", "reconstruction") else y: entry for y in FACES} for name in names}}


MEASURED: dict[str, Callable[[Job, bool], Found]] = {
    "csvae-swiss-roll": swiss_roll,
    "csvae-faces": faces,
    "csvae-attributes": attributes,
    "ccvae-supervision": supervision,
    "ccvae-interventions": ccvae_interventions,
    "lrvae-moons": moons,
    "lrvae-digits": classes,
    "lrvae-classes": classes,
    "pastrana-mnist": mnist,
    "label-quality": label_quality,
    "lsvae-prices": prices,
    "everywhere": everywhere,
}


def planned(recipe: Recipe, scale: Scale) -> list[Job]:
    return recipe.jobs(scale, recipe.default or recipe.needs)


def measured(name: str, good: bool, scale: Scale = "cpu") -> list[Result]:
    return [Result(job, Path(job.key), MEASURED[name](job, good), 60.0) for job in planned(load(name), scale)]


def held(name: str, results: list[Result]) -> dict[str, bool | None]:
    return {verdict.claim: verdict.held for verdict in load(name).conclude(results).verdicts}


# -- recipes as such ---------------------------------------------------------------------------------------------------


def test_every_recipe_is_known_by_its_name_and_says_whose_claim_it_is() -> None:
    assert set(MEASURED) == set(RECIPES)
    for name in RECIPES:
        recipe = load(name)
        assert recipe.claim, name
        assert recipe.paper, name
        assert recipe.default or recipe.needs, name
        assert "  " not in recipe.claim, name
    assert load("pastrana-mnist").needs == "mnist:DIR"


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'csvae-swiss-roll'"):
        load("swiss-roll")


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("scale", SCALES)
def test_jobs_can_be_made_and_no_two_are_the_same(name: str, scale: Scale) -> None:
    jobs = planned(load(name), scale)
    assert jobs
    assert len({job.key for job in jobs}) == len(jobs)
    shapes = {"faces": (3, 64, 64), "mnist": (1, 28, 28), "moons": (2,), "swiss-roll": (3,)}
    seen = set()
    for job in jobs:
        assert job.model in MODELS
        source = job.address.partition(":")[0]
        assert source in sources.SOURCES
        if (what := (job.model, job.settings, job.epochs)) in seen:
            continue
        seen.add(what)
        training = {"epochs": job.epochs, "seed": job.seed}
        labels = len(job.labels) if job.labels else 1
        options = config.resolve(job.model, shapes[source], labels, 1000, assignments=job.settings, training=training).options
        assert options.epochs == (job.epochs or options.epochs)
        for text in job.settings:
            key, value = text.split("=", 1)
            if hasattr(options, key):
                found = getattr(options, key)
                assert found == (type(found)(value))


@pytest.mark.parametrize("name", RECIPES)
def test_larger_scales_are_larger(name: str) -> None:
    def size(scale: Scale) -> float:
        return sum(job.epochs or 1000 for job in planned(load(name), scale))

    assert size("smoke") < size("cpu") <= size("paper")
    assert {job.epochs for job in planned(load(name), "smoke")} <= {1, 2}


@pytest.mark.parametrize("name", ["csvae-swiss-roll", "lrvae-moons"])
def test_addresses_of_jobs_can_be_opened(name: str) -> None:
    job = planned(load(name), "smoke")[0]
    assert len(job.open()) == 600


def test_a_roll_with_options_of_its_own_can_be_opened() -> None:
    assert load("csvae-swiss-roll").jobs("smoke", "swiss-roll:noise=0.1")[0].open().x.shape[1] == 3


def test_recipes_on_the_same_runs_share_them() -> None:
    for scale in SCALES:
        keys = {name: {job.key for job in planned(load(name), scale)} for name in ("csvae-faces", "csvae-attributes")}
        assert keys["csvae-attributes"] < keys["csvae-faces"]


def test_the_published_settings_of_mnist_reach_the_training() -> None:
    jobs = planned(load("pastrana-mnist"), "paper")
    letter = [job for job in jobs if setting(job, "optimizer") == "adagrad"]
    assert len({(*job.settings[:2], job.model) for job in letter}) == 5 + 6 + 7
    assert len(letter) == 5 + 6 + 7 + 6 * 4, "the settings that claims are about have five seeds"
    for job in letter:
        assert job.address == "mnist:DIR,val=0"
        options = config.resolve(job.model, (1, 28, 28), 1, 60_000, assignments=job.settings).options
        assert (options.optimizer, options.learning_rate, options.batch_size) == ("adagrad", 0.01, 100)
        assert (options.warmup, options.decay, options.clip, options.muon_learning_rate) == (0, 0.0, 0.0, 0.0)
        assert job.epochs == 51
    assert {job.seed for job in jobs if job not in letter} == {*SEEDS}


# -- conclusions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_verdicts_follow_the_numbers(name: str) -> None:
    as_claimed, turned = (held(name, measured(name, good)) for good in (True, False))
    assert as_claimed
    assert as_claimed.keys() == turned.keys()
    assert all(value is True for value in as_claimed.values()), as_claimed
    assert not any(turned.values()), turned
    assert all(value is False for value in turned.values()), turned


@pytest.mark.parametrize("name", RECIPES)
def test_runs_that_only_show_that_it_runs_say_nothing(name: str) -> None:
    for results in (
        measured(name, True, "smoke"),
        [replace(r, job=replace(r.job, seed=r.job.seed - SEEDS[0])) for r in measured(name, True)],
    ):
        verdicts = held(name, results)
        assert verdicts
        assert set(verdicts.values()) == {None}, "one seed, and seeds that choices were made on"


@pytest.mark.parametrize("name", RECIPES)
def test_tables_are_rectangular_texts(name: str) -> None:
    conclusion = load(name).conclude(measured(name, True))
    assert conclusion.tables
    for table in conclusion.tables:
        assert table.rows
        for row in table.rows:
            assert len(row) == len(table.header), table.title
            assert all(isinstance(cell, str) for cell in row)
    for verdict in conclusion.verdicts:
        assert verdict.why.endswith(".")
        assert not verdict.claim.endswith(".")


@pytest.mark.parametrize("name", RECIPES)
def test_without_runs_nothing_can_be_said(name: str) -> None:
    verdicts = held(name, [])
    assert verdicts
    assert set(verdicts.values()) == {None}


@pytest.mark.parametrize("name", RECIPES)
def test_one_model_that_never_came_out_is_not_held_against_the_others(name: str) -> None:
    for model in {job.model for job in planned(load(name), "cpu")}:
        found = load(name).conclude([r for r in measured(name, True) if r.job.model != model])
        assert not any(v.held is False for v in found.verdicts), model
        assert found.tables


@pytest.mark.parametrize("name", RECIPES)
def test_one_failed_run_does_not_stop_the_conclusion(name: str) -> None:
    results = measured(name, True)
    for i in range(0, len(results), max(1, len(results) // 30)):  # of recipes with hundreds of runs, some thirty of them
        found = load(name).conclude([*results[:i], *results[i + 1 :]])
        assert not any(v.held is False for v in found.verdicts), results[i].job


def test_faces_without_truth_leave_the_error_open() -> None:
    results = []
    for r in measured("csvae-faces", True):
        edits = {y: {k: e[k] for k in ("judge", "kept", "changed")} for y, e in r.measured["edits"].items()}
        found = {k: v for k, v in r.measured.items() if k != "donor"}
        results.append(replace(r, measured={**found, "edits": edits}))
    verdicts = held("csvae-faces", results)
    errors = [held for claim, held in verdicts.items() if "lowest squared error" in claim]
    assert errors == [None, None]
    assert verdicts["the LSVAE has the highest transfer accuracy, mean of the labels"] is True


def test_the_worst_label_counts_beside_the_mean_and_labels_are_divided_before_they_are_averaged() -> None:
    """A small attribute that is edited badly is not outweighed by a large one: its error is divided by its own."""
    results = []
    for r in measured("csvae-faces", True):
        edits = dict(r.measured["edits"])
        if r.job.model == "csvae":
            edits["Smiling"] = {**edits["Smiling"], "error": 3.0, "to_truth": score(0.001), "nothing": score(0.0003)}
        results.append(replace(r, measured={**r.measured, "edits": edits}))
    verdicts = held("csvae-faces", results)
    claim = next(claim for claim in verdicts if claim.startswith("the CSVAE has the lowest"))
    assert verdicts[claim] is False
    table = load("csvae-faces").conclude(results).tables[1]
    assert dict(zip([row[0] for row in table.rows], [row[-1] for row in table.rows], strict=True))["CSVAE"].startswith("3.00")


def test_classes_without_truth_leave_the_style_open() -> None:
    results = [
        replace(r, measured={**r.measured, "exchange": {**r.measured["exchange"], "style": {}}})
        for r in measured("lrvae-classes", True)
    ]
    verdicts = held("lrvae-classes", results)
    kept = [value for claim, value in verdicts.items() if "keeps style" in claim]
    assert kept == [None, None]


def test_label_quality_says_what_was_lost() -> None:
    verdicts = load("label-quality").conclude(measured("label-quality", False)).verdicts
    first = verdicts[0]
    assert "1%" in first.claim
    assert "30%" in first.claim
    assert first.held is False
    assert "LSVAE, 0.01 labelled, 0 wrong 65.3% [" in first.why
    assert "LSVAE, 1 labelled, 0 wrong 95.0% [" in first.why
    assert "LSVAE, 1 labelled, 0.3 wrong 65.0% [" in first.why


@pytest.mark.parametrize("name", RECIPES)
def test_conclusions_are_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, results = load(name), measured(name, True)
    monkeypatch.setattr(type(recipe), "draw", lambda self, results, scale: {})
    _, home = evidence.write(name, recipe, "cpu", recipe.default or "mnist:/some/dir", results, tmp_path)
    found = json.loads((home / "results.json").read_text())
    assert len(found["runs"]) == len(results)
    assert found["training_minutes"] == len(results)
    page = (home / "results.md").read_text()
    assert page.count("- **held**") == len(found["verdicts"])


# -- figures that need no model ----------------------------------------------------------------------------------------


def test_curves_of_scarce_labels_leave_out_what_is_missing() -> None:
    recipe = load("ccvae-supervision")
    results = measured("ccvae-supervision", True)
    whole = recipe.draw(results, "cpu")["accuracy.png"]
    assert len(whole.axes[0].get_legend_handles_labels()[1]) == 6
    less = recipe.draw([r for r in results if not (r.job.model == "m2" and r.job.supervision < 0.01)], "cpu")["accuracy.png"]
    assert len(less.axes[0].get_legend_handles_labels()[1]) == 5


def test_the_grid_of_label_quality_has_a_panel_a_model_and_measure() -> None:
    recipe, results = load("label-quality"), measured("label-quality", True)
    figure = recipe.draw(results, "cpu")["grid.png"]
    assert [axis.get_title() for axis in figure.axes] == ["LSVAE: accuracy", "LSVAE: edits", "CCVAE: accuracy", "CCVAE: edits"]
    assert len(recipe.draw(results[1:], "cpu")["grid.png"].axes) == 4


def test_the_grid_of_label_quality_without_one_model() -> None:
    recipe, results = load("label-quality"), measured("label-quality", True)
    recipe.draw([r for r in results if r.job.model == "lsvae"], "cpu")


def mnist_without_pictures() -> list[Result]:
    """Results that the curves are drawn from; those that a picture needs the model of are left out."""
    return [
        r
        for r in measured("pastrana-mnist", True)
        if setting(r.job, "optimizer")
        and setting(r.job, "latent") != "2"
        and (r.job.model, setting(r.job, "beta")) != ("condvae", "10")
    ]


def test_curves_of_mnist() -> None:
    results = [r for r in mnist_without_pictures() if (r.job.model, setting(r.job, "beta")) != ("vae", "10")]
    figures = load("pastrana-mnist").draw(results, "cpu")
    assert list(figures) == ["curves.png"]
    assert len(figures["curves.png"].axes) == 4
    assert statistics.mean(figures["curves.png"].axes[2].get_ylim()) == 0.5


def test_curves_of_mnist_where_a_weight_is_missing() -> None:
    assert load("pastrana-mnist").draw(mnist_without_pictures(), "cpu")
