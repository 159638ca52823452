"""A tab without a browser: edits, undo, what is copied, and what is made of a sample."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labelspace import interventions
from labelspace.cli import main
from labelspace.errors import OutsideData, UserError
from labelspace.explorer.session import Session, animation
from labelspace.explorer.steps import MoveBlock, Redraw, Sample, SetLabel, TakeFrom
from labelspace.models import MODELS, model_class
from labelspace.reporting import colours

EVERY_KIND = sorted(name for name in MODELS if model_class(name).label_kinds == ("binary", "categorical", "continuous"))


def labelled(session: Session) -> str:
    """A label with a block of its own."""
    return next(b.label for b in session.bench.model.blocks if b.label)


def at(session: Session, block: str, value: float) -> MoveBlock:
    """All coordinates of a block at one number."""
    return MoveBlock(block, (value,) * session.bench.model.blocks.named(block).size)


def rerun(text: str) -> interventions.Intervention:
    """Runs copied lines and returns the edit that they end with."""
    scope: dict = {}
    exec(compile(text, "copied", "exec"), scope)
    return scope["edit"]


# -- every model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY_KIND)
def test_every_block_of_every_model_is_drawn_and_moved(name: str, vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of(name, vectors, latent=4)
    for block in session.bench.model.blocks:
        chart = session.bench.chart(block.name, "kind")
        drawn = chart.to_dict()
        json.dumps(drawn, allow_nan=False)
        assert len(drawn["cloud"]) == len(drawn["colours"])
        middle = [(low + high) / 2 for low, high in zip(chart.low, chart.high, strict=True)]
        step = session.point_step(block.name, middle)
        state = session.preview(step)
        assert chart.locate(state.codes[block.name]) == pytest.approx(middle, abs=2e-3 * max(1, *map(abs, middle)))
        assert not session.steps  # a preview changes nothing
        others = [b.name for b in session.bench.model.blocks if b.name != block.name]
        for other in others if isinstance(step, MoveBlock) else []:
            torch.testing.assert_close(state.codes[other], session.base.codes[other])


@pytest.mark.parametrize("name", EVERY_KIND)
def test_copied_lines_and_commands_make_the_same_edit(
    name: str, vectors: str, session_of: Callable[..., Session], tmp_path: Path, capsys
) -> None:
    session = session_of(name, vectors, latent=4)
    session.choose(session.of_data(session.bench.row("test:3")))
    for label, value in (("on", 1), ("kind", "red"), ("amount", 5.5), ("on", 0)):
        session.apply(SetLabel(label, value))
    check_copies(session, tmp_path / "set.npz", "edit")
    block = session.bench.model.blocks[-1].name
    session.apply(session.point_step(block, session.bench.chart(block).low))
    session.apply(Redraw(session.bench.model.blocks[0].name, 7))
    check_copies(session, tmp_path / "mixed.npz", "move")
    capsys.readouterr()


def check_copies(session: Session, out: Path, command: str) -> None:
    torch.testing.assert_close(rerun(session.python()).x, session.x)
    words = shlex.split(session.command())
    assert words[:2] == ["labelspace", command]
    words[words.index("--out") + 1] = str(out)
    assert main(words[1:]) == 0
    torch.testing.assert_close(torch.from_numpy(np.load(out)["x"]), session.x)


def test_a_transfer_is_copied_as_a_transfer(vectors: str, session_of: Callable[..., Session], tmp_path: Path) -> None:
    session = session_of("lsvae", vectors)
    with pytest.raises(UserError, match="choose a donor first"):
        session.transfer("kind")
    row = session.bench.row("val:2")
    session.donor = session.of_data(row)
    session.transfer("kind")
    assert session.value("kind")[0] == session.bench.values(row)["kind"]
    check_copies(session, tmp_path / "t.npz", "transfer")
    session.apply(SetLabel("on", 1))
    check_copies(session, tmp_path / "m.npz", "move")


def test_details_are_kept_in_copies_too(pictures: str, session_of: Callable[..., Session], tmp_path: Path) -> None:
    session = session_of("lsvae", pictures)
    session.set_keep_detail(True)
    torch.testing.assert_close(session.x, session.sample.x)
    session.apply(SetLabel("lit", 1))
    session.apply(MoveBlock("w.lit", (0.5, -0.25)))
    expected = interventions.move(
        session.bench.model, session.sample.x, {"w.lit": (0.5, -0.25)}, session.sample.labels, keep_detail=True
    )
    torch.testing.assert_close(session.x, expected.x)
    torch.testing.assert_close(rerun(session.python()).x, session.x)
    assert "--keep-detail" in session.command()
    session.set_keep_detail(False)
    torch.testing.assert_close(session.x, rerun(session.python()).x)
    assert "keep_detail" not in session.python()


def test_steps_that_do_not_matter_any_more_are_not_copied(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    for i in range(5):
        session.apply(MoveBlock("w.on", (0.1 * i, 0.0)))
    session.apply(SetLabel("kind", "red"))
    session.apply(SetLabel("on", 1))
    assert session.needed() == [SetLabel("kind", "red"), SetLabel("on", 1)]
    assert len(session.steps) == 3  # moves of a block that follow each other are one


def test_steps_are_left_out_one_by_one_where_blocks_depend_on_each_other(
    vectors: str, session_of: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelspace.explorer import script

    session = session_of("lsvae", vectors)
    steps = [SetLabel("on", 1), SetLabel("kind", "red"), SetLabel("on", 0)]
    for step in steps:
        session.apply(step)
    assert session.needed() == steps[1:]
    same = script._same
    answers = iter([False])  # as if the last step of each block were not enough
    monkeypatch.setattr(script, "_same", lambda one, other: next(answers, None) is None and same(one, other))
    assert session.needed() == steps[1:]


def test_an_upload_is_copied_by_its_name(
    pictures: str, session_of: Callable[..., Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelspace.explorer.uploads import read_upload

    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).save("my face.png")
    session = session_of("lsvae", pictures)
    x = read_upload(Path("my face.png").read_bytes(), session.bench.data.shape)
    session.choose(Sample("my face.png", x))
    session.apply(MoveBlock("w.lit", (1.0, 2.0)))
    torch.testing.assert_close(rerun(session.python()).x, session.x)
    words = shlex.split(session.command())
    assert words[3] == "./my face.png"
    assert session.saved()[0] == "my-face-edited.png"
    assert main(words[1:]) == 0
    for name in ("test:0", "-x.png"):  # read as a file, whatever it is called
        (tmp_path / name).write_bytes((tmp_path / "my face.png").read_bytes())
        session.choose(Sample(name, x))
        session.apply(MoveBlock("w.lit", (1.0, 2.0)))
        assert main(shlex.split(session.command())[1:]) == 0
    pixels = np.asarray(Image.open("edit.png"))
    assert np.abs(pixels.transpose(2, 0, 1) / 255 - session.x.numpy().clip(0, 1)).max() < 0.003


def test_a_generated_sample_is_drawn_again_by_its_lines(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    drawn = session.generate({"kind": "green"}, 6, seed=3)
    assert drawn.record.target["kind"] == ["green"] * 6
    again = session.redraw_generated("w.on", seed=9)
    assert not torch.equal(again.codes["w.on"], drawn.codes["w.on"])
    for block in ("z", "w.kind", "w.amount"):  # one block only
        torch.testing.assert_close(again.codes[block], drawn.codes[block])
    session.open_drawn(4)
    torch.testing.assert_close(session.sample.x, again.x[4])
    session.apply(SetLabel("kind", "blue"))
    torch.testing.assert_close(rerun(session.python()).x, session.x)
    assert session.command() == ""
    with pytest.raises(UserError, match="1 to 64"):
        session.generate({}, 65, seed=0)


# -- history ----------------------------------------------------------------------------------------------------------


def test_undo_redo_and_reset(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    start = session.x
    first = session.apply(SetLabel("on", 1)).x
    second = session.apply(at(session, "w.kind", 1.0)).x
    session.undo()
    torch.testing.assert_close(session.x, first)
    session.redo()
    torch.testing.assert_close(session.x, second)
    session.reset()
    torch.testing.assert_close(session.x, start)
    session.undo()  # a reset, too, can be undone
    torch.testing.assert_close(session.x, second)
    session.undo()
    session.undo()
    assert not session.can_undo
    session.undo()
    torch.testing.assert_close(session.x, start)
    session.apply(SetLabel("on", 0))
    assert not session.can_redo  # what was undone is gone once something else was done


def test_undo_goes_back_to_every_point_of_a_block(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    session.apply(SetLabel("kind", "red"))
    seen = [session.apply(at(session, "w.on", 0.5 * i)).x for i in range(4)]
    assert len(session.steps) == 2
    torch.testing.assert_close(rerun(session.python()).x, session.x)
    session.undo()
    session.set_keep_detail(True)
    session.set_keep_detail(False)
    for x in reversed(seen[:3]):
        torch.testing.assert_close(session.x, x)
        session.undo()
    assert [a.step for a in session.steps] == [SetLabel("kind", "red")]
    for _ in range(4):
        session.redo()
    torch.testing.assert_close(session.x, seen[3])


def test_details_are_made_once_for_each_step_of_the_history(
    vectors: str, session_of: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelspace.explorer import session as module

    session = session_of("lsvae", vectors)
    for i in range(12):
        session.apply(SetLabel("on", i % 2))
    done, perform = [], module.perform
    monkeypatch.setattr(module, "perform", lambda *given: done.append(given) or perform(*given))
    session.set_keep_detail(True)
    assert len(done) == 12


def test_one_block_is_put_back(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    session.apply(SetLabel("on", 1))
    moved = session.apply(at(session, "w.kind", 1.0))
    session.reset("w.on")
    torch.testing.assert_close(session.state.codes["w.on"], session.base.codes["w.on"])
    torch.testing.assert_close(session.state.codes["w.kind"], moved.codes["w.kind"])
    assert session.status("w.on") == ""
    assert session.status("kind") == session.status("w.kind") == "w.kind moved"


def test_a_refused_step_changes_nothing(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    session.apply(SetLabel("on", 1))
    before = session.x
    for step in (SetLabel("kind", "violet"), SetLabel("colour", 1), MoveBlock("w.on", (1.0,)), MoveBlock("w.x", (1.0, 2.0))):
        with pytest.raises(UserError):
            session.apply(step)
    with pytest.raises(UserError, match="coordinates"):
        session.point_step("w.on", [float("nan"), 0.0])
    torch.testing.assert_close(session.x, before)
    assert len(session.steps) == 1


def test_rows_of_a_table_keep_their_details_and_have_missing_cells_filled(
    session_of: Callable[..., Session], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "table.npz"
    x = np.stack([rng.normal(size=90), rng.integers(0, 2, 90)], 1).astype(np.float32)
    x[:, 0][rng.random(90) < 0.5] = np.nan
    np.savez(file, x=x, columns=np.array(["continuous", "count"]), on=rng.integers(0, 2, 90))
    session = session_of("lsvae", f"npz:{file}", latent=2)
    assert session.keep_detail, "as edits of rows do"
    session.set_keep_detail(False)
    session.apply(SetLabel("on", 1))
    plain, missing = session.x, session.sample.x.isnan()
    session.set_keep_detail(True)
    assert session.keep_detail
    assert bool(session.x.isfinite().all())
    torch.testing.assert_close(session.x[missing], plain[missing])
    assert not torch.equal(session.x, plain)
    session.set_keep_detail(False)
    torch.testing.assert_close(session.x, plain)


def test_tabs_do_not_share_state(vectors: str, session_of: Callable[..., Session]) -> None:
    one, other = session_of("lsvae", vectors), session_of("lsvae", vectors)
    assert one.bench is other.bench
    one.apply(SetLabel("on", 1))
    assert not other.steps
    torch.testing.assert_close(other.x, other.base.x)


# -- values and records -----------------------------------------------------------------------------------------------


def test_values_are_known_set_moved_or_predicted(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    row = next(int(r) for r in session.bench.gallery if session.bench.values(int(r))["on"] is None)
    session.choose(session.of_data(row))
    assert session.value("on")[1] is False  # predicted
    assert session.value("kind") == (session.bench.values(row)["kind"], True)
    session.apply(SetLabel("on", 1))
    assert session.value("on") == (1, True)
    session.apply(MoveBlock("w.on", (0.0, 0.0)))
    assert session.value("on") == (None, True)  # a point of the block is no value


def test_the_record_tells_the_whole_edit(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    row = session.bench.row("test:1")
    session.choose(session.of_data(row))
    session.apply(SetLabel("kind", "red"))
    session.apply(at(session, "z", 0.5))
    record = json.loads(session.record_json())
    assert record["sample"] == "test:1"
    assert set(record["changed"]) == {"z", "w.kind"}
    assert record["source"]["kind"] == [session.bench.values(row)["kind"]]
    assert record["target"]["kind"] == ["red"]
    assert [step["kind"] for step in record["options"]["after"]] == ["set"]
    name, content = session.saved()
    assert name == "test-1-edited.npz"
    saved = np.load(io.BytesIO(content))
    np.testing.assert_allclose(saved["x"], session.x.numpy())
    assert json.loads(str(saved["record"]))["changed"] == record["changed"]


def test_a_saved_picture_carries_its_record(pictures: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", pictures)
    session.apply(SetLabel("lit", 1))
    name, content = session.saved()
    assert name.endswith("-edited.png")
    image = Image.open(io.BytesIO(content))
    assert image.size == (16, 16)
    assert json.loads(image.info["labelspace"])["target"] == {"lit": [1]}


# -- what is made of a sample -----------------------------------------------------------------------------------------


def test_walks_start_at_the_edit(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    session.donor = session.of_data(session.bench.row("val:0"))
    session.apply(SetLabel("on", 1))
    walk = session.interpolate(5)
    torch.testing.assert_close(walk.x[0], session.x)
    own = session.interpolate(5, ["w.kind"])
    assert own.x.shape == (5, 5)
    torch.testing.assert_close(own.codes["w.on"], session.state.codes["w.on"].expand(5, -1))
    grid = session.grid("w.kind", [0, 1], 3, "data")
    assert grid.x.shape == (3, 3, 5)
    torch.testing.assert_close(grid.codes["w.on"], session.state.codes["w.on"].expand(9, -1))
    assert "w.on" in grid.record.changed


def test_an_animation_goes_there_and_back() -> None:
    walk = torch.linspace(0, 1, 6)[:, None, None, None].expand(6, 3, 16, 16)
    image = Image.open(io.BytesIO(animation(walk)))
    assert getattr(image, "n_frames", 1) == 10
    assert image.size == (256, 256)


def test_redraws_differ_and_are_reproducible(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    one = session.apply(Redraw("w.on", 5)).codes["w.on"]
    session.undo()
    torch.testing.assert_close(session.apply(Redraw("w.on", 5)).codes["w.on"], one)
    session.undo()
    assert not torch.equal(session.apply(Redraw("w.on", 6)).codes["w.on"], one)


def test_predicted_labels_are_no_change_of_the_truth(session_of: Callable[..., Session]) -> None:
    pytest.importorskip("skia")
    pytest.importorskip("python_avatars")
    session = session_of("lsvae", "faces:n=60,size=16")
    one = session.of_data(int(session.bench.gallery[0]))
    assert session.bench.model.encoder_needs_labels
    assert one.labels is not None
    session.choose(replace(one, labels=(torch.zeros_like(one.labels[0]), torch.zeros_like(one.labels[1]))))
    with pytest.raises(UserError, match="change one label"):
        session.truth()
    now = session.value("Eyeglasses")[0]
    session.apply(SetLabel("Eyeglasses", 1 - now))
    assert session.truth().title == f"Eyeglasses {1 - now}"


def test_labels_of_small_units_are_moved(session_of: Callable[..., Session], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "small.npz", x=rng.normal(size=(120, 5)).astype(np.float32), mass=rng.normal(4e-7, 1e-7, 120))
    session = session_of("condvae", f"npz:{tmp_path / 'small.npz'}", latent=2)
    block = session.bench.model.blocks.of("mass").name
    chart = session.bench.chart(block)
    drawn = chart.to_dict()
    assert drawn["block"] == block
    point = round(chart.low[0] + 0.3 * (chart.high[0] - chart.low[0]), drawn["digits"])
    session.apply(session.point_step(block, [point]))
    assert session.value("mass")[0] == pytest.approx(point, rel=1e-4)
    assert session.where(block)[0] == pytest.approx(point, rel=1e-2)


def test_a_value_has_the_colour_that_reports_give_it(vectors: str, session_of: Callable[..., Session]) -> None:
    bench = session_of("lsvae", vectors).bench
    for label in ("on", "kind"):
        shown = dict(bench.chart("z", label).colours)
        assert list(shown.values()) == list(colours.of_values(bench.data.schema, label))
        assert bench.chart("z", label).to_dict()["colours"][-1] == colours.OTHER


def test_names_and_scales_of_samples(vectors: str, session_of: Callable[..., Session]) -> None:
    bench = session_of("lsvae", vectors).bench
    assert all(bench.has(row) and bench.row(bench.name(row)) == row for row in range(len(bench.data)))
    assert not any(bench.has(row) for row in (-1, len(bench.data), "0", None))
    assert bench.ranges["x2"] == pytest.approx([bench.data.x[:, 1].min(), bench.data.x[:, 1].max()])


def test_entries_are_shown_in_the_words_of_the_data(
    things: str, session_of: Callable[..., Session], tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = session_of("lsvae", things, labels=("kind", "on")).bench
    assert bench.features == ("amount", "colour", "size")
    assert [bench.text(1, 0.0), bench.text(1, 1.0), bench.text(1, float("nan"))] == ["deep red", "pale blue", "missing"]
    assert bench.text(0, 5.123456) == "5.123"
    rng, file = np.random.default_rng(0), tmp_path_factory.mktemp("far") / "far.csv"
    seconds = 1_700_000_000 + rng.integers(0, 5000, 80)
    file.write_text("when,on\n" + "".join(f"{second},{i % 2}\n" for i, second in enumerate(seconds)))
    far = session_of("lsvae", f"table:{file}", labels=("on",)).bench
    assert [far.text(0, float(x)) for x in far.data.x[:20, 0]] == [str(second) for second in seconds[:20]]


def test_what_a_map_does_not_show_is_held(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors, latent=4)
    shown = session.bench.block_map("z")
    for i in range(20):
        session.apply(session.point_step("z", [0.1 * i, -0.05 * i]))
    moved = session.state.codes["z"] - session.base.codes["z"]
    torch.testing.assert_close(moved @ shown.axes @ shown.axes.T, moved, atol=1e-5, rtol=1e-5)


def test_a_number_has_its_truth(session_of: Callable[..., Session]) -> None:
    session = session_of("condvae", "sprites:n=60,size=16")
    row = int(session.bench.gallery[0])
    session.choose(session.of_data(row))
    session.apply(SetLabel("x", 0.74))
    found = session.truth()
    assert found.styles == ("0.742",)
    assert torch.equal(found.x, session.bench.data.counterfactuals("x", 0.74, [row])[0][0])
    with pytest.warns(OutsideData, match=r"x=1.5 lies outside of the training data's 0 to 1"):
        session.apply(SetLabel("x", 1.5))
    with pytest.raises(UserError, match="x goes from 0 to 1"):
        session.truth()


def test_truth_says_why_there_is_none(vectors: str, session_of: Callable[..., Session]) -> None:
    with pytest.raises(UserError, match="only data that are generated"):
        session_of("lsvae", vectors).truth()


# -- searching --------------------------------------------------------------------------------------------------------


def test_search(vectors: str, session_of: Callable[..., Session]) -> None:
    bench = session_of("lsvae", vectors).bench
    assert len(bench.search("")) == len(bench.data)
    for text, holds in (
        ("kind=red", lambda v: v["kind"] == "red"),
        ("kind != red, on=1", lambda v: v["kind"] != "red" and v["on"] == 1),
        ("amount>5, amount<=6", lambda v: 5 < v["amount"] <= 6),
        ("on=?", lambda v: v["on"] is None),
    ):
        rows = bench.search(text)
        assert 0 < len(rows) < len(bench.data)
        assert all(holds(bench.values(int(row))) for row in rows)
        assert len(rows) == sum(holds(bench.values(row)) for row in range(len(bench.data)))
    assert [bench.name(int(row)) for row in bench.search("val:3")] == ["val:3"]
    assert len(bench.search("test")) == len(bench.data.rows("test"))
    for text, said in (
        ("kind=violet", "violet"),
        ("size=3", "size"),
        ("nonsense", "not a search"),
        ("kind>red", "without an order"),
        ("test:9999", "no sample"),
    ):
        with pytest.raises(UserError, match=said):
            bench.search(text)


def test_a_donor_may_come_from_anywhere(vectors: str, session_of: Callable[..., Session]) -> None:
    session = session_of("lsvae", vectors)
    session.generate({"kind": "blue"}, 3, seed=1)
    session.open_drawn(2)
    donor = session.sample
    session.choose(session.of_data(session.bench.row("test:0")))
    session.donor = donor
    session.apply(TakeFrom(labelled(session), donor))
    torch.testing.assert_close(rerun(session.python()).x, session.x)
    assert session.command().startswith("labelspace move")
