"""What exists is not destroyed by ``--out``, and arguments mean what they look like."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import labelspace as ls
from labelspace.cli import main, parser
from labelspace.commands import outputs
from labelspace.errors import UserError
from labelspace.storage import files

Fails = Callable[..., None]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("run") / "run"
    data = ls.open("swiss-roll:n=60")
    torch.manual_seed(0)
    ls.fit(ls.build("csvae", data), data, out=home, epochs=1, progress=False)
    return home


def edit(run: Path, out: object, *more: str) -> list[str]:
    return ["edit", str(run), "test:0", "--set", "side=1", "--out", str(out), *more]


def test_a_file_that_the_commands_did_not_write_is_kept(trained: Path, tmp_path: Path, fails: Fails) -> None:
    out = tmp_path / "mine.csv"
    out.write_text("mine")
    fails(edit(trained, out), str(out), "is there already", "--overwrite")
    assert out.read_text() == "mine"
    assert main(edit(trained, out, "--overwrite")) == 0
    assert out.read_text() != "mine"


def test_a_file_that_a_command_wrote_is_replaced_until_it_is_changed(trained: Path, tmp_path: Path, fails: Fails) -> None:
    out = tmp_path / "new.csv"
    assert main(edit(trained, out)) == 0
    assert main(edit(trained, out)) == 0
    with out.open("a") as file:
        file.write("a note\n")
    fails(edit(trained, out), "is not as labelspace wrote it")
    shutil.copyfile(out, tmp_path / "copy.csv")
    fails(edit(trained, tmp_path / "copy.csv"), "is there already")


def test_names_that_commands_choose_are_looked_at_too(
    trained: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edit.csv").write_text("mine")
    fails(["edit", str(trained), "test:0", "--set", "side=1"], "edit.csv is there already")
    assert (tmp_path / "edit.csv").read_text() == "mine"


def test_links_are_refused_or_written_through(trained: Path, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "mine.csv").write_text("mine")
    link = tmp_path / "link.csv"
    link.symlink_to("mine.csv")
    fails(edit(trained, link), "is a link to", "mine.csv")
    assert main(edit(trained, link, "--overwrite")) == 0
    assert link.is_symlink()
    assert (tmp_path / "mine.csv").read_text() != "mine"
    (tmp_path / "nowhere.csv").symlink_to("absent.csv")
    fails(edit(trained, tmp_path / "nowhere.csv"), "is a link to")


def test_devices_and_pipes_are_never_replaced(trained: Path, tmp_path: Path, fails: Fails) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for out in ("/dev/null", tmp_path / "pipe.csv"):
        for more in ((), ("--overwrite",)):
            fails(edit(trained, out, *more), "is a device or a pipe")


def test_an_input_is_not_an_output(trained: Path, tmp_path: Path, fails: Fails) -> None:
    table = tmp_path / "t.npz"
    assert main(["embed", str(trained), "swiss-roll:n=60", "--out", str(table)]) == 0  # remembered as ours, and still an input
    fails(["predict", str(trained), f"npz:{table}", "--out", str(tmp_path / "." / "t.npz")], "t.npz")
    fails(["embed", str(trained), f"npz:{table}", "--out", str(table)], "is read by the same command", "--overwrite")
    fails(["report", str(trained), "--out", str(trained / "model.safetensors"), "--quick"], "is there already")
    ls.load(trained)


def test_every_command_that_writes_a_file_can_be_told_to_overwrite(capsys: pytest.CaptureFixture) -> None:
    for name in ("edit", "transfer", "move", "traverse", "inpaint", "generate", "embed", "predict", "report", "export"):
        with pytest.raises(SystemExit):
            parser().parse_args([name, "--help"])
        assert "--overwrite" in capsys.readouterr().out, name


# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("span", [["--span", "-2:2"], ["--span=-2:2"], ["--span", "-.5:.5"]])
def test_what_begins_with_a_minus_and_a_digit_is_a_value(span: list[str], trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "walk.npz"
    assert main(["traverse", str(trained), "test:0", "--label", "side", *span, "--out", str(out)]) == 0
    assert out.exists()


def test_a_grid_of_vectors_is_a_table(trained: Path, tmp_path: Path, fails: Fails) -> None:
    walk = ["traverse", str(trained), "test:0", "--label", "side", "--coordinates", "0,1", "--steps", "3", "--out"]
    assert main([*walk, str(tmp_path / "walk.csv")]) == 0
    assert len((tmp_path / "walk.csv").read_text().strip().splitlines()) in (9, 10)  # with a line of names, or without
    fails([*walk, str(tmp_path / "walk.png")], "use one of .npz, .csv")


def test_two_dashes_behind_an_equals_sign_are_a_value(fails: Fails, tmp_path: Path) -> None:
    fails(["train", "swiss-roll:n=60", "--group=--", "--out", str(tmp_path / "r")], "unknown group '--'")


@pytest.mark.parametrize("option", ["--out", "--labels", "--group", "--model", "--config", "--init-from"])
def test_an_empty_value_is_a_variable_that_is_not_set(option: str, fails: Fails, tmp_path: Path) -> None:
    for value in ([f"{option}="], [option, ""], [option, " "]):
        fails(["train", "swiss-roll:n=60", *value], f"argument {option}: expected a value, got an empty one")
    fails(["train", ""], "expected a value")


def test_an_option_of_an_address_is_given_once(fails: Fails) -> None:
    fails(["data", "inspect", "swiss-roll:n=60,n=70"], "gives n twice: n=60 and n=70")


def test_a_label_is_set_once(trained: Path, tmp_path: Path, fails: Fails) -> None:
    fails(edit(trained, tmp_path / "a.csv", "--set", "side=0"), "label 'side' is set twice")
    assert main(edit(trained, tmp_path / "a.csv", "--set", "side=1")) == 0


def test_a_block_is_put_at_one_point(trained: Path, tmp_path: Path, fails: Fails) -> None:
    moved = ["move", str(trained), "test:0", "--out", str(tmp_path / "a.csv"), "--to", "z=0,0"]
    fails([*moved, "--to", "z=1,0"], "block 'z' is put at two points")
    assert main([*moved, "--to", "z=0,0"]) == 0


@pytest.mark.parametrize("span", ["-1e300:1e300", "-1e400:1e400", "1:1e38", "2:-2", "0:nan"])
def test_a_walk_has_two_ends_that_numbers_of_32_bits_reach(span: str, trained: Path, tmp_path: Path, fails: Fails) -> None:
    walk = ["traverse", str(trained), "--label", "side", "--span", span, "--out", str(tmp_path / "a.npz")]
    fails(walk, "a walk goes from a smaller to a larger number")


@pytest.mark.parametrize("seed", ["9000000000000000000", "4294967296", "-1"])
def test_seeds_are_such_that_all_libraries_take_them(seed: str, trained: Path, fails: Fails) -> None:
    for command in (["train", "swiss-roll:n=60"], ["data", "inspect", "swiss-roll"], ["evaluate", str(trained)]):
        fails([*command, "--seed", seed], "out of range; expected 0 to 4,294,967,295")
    with pytest.raises(ls.UserError, match="the seed must be 0 to 4,294,967,295"):
        ls.open("swiss-roll:n=60", seed=int(seed))


def test_what_is_written_is_known_however_the_command_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = argparse.Namespace(out=str(tmp_path / "o.csv"), command="edit")

    def killed(content: str) -> None:
        with suppress(KeyboardInterrupt), outputs.remembering(given):
            files.write(Path(given.out), content)
            raise KeyboardInterrupt

    killed("a")
    outputs.check(given)
    with monkeypatch.context() as patched:  # killed between the note and the file
        patched.setattr(files.os, "replace", _only_notes(os.replace, given.out))
        killed("b")
    assert Path(given.out).read_text() == "a"
    outputs.check(given)
    Path(given.out).write_text("mine")
    with pytest.raises(UserError, match="is not as labelspace wrote it"):
        outputs.check(given)


def _only_notes(replace, out: str):
    def stopped(source, target) -> None:
        if str(target) == out:
            raise KeyboardInterrupt
        replace(source, target)

    return stopped


def test_codes_are_added_to_a_file_and_not_through_a_link_to_it(tmp_path: Path) -> None:
    there, link = tmp_path / "cells.h5ad", tmp_path / "link.h5ad"
    there.write_bytes(b"cells")
    link.symlink_to(there)
    outputs.check(argparse.Namespace(command="embed", data=f"h5ad:{there}", out=str(there)))
    with pytest.raises(UserError, match="is a link to"):
        outputs.check(argparse.Namespace(command="embed", data=f"h5ad:{link}", out=str(link), overwrite=False))
