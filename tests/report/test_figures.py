"""Figures as functions of arrays: they have the panels that were asked for, and can be written."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from labelspace.report.figures import Grid, Lines, Scatter, Sheet, grids, lines, scatters, sheets


def drawn(figure: Figure) -> tuple[int, int]:
    """Writes the figure as PNG; its size in pixels."""
    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with Image.open(buffer) as image:
        assert image.format == "PNG"
        return image.size


def images(rows: int, columns: int, channels: int = 1) -> torch.Tensor:
    return torch.rand(rows, columns, channels, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_has_an_axis_an_image_and_its_names(channels: int) -> None:
    sheet = Sheet("Faces", images(2, 3, channels), rows=["plain", "edited"], columns=["a", "b", "c"], axes=("right", "down"))
    figure = sheets([sheet])
    assert len(figure.axes) == 6
    written = [text.get_text() for text in figure.texts]
    for text in ("Faces", "plain", "edited", "a", "b", "c"):
        assert text in written
    assert any("right" in text for text in written)
    assert min(drawn(figure)) > 50


def test_sheets_show_the_pixels_that_they_are_given() -> None:
    x = torch.zeros(1, 2, 1, 6, 6)
    x[0, 1] = 1
    first, second = sheets([Sheet("", x)]).axes
    assert np.asarray(first.get_images()[0].get_array()).max() == 0
    assert np.asarray(second.get_images()[0].get_array()).min() == 255
    assert first.get_images()[0].get_clim() == (0, 255), "white is white in every image, however dark the others"


def test_sheets_lie_one_above_the_other_with_images_of_one_size() -> None:
    figure = sheets([Sheet("first", images(1, 4)), Sheet("second", images(2, 2))], cell=0.5)
    boxes = [axis.get_position() for axis in figure.axes]
    assert len(boxes) == 8
    assert max(b.y1 for b in boxes[4:]) < min(b.y0 for b in boxes[:4])
    assert {round(b.width, 6) for b in boxes} == {round(boxes[0].width, 6)}
    assert all(min(b.x0, b.y0) >= 0 and max(b.x1, b.y1) <= 1 for b in boxes)
    drawn(figure)


def points(n: int = 30) -> Scatter:
    rng = np.random.default_rng(0)
    return Scatter(rng.normal(size=n), rng.normal(size=n), np.arange(n) % 3, ("z1", "z2"), "Codes")


def test_scatters_have_a_panel_each_and_leave_the_rest_of_a_row_empty() -> None:
    figure = scatters([[points(), points()], [points()]], ["first", "second"])
    assert len(figure.axes) == 4
    assert [axis.axison for axis in figure.axes] == [True, True, True, False]
    assert figure.axes[0].get_xlabel() == "z1"
    assert figure.axes[0].get_title() == "Codes"
    drawn(figure)


def test_many_points_are_thinned_and_classes_have_colours() -> None:
    figure = scatters([[points(3000)]], most=100)
    (collection,) = figure.axes[0].collections
    assert np.asarray(collection.get_offsets()).shape == (100, 2)
    assert len(np.unique(np.asarray(collection.get_facecolor()), axis=0)) == 3
    many = Scatter(np.arange(40.0), np.arange(40.0), np.arange(40))
    assert len(scatters([[many]]).axes) == 1, "more classes than colours begin again"


def test_lines_have_a_panel_each_with_intervals_and_names() -> None:
    curve = np.array([[0.5, 0.4, 0.7], [0.6, 0.5, 0.7], [0.9, 0.8, 1.0]])
    figure = lines(
        [
            Lines([1, 10, 100], {"ours": curve, "theirs": np.array([0.1, 0.2, 0.3])}, ("labels", "accuracy"), logarithmic=True),
            Lines([1, 2], {"": np.array([1.0, 2.0])}, limits=(0, 5), title="one curve"),
        ]
    )
    first, second = figure.axes
    assert first.get_xscale() == "log"
    assert [label.get_text() for label in first.get_xticklabels()] == ["1", "10", "100"]
    assert first.get_legend() is not None
    assert second.get_legend() is None
    assert second.get_ylim() == (0, 5)
    assert second.get_title() == "one curve"
    (bars,) = first.collections
    np.testing.assert_allclose([path.vertices[:, 1] for path in bars.get_paths()], curve[:, 1:])  # type: ignore[index]
    drawn(figure)


def test_grids_have_a_panel_each_with_every_number() -> None:
    values = np.array([[1.0, -2.0], [0.25, 0.0], [3.0, 1.5]])
    figure = grids([Grid(values, ["a", "b", "c"], ["d", "e"], "Effects", "{:+.2f}"), Grid(values[:1], ["a"], ["d", "e"])])
    first, second = figure.axes
    assert sorted(text.get_text() for text in first.texts) == sorted(["+1.00", "-2.00", "+0.25", "+0.00", "+3.00", "+1.50"])
    assert [text.get_text() for text in second.texts] == ["1.00", "-2.00"]
    assert first.get_images()[0].get_clim() == (0, 3)
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b", "c"]
    drawn(figure)


def test_a_grid_of_nothing_but_zeros_and_one_with_a_gap_are_drawn() -> None:
    drawn(grids([Grid(np.zeros((2, 2)), ["a", "b"], ["c", "d"])]))
    drawn(grids([Grid(np.array([[1.0, np.nan]]), ["a"], ["c", "d"])]))


def test_a_grid_without_any_number_is_drawn() -> None:
    drawn(grids([Grid(np.full((1, 2), np.nan), ["a"], ["c", "d"])]))
