"""Figures as functions of arrays: they have the panels that were asked for, and can be written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from labelspace.errors import UserError
from labelspace.reporting import colours
from labelspace.reporting.figures import (
    Grid,
    Lines,
    Map,
    Scatter,
    Sheet,
    Spot,
    grids,
    lines,
    maps,
    render,
    scatters,
    sheets,
    write,
)


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


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_a_sheet_has_all_images_and_its_names(channels: int) -> None:
    sheet = Sheet("Faces", images(2, 3, channels), rows=["plain", "edited"], columns=["a", "b", "c"], axes=("right", "down"))
    figure = sheets([sheet])
    assert len(figure.axes[0].get_images()) == 6
    written = [text.get_text() for text in figure.texts]
    for text in ("Faces", "plain", "edited", "a", "b", "c"):
        assert text in written
    assert any("right" in text for text in written)
    assert min(drawn(figure)) > 50


def test_sheets_show_the_pixels_that_they_are_given() -> None:
    x = torch.zeros(1, 3, 1, 6, 6)
    x[0, 1] = 1
    x[0, 2] = torch.nan
    first, second = sheets([Sheet("", x)]).axes[0].get_images()
    assert np.asarray(first.get_array()).max() == 0
    assert np.asarray(second.get_array()).min() == 255
    assert first.get_clim() == (0, 255), "white is white in every image, however dark the others"


def placed(figure: Figure) -> list[list[tuple[float, ...]]]:
    """Left, right, bottom and top of every image in inches, sheet by sheet."""
    return [[tuple(image.get_extent()) for image in axis.get_images()] for axis in figure.axes]


def test_sheets_lie_one_above_the_other_with_images_of_one_size() -> None:
    figure = sheets([Sheet("first", images(1, 4), rows=["a long name"]), Sheet("second", images(2, 2))], cell=0.5)
    above, below = placed(figure)
    assert (len(above), len(below)) == (4, 4)
    assert max(top for *_, top in below) < min(bottom for _, _, bottom, _ in above)
    assert {round(right - left, 6) for left, right, *_ in above + below} == {0.485}
    assert below[0][0] == above[0][0], "columns are in line"
    width, height = figure.get_size_inches()
    assert all(left >= 0 and right <= width and bottom >= 0 and top <= height for left, right, bottom, top in above + below)
    drawn(figure)


def test_first_columns_can_be_set_apart_and_names_are_wrapped() -> None:
    near, apart = (placed(sheets([Sheet("", images(2, 3), apart=gap)]))[0] for gap in ((0, 0), (1, 1)))
    assert apart[1][0] - apart[0][1] > near[1][0] - near[0][1]
    assert apart[2][0] - apart[1][1] == pytest.approx(near[2][0] - near[1][1])
    assert apart[0][2] - apart[3][3] > near[0][2] - near[3][3]
    figure = sheets(
        [Sheet("", images(1, 1), rows=["a name that is far too long for one line"], columns=["one two three four"])]
    )
    assert all(len(line) <= 24 for text in figure.texts for line in text.get_text().splitlines())
    drawn(figure)


def test_images_keep_their_shape() -> None:
    left, right, bottom, top = placed(sheets([Sheet("", torch.rand(1, 1, 1, 4, 8))]))[0][0]
    assert (right - left) / (top - bottom) == pytest.approx(2)


def test_differences_have_colours_around_white() -> None:
    x = torch.stack([torch.full((1, 6, 6), value) for value in (-0.5, 0.0, 0.5)])[None]
    less, none, more = (np.asarray(image.get_array())[0, 0] for image in sheets([Sheet("", x, limit=0.5)]).axes[0].get_images())
    assert none.min() > 240
    assert less[2] > less[1], "violet is less"
    assert more[0] > more[2], "orange is more"


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
    assert first.collections[0].get_clim() == (0, 3)
    assert first.yaxis_inverted(), "the first row is on top"
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b", "c"]
    drawn(figure)


def test_a_grid_of_nothing_but_zeros_and_one_with_a_gap_are_drawn() -> None:
    drawn(grids([Grid(np.zeros((2, 2)), ["a", "b"], ["c", "d"])]))
    drawn(grids([Grid(np.array([[1.0, np.nan]]), ["a"], ["c", "d"])]))


def test_a_grid_without_any_number_is_drawn() -> None:
    drawn(grids([Grid(np.full((1, 2), np.nan), ["a"], ["c", "d"])]))


def test_signed_grids_and_grids_in_rows() -> None:
    panels = [Grid(np.array([[-2.0, 1.0]]), ["a"], ["b", "c"], signed=True, form="", top=3.0)] * 3
    figure = grids(panels, columns=2)
    assert [axis.axison for axis in figure.axes] == [True, True, True, False]
    assert figure.axes[0].collections[0].get_clim() == (-3, 3)
    assert not figure.axes[0].texts
    drawn(figure)


def test_titles_of_small_grids_do_not_overlap() -> None:
    figure = grids([Grid(np.ones((1, 1)), ["a"], ["a"], "a rather long title of a matrix") for _ in range(2)])
    FigureCanvasAgg(figure).draw()
    first, second = (axis.title.get_window_extent() for axis in figure.axes)
    assert first.x1 < second.x0


def test_curves_share_a_legend_and_leave_gaps() -> None:
    curve = np.array([1.0, np.nan, 3.0])
    panels = [Lines([1, 2, 3], {"a": curve, "b": curve + 1}, mark=2, note="so", whole=True, dashed=frozenset({"b"}))] * 3
    figure = lines(panels, columns=2, shared=True)
    assert [axis.axison for axis in figure.axes] == [True, True, True, False]
    assert [axis.get_legend() for axis in figure.axes[:3]] == [None] * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    drawn(figure)


def cloud(k: int, **more) -> Map:
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 4 - 1
    return Map(rng.normal(size=(60, k)), **{"classes": classes, "names": ["x", "y", "$z_$"], **more})


def test_maps_show_points_priors_and_paths() -> None:
    spots = [Spot("x", np.zeros(2), np.array([[4.0, 0], [0, 1]]), colours.COLOURS[0]), Spot("", np.ones(2), np.zeros((2, 2)))]
    figure = maps(
        [[cloud(2, spots=spots, paths=[np.array([[0.0, 0], [9, 0]]), np.zeros((2, 2))]), cloud(2)], [cloud(2)]], ["a", "b"]
    )
    first = figure.axes[0]
    ellipses = [patch for patch in first.patches if hasattr(patch, "get_angle")]
    assert [round(max(e.width, e.height), 3) for e in ellipses] == [4, 8], "one and two standard deviations"  # type: ignore[attr-defined]
    assert first.get_xlim()[1] > 9
    legend = first.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["x", "y", r"\$z_\$", "not known"]
    assert [axis.axison for axis in figure.axes] == [True, True, True, False]
    drawn(figure)


def test_maps_of_numbers_and_of_one_coordinate() -> None:
    numbers = np.linspace(0, 1, 60)
    numbers[::5] = np.nan
    spot = Spot("1", np.zeros(1), np.ones((1, 1)))
    point = Spot("2", np.ones(1), np.zeros((1, 1)))
    panels = [cloud(2, classes=None, numbers=numbers, names=[]), cloud(1, spots=[spot, point], axes=("w",))]
    panels += [cloud(1, classes=None, numbers=numbers, names=[], spots=[spot]), cloud(2, classes=None, names=[])]
    drawn(maps([panels]))
    drawn(maps([[cloud(2, numbers=np.full(60, np.nan), classes=None, names=[])]]))


def test_maps_can_show_the_same_part_of_the_plane() -> None:
    figure = maps([[cloud(2), Map(np.array([[20.0, 0], [30, 5]]))]], alike=True)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_more_classes_than_colours_have_other_shapes() -> None:
    n = len(colours.COLOURS)
    rng = np.random.default_rng(0)
    part = Map(rng.normal(size=(40, 2)), np.arange(40) % (n + 1), names=[str(i) for i in range(n + 1)])
    legend = maps([[part]]).axes[0].get_legend()
    assert legend is not None
    marks = [(line.get_color(), line.get_marker()) for line in legend.get_lines()]
    assert len(set(marks)) == n + 1


def figures() -> list[Figure]:
    return [
        sheets([Sheet("Faces", images(1, 2), rows=["$"])]),
        maps([[cloud(2, spots=[Spot("x", np.zeros(2), np.eye(2))])]]),
        lines([Lines([1, 2], {"a": np.array([1.0, 2.0])})]),
        grids([Grid(np.eye(2), ["a", "b"], ["c", "d"])]),
    ]


@pytest.mark.parametrize(("ending", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".SVG", b"<?xml")])
def test_a_figure_is_written_as_its_path_ends_with_the_same_bytes(ending: str, start: bytes, tmp_path: Path) -> None:
    for i, (figure, again) in enumerate(zip(figures(), figures(), strict=True)):
        one, two, three = (tmp_path / f"{i}-{k}{ending}" for k in range(3))
        write(figure, one)
        write(figure, two)
        write(again, three)
        assert one.read_bytes().startswith(start)
        assert one.read_bytes() == two.read_bytes() == three.read_bytes()


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.png, \.svg, \.pdf"):
        write(figures()[0], tmp_path / "figure.bmp")
    assert not list(tmp_path.iterdir())


def test_vector_files_hold_pixels_as_they_are() -> None:
    figure = figures()[0]
    text = render(figure, "svg").decode()
    assert text.count("<image ") == 2
    assert 'width="6"' in text, "six pixels of the image, not of the page"
    assert figure.axes[0].get_images()[0].get_interpolation() == "lanczos", "what it was before"
