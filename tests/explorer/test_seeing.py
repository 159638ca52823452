"""What helps to see: samples that follow an edit, colours and densities of maps, nearest training samples, own sizes."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from labelspace.data.dataset import Dataset
from labelspace.errors import UserError
from labelspace.explorer import charts
from labelspace.explorer.many import Followers
from labelspace.explorer.nearest import Neighbours
from labelspace.explorer.session import Session
from labelspace.explorer.steps import MoveBlock, Redraw, Sample, SetLabel, TakeFrom
from labelspace.explorer.uploads import read_large, read_upload


@pytest.mark.parametrize("keep", [False, True])
def test_followers_become_what_each_would_alone(pictures: str, session_of: Callable[..., Session], keep: bool) -> None:
    session = session_of("lsvae", pictures)
    samples = session.of_rows([int(row) for row in session.bench.gallery[1:5]])
    followers = Followers(session, samples)
    session.set_keep_detail(keep)
    taken = TakeFrom("lit", session.of_data(int(session.bench.gallery[7])))
    session.apply(taken)
    ahead = MoveBlock("w.lit", (1.0, -0.5))
    for step in (None, ahead):
        edited = followers.edited(step)
        for sample, found in zip(samples, edited, strict=True):
            alone = Session(session.bench)
            alone.set_keep_detail(keep)
            alone.choose(sample)
            alone.apply(taken)
            wanted = alone.x if step is None else alone.apply(step).x
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    session.reset()
    start = followers.edited()
    assert torch.equal(start, torch.stack([one.x for one in samples])) == keep
    session.apply(Redraw("z", 3))
    with pytest.raises(UserError, match="a draw for one sample"):
        followers.edited()


def test_points_have_the_colour_of_any_label_or_column(things: str, session_of: Callable[..., Session]) -> None:
    bench = session_of("lsvae", things, labels=("kind", "on")).bench
    assert charts.colourings(bench.data) == ("kind", "on", "amount", "colour", "size")
    assert [name for name, _ in bench.chart("w.on", "colour").colours] == ["deep red", "pale blue"]
    column = bench.data.entries.index("colour")
    values = bench.data.samples(bench.cloud)[:, column].numpy()
    assert np.array_equal(bench.chart("w.on", "colour").classes, np.where(np.isnan(values), -1, np.nan_to_num(values)))
    assert len(bench.chart("w.kind", "size").colours) == 5  # fifths of a number
    assert bench.chart("w.kind").colour_label == "kind"


def test_a_large_block_is_shown_by_the_method_that_is_named(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors, latent=4)
    bench = session.bench
    plane, picture = bench.chart("z", "kind"), bench.chart("z", "kind", method="t-SNE")
    assert [chart.method for chart in (plane, picture, bench.chart("w.on"))] == ["PCA", "t-SNE", ""]
    assert [chart.to_dict()["fixed"] for chart in (plane, picture)] == [False, True]
    assert picture.to_dict()["axes"] == ["z, t-SNE 1", "z, t-SNE 2"]
    assert np.array_equal(picture.classes, plane.classes)
    row = int(bench.cloud[5])
    own = picture.locate(bench.codes["z"][5:6])
    assert own == pytest.approx(picture.map.points[5].tolist(), abs=1e-2)
    session.choose(session.of_data(row))
    session.apply(session.point_step("z", [5.0, 5.0]))
    assert picture.locate(session.state.codes["z"]) != own, "an edit moves on it, too"
    with pytest.raises(UserError, match="stands for no code; drag on the map by PCA"):
        picture.code(own, session.state.codes["z"])


def test_many_codes_are_a_density(vectors: str, session_of: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    bench = session_of("lsvae", vectors).bench
    dots = bench.chart("w.kind", None, True)
    assert len(dots.map.points) == len(bench.data)
    drawn = dots.to_dict()
    assert drawn["density"] is None
    assert sum(map(len, drawn["cloud"])) == len(bench.data)
    monkeypatch.setattr(charts, "DOTS", 50)
    drawn = dots.to_dict()
    assert sum(map(len, drawn["cloud"])) == 0
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn["density"].partition(",")[2]))))
    assert picture.shape == (72, 96, 4)
    points = dots.map.points.numpy()
    low, high = np.array(dots.low), np.array(dots.high)
    cells = np.floor((points - low) / (high - low) * [96, 72]).astype(int)
    inside = ((cells >= 0) & (cells < [96, 72])).all(1)
    wanted = np.zeros((72, 96), bool)
    wanted[71 - cells[inside, 1], cells[inside, 0]] = True
    assert np.array_equal(picture[..., 3] > 0, wanted)


def test_what_was_seen_in_training_is_told_from_what_was_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype(np.float32) * [1, 10, 1, 1, 100, 1] + 5
    data = Dataset.from_arrays(x, {"a": [0, 1] * 200})
    neighbours = Neighbours(data, data.samples)
    row = int(data.rows("train")[3])
    near = neighbours.of(data.samples([row])[0], 4)
    assert near.rows[0] == row
    assert near.distances[0] == pytest.approx(0, abs=1e-3)
    assert list(near.distances) == sorted(near.distances)
    assert near.verdict.startswith("Remembered")
    far = neighbours.of(torch.tensor([9.0, 60, -4, 9, 500, 9]), 4)
    assert far.verdict.startswith("New: 100%")
    held = [neighbours.of(one, 1).share for one in data.samples(data.rows("test"))]
    assert 0.4 < float(np.mean(held)) < 0.6  # type: ignore[arg-type]  among their own they stand in the middle


def test_an_upload_is_edited_at_its_own_size(pictures: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", pictures)
    shape = tuple(session.bench.model.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 130, 3), np.uint8)).save(buffer, "PNG")
    large = read_large(buffer.getvalue(), shape)
    assert large is not None
    assert large.shape == (3, 96, 96)  # six pixels for each of the model's
    session.choose(Sample("own.png", read_upload(buffer.getvalue(), shape), large=large))
    torch.testing.assert_close(session.large, large)  # nothing was edited yet
    session.apply(SetLabel("lit", 1))
    assert session.large is not None
    change = torch.nn.functional.avg_pool2d(session.large - large, 6)
    inside = (session.large > 0.01).all() and (session.large < 0.99).all()
    torch.testing.assert_close(change, session.x - session.reconstruction, atol=0.02 if inside else 0.3, rtol=0)
    name, content = session.saved_large()
    assert name == "own-edited-large.png"
    assert Image.open(io.BytesIO(content)).size == (96, 96)
    session.choose(session.first())
    assert session.large is None
    with pytest.raises(UserError, match="no more pixels than the model"):
        session.saved_large()


def test_where_a_sample_stands_is_marked(pictures: str, session_of: Callable[..., Session]) -> None:
    bench = session_of("lsvae", pictures).bench
    best, worst = (bench.standing_picture(float(bench._errors[i])) for i in (0, -1))
    assert 'd="M0.0 0v16"' in best
    assert 'd="M96.0 0v16"' in worst
