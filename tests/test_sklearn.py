"""The scikit-learn transformer: scikit-learn's own checks, labels of every kind, and agreement with the library's own calls."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import labelspace as ls
from labelspace.models.networks import Network
from labelspace.sklearn import LabelspaceTransformer

SMALL: dict[str, Any] = {"arguments": {"latent": 2, "network": Network(width=8, depth=1)}, "epochs": 2, "random_state": 0}


# One model, and none of scikit-learn's checks is left out.
@parametrize_with_checks([LabelspaceTransformer("ccvae", **{**SMALL, "epochs": 1})])
def test_scikit_learns_own_checks(estimator: LabelspaceTransformer, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    x = rng.normal(size=(120, 4)) + y[:, None]
    return x.astype(np.float32), y


@pytest.fixture(scope="module")
def fitted(table) -> LabelspaceTransformer:
    x, y = table
    arguments = {**SMALL["arguments"], "subspace": 2}
    return LabelspaceTransformer("lsvae", arguments=arguments, epochs=60, random_state=0).fit(
        x, np.array(["low", "mid", "top"])[y]
    )


def test_codes_are_those_of_the_model_without_labels(fitted, table) -> None:
    x, _ = table
    codes = fitted.model_.encode(torch.from_numpy(x)).map(lambda q: q.mode)
    wanted = torch.cat(list(codes.values()), 1).detach().numpy()
    np.testing.assert_allclose(fitted.transform(x), wanted, atol=1e-6)
    assert list(fitted.get_feature_names_out()) == ["z.0", "z.1", *(f"w.label.{i}" for i in range(6))]
    np.testing.assert_allclose(fitted.inverse_transform(wanted), fitted.model_.decode(codes).mean.detach(), atol=1e-6)


def test_predictions_have_the_values_of_y(fitted, table) -> None:
    x, y = table
    found = fitted.predict(x)
    assert list(fitted.classes_) == ["low", "mid", "top"]
    assert (found == np.array(["low", "mid", "top"])[y]).mean() > 0.6
    p = fitted.predict_proba(x)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    assert (fitted.classes_[p.argmax(1)] == found).all()


def test_the_same_seed_gives_the_same_codes_and_leaves_the_callers_seed_alone(table) -> None:
    x, y = table
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first, again = (LabelspaceTransformer("lsvae", **SMALL).fit(x, y).transform(x) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first, again)
    other = LabelspaceTransformer("lsvae", **{**SMALL, "random_state": 1}).fit_transform(x, y)
    assert not np.allclose(first, other)


def test_several_labels_of_every_kind_with_missing_entries(table) -> None:
    pandas = pytest.importorskip("pandas")
    x, y = table
    frame = pandas.DataFrame({"on": y > 0, "kind": np.array(["a", "b", "c"])[y], "dose": y + np.linspace(0, 0.5, len(y))})
    frame = frame.astype(object)
    frame.iloc[:20, 1] = None
    frame.iloc[5:30, 2] = np.nan
    model = LabelspaceTransformer("ccvae", **SMALL, blocks=["z.kind", "z.dose"]).fit(
        pandas.DataFrame(x, columns=list("pqrs")), frame
    )
    assert [label.kind for label in model.schema_] == ["binary", "categorical", "continuous"]
    assert list(vars(model)["feature_names_in_"]) == list("pqrs")
    assert list(model.get_feature_names_out()) == ["z.kind.0", "z.kind.1", "z.kind.2", "z.dose.0"]
    model.set_output(transform="pandas")
    out: Any = model.transform(pandas.DataFrame(x, columns=list("pqrs")))
    assert list(out.columns) == list(model.get_feature_names_out())
    found = model.predict(pandas.DataFrame(x, columns=list("pqrs")))
    assert found.shape == (120, 3)
    assert set(found[:, 0]) <= {True, False}
    assert set(found[:, 1]) <= {"a", "b", "c"}
    assert not hasattr(model, "predict_proba")
    with pytest.raises(ValueError, match="all blocks"):
        model.inverse_transform(out)


def test_kinds_can_be_said(table) -> None:
    x, y = table
    model = LabelspaceTransformer("ccvae", **SMALL, kinds={"label": "continuous"}).fit(x, y)
    assert model.schema_["label"].kind == "continuous"
    assert model.predict(x).dtype.kind == "f"
    with pytest.raises(ValueError, match="column 'lable'"):
        LabelspaceTransformer("ccvae", **SMALL, kinds={"lable": "continuous"}).fit(x, y)
    with pytest.raises(ValueError, match="unknown kind of label 'label': 'number'"):
        LabelspaceTransformer("ccvae", **SMALL, kinds={"label": "number"}).fit(x, y)


def test_pipelines_searches_clones_and_pickles(table, fitted) -> None:
    x, y = table
    pipe = make_pipeline(StandardScaler(), LabelspaceTransformer("ccvae", **SMALL), LogisticRegression())
    assert 0 <= pipe.fit(x, y).score(x, y) <= 1
    search = GridSearchCV(pipe, {"labelspacetransformer__epochs": [1, 2]}, cv=2)
    assert search.fit(x, y).best_params_["labelspacetransformer__epochs"] in (1, 2)
    again: Any = clone(fitted)
    assert again.get_params() == fitted.get_params()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).transform(x), fitted.transform(x))


def test_images_and_a_run_directory(tmp_path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 1, 8, 8)).astype(np.uint8), rng.integers(0, 2, 40)
    model = LabelspaceTransformer("lsvae", **{**SMALL, "epochs": 1}, out=tmp_path / "run").fit(x, y)
    assert model.transform(x).shape == (40, 2 + 8)
    assert ls.load(tmp_path / "run").schema == model.schema_


def test_a_class_that_is_rare_stays_in_training(table) -> None:
    x, y = table
    y = y.copy()
    y[7] = 9
    for seed in range(5):
        model = LabelspaceTransformer("ccvae", **{**SMALL, "epochs": 1, "random_state": seed}, validation=0.5).fit(x, y)
        assert 9 in np.asarray(model.classes_)
    assert LabelspaceTransformer("ccvae", **{**SMALL, "epochs": 1}, validation=0).fit(x, y).transform(x).shape[0] == 120


def test_what_cannot_be_is_refused(table) -> None:
    x, y = table
    for given, said in (
        ((x, None), "target y is None"),
        ((x, y[:5]), "as many"),
        ((x, np.zeros(120)), "nothing can be learnt"),
        ((x, np.full(120, None)), "no entry"),
        ((np.where(x > 2, np.nan, x), y), "NaN"),
    ):
        with pytest.raises(ValueError, match=said):
            LabelspaceTransformer("lsvae", **SMALL).fit(*given)
    with pytest.raises(ValueError, match="validation"):
        LabelspaceTransformer("lsvae", **SMALL, validation=1.5).fit(x, y)
    with pytest.raises(ValueError, match=r"latent block 'w\.lable'"):
        LabelspaceTransformer("lsvae", **SMALL, blocks=["w.lable"]).fit(x, y)
    with pytest.raises(NotFittedError):
        LabelspaceTransformer().transform(x)


def test_missing_entries_as_pandas_writes_them_and_texts_that_may_mean_it(table) -> None:
    pandas = pytest.importorskip("pandas")
    x, y = table
    for column, classes in (
        (pandas.Series(y, dtype="Int64"), [0, 1, 2]),
        (pandas.Series(np.array(["a", "b", "c"])[y], dtype="string"), ["a", "b", "c"]),
    ):
        column[:20] = pandas.NA
        model = LabelspaceTransformer("ccvae", **SMALL).fit(x, column)
        assert np.asarray(model.classes_).tolist() == classes
        assert set(model.predict(x).tolist()) <= set(classes)
    said = np.array(["none", "mild", "severe"])[y]
    for kinds in (None, {"label": "categorical"}):
        model = LabelspaceTransformer("ccvae", **SMALL, kinds=kinds).fit(x, said)
        assert np.asarray(model.classes_).tolist() == ["mild", "none", "severe"]
    numbers = LabelspaceTransformer("ccvae", **SMALL).fit(x, np.array(["1.0", "2.0", "10.0"])[y])
    assert np.asarray(numbers.classes_).tolist() == ["1.0", "2.0", "10.0"]
    with pytest.raises(ValueError, match="two columns of the same name"):
        LabelspaceTransformer("ccvae", **SMALL).fit(x, pandas.DataFrame(np.stack([y, y > 0], 1), columns=["a", "a"]))


def test_the_run_that_it_leaves_can_be_measured_and_reported(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(150, 3)), np.arange(150) % 2
    LabelspaceTransformer(epochs=1, out=tmp_path / "run", random_state=0).fit(x, y)
    data = ls.Dataset.from_arrays(x, y)
    assert ls.evaluate(tmp_path / "run", data, split="train", most=40, depth="quick")["samples"] == 40
    assert ls.report(tmp_path / "run", data=data, quick=True).path.exists()
