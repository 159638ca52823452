"""What a recipe leaves behind: a page and a file that say what was claimed, what was run, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import labelspace
from labelspace.data.dataset import Dataset
from labelspace.experiments import evidence
from labelspace.experiments.grid import JudgeReads
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Recipe, Result, Scale, Table, over_seeds, pick, setting, spread
from labelspace.experiments.verdicts import Claim, Group, Part, Quantity
from labelspace.models.base import Model
from labelspace.reporting.figures import Lines, lines


class Small(Recipe):
    """Three claims about numbers that are given."""

    claim, paper, needs = "small things are small", "Small and Smaller 1999", "mnist:DIR"

    def jobs(self, scale: Scale, address: str) -> list[Job]:
        return [Job("vae", f"{address},val=0", seed=seed, epochs=1) for seed in (104, 102)]

    def measure(self, job: Job, model: Model, data: Dataset, scale: Scale) -> dict[str, Any]:
        raise NotImplementedError

    def groups(self, results: list[Result]) -> dict[str, Group]:
        # Each result stands for five seeds, so that there is something to say.
        return {"them": {r.job.seed + 10 * i: r.measured for r in results for i in range(5)}}

    def claims(self, groups: Mapping[str, Group]) -> list[Claim]:
        size = Quantity("size", lambda found: found["size"])
        return [
            Claim("sizes are below one", (Part(size, "them", "below", 1.0),)),
            Claim("sizes are below nothing", (Part(size, "them", "below", 0.0),)),
            Claim("others are small", (Part(size, "others", "below", 1.0),)),
        ]

    def tables(self, results: list[Result]) -> list[Table]:
        return [Table("Sizes", ["run", "size"], [[str(r.job.seed), f"{r.measured['size']:.2f}"] for r in results])]

    def draw(self, results: list[Result], scale: Scale) -> dict[str, Figure]:
        return {"sizes.png": lines([Lines([1, 2], {"size": np.array([0.1, 0.2])})])}


ADDRESS = "mnist:/home/somebody/digits"


def results(home: Path, failed: str = "") -> list[Result]:
    planned = Small().jobs("cpu", ADDRESS)
    made = [Result(planned[0], home / "runs" / planned[0].key, {"size": 0.25}, 90.0)]
    return [*made, Result(planned[1], home / "runs" / planned[1].key, {} if failed else {"size": 0.75}, 33.04, failed)]


def test_the_page_says_how_well_the_judges_read_and_whom_not_to_trust(tmp_path: Path) -> None:
    read = {"Smiling": JudgeReads([0.99, 1.0], [0.98, 0.99]), "Beard": JudgeReads([0.97, 0.98], [0.99, 0.9])}
    _, out = evidence.write("small", Small(), "cpu", ADDRESS, results(tmp_path), tmp_path, read)
    page = (out / "results.md").read_text()
    assert "on real test samples: Smiling 99.5% (99.0% - 100.0%), Beard 97.5% (97.0% - 98.0%)" in page
    assert "on true counterfactuals: Smiling 98.5% (98.0% - 99.0%), Beard 94.5% (90.0% - 99.0%)." in page
    assert "It is no judge of Beard." in page
    assert json.loads((out / "results.json").read_text())["judge"]["Beard"] == {"samples": [0.97, 0.98], "truths": [0.99, 0.9]}
    _, out = evidence.write("small", Small(), "cpu", ADDRESS, results(tmp_path), tmp_path)
    assert "judge" not in (out / "results.md").read_text()


def written(home: Path, found: list[Result]) -> tuple[dict[str, Any], str, Path]:
    conclusion, out = evidence.write("small", Small(), "cpu", ADDRESS, found, home / "out")
    assert out == home / "out" / "small"
    assert [v.held for v in conclusion.verdicts] == [True, False, None]
    return json.loads((out / "results.json").read_text()), (out / "results.md").read_text(), out


def test_the_file_says_what_was_claimed_run_and_found(tmp_path: Path) -> None:
    held, _, _ = written(tmp_path, results(tmp_path))
    assert held["recipe"] == "small"
    assert held["claim"] == Small.claim
    assert held["paper"] == Small.paper
    assert held["scale"] == "cpu"
    assert held["command"] == "labelspace reproduce small --scale cpu --data mnist:DIR"
    assert held["version"] == labelspace.__version__
    assert held["seeds"] == [102, 104]
    assert held["training_minutes"] == 2.1
    assert [v["held"] for v in held["verdicts"]] == [True, False, None]
    assert held["verdicts"][0] == {
        "claim": "sizes are below one",
        "held": True,
        "why": "Size of them 0.50 [0.31, 0.69], asked below 1.00.",
    }
    first = held["runs"][0]
    assert first["found"] == {"size": 0.25}
    assert first["seconds"] == 90.0
    assert first["job"]["address"] == "mnist:DIR,val=0"
    assert first["job"]["seed"] == 104
    assert first["run"].startswith("vae-")


def test_the_page_says_it_in_words(tmp_path: Path) -> None:
    _, page, _ = written(tmp_path, results(tmp_path))
    assert page.startswith("# small\n")
    assert "**Claim** (Small and Smaller 1999): small things are small" in page
    assert "labelspace reproduce small --scale cpu --data mnist:DIR" in page
    assert "seeds 102, 104; 2.1 minutes of training in all." in page
    assert "- **held**: sizes are below one. Size of them 0.50 [0.31, 0.69], asked below 1.00." in page
    assert "- **did not hold**: sizes are below nothing." in page
    assert "- **cannot be said**: others are small. Size of others was not measured." in page
    assert "## Sizes\n\n| run | size |\n| --- | --- |\n| 104 | 0.25 |\n| 102 | 0.75 |\n" in page
    assert "![sizes](sizes.png)" in page
    assert "failed" not in page


def test_figures_are_pictures(tmp_path: Path) -> None:
    _, _, home = written(tmp_path, results(tmp_path))
    assert sorted(p.name for p in home.iterdir()) == ["results.json", "results.md", "sizes.png"]
    with Image.open(home / "sizes.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 100
        assert "Software" not in image.info
        image.load()


def test_no_directory_of_this_machine_is_anywhere(tmp_path: Path) -> None:
    _, _, home = written(tmp_path, results(tmp_path))
    for file in home.iterdir():
        for place in (str(tmp_path), "/home/somebody", str(Path(labelspace.__file__).parent)):
            assert place.encode() not in file.read_bytes()


def test_failed_runs_are_left_out_and_said(tmp_path: Path) -> None:
    held, page, _ = written(tmp_path, results(tmp_path, "term 'kl_z' became NaN"))
    assert held["runs"][1]["failed"] == "term 'kl_z' became NaN"
    assert "found" not in held["runs"][1]
    assert "1 run(s) failed and are left out: term 'kl_z' became NaN" in page
    assert "Size of them 0.25 [0.25, 0.25]" in page
    assert held["seeds"] == [102, 104]


def test_a_failure_that_names_a_directory_is_written_without_it(tmp_path: Path) -> None:
    why = f"term 'kl_z' became NaN; the last good checkpoint is {tmp_path}/runs/vae/checkpoint/last.safetensors"
    held, page, _ = written(tmp_path, results(tmp_path, why))
    assert str(tmp_path) not in page
    assert str(tmp_path) not in json.dumps(held)


def test_the_command_names_data_only_where_they_are_not_the_recipes_own() -> None:
    class BuiltIn(Small):
        default = "moons:n=300"

    assert evidence.command("small", BuiltIn(), "smoke", "moons:n=300") == "labelspace reproduce small --scale smoke"
    assert evidence.command("small", BuiltIn(), "paper", "digits").endswith("--scale paper --data digits")


def test_writing_again_replaces_what_was_there(tmp_path: Path) -> None:
    written(tmp_path, results(tmp_path, "it broke"))
    held, page, _ = written(tmp_path, results(tmp_path))
    assert "it broke" not in page
    assert len(held["runs"]) == 2


def test_numbers_of_runs_are_read_in_their_order_and_shown_with_their_range() -> None:
    jobs = [Job("vae", "a", seed=s, settings=("beta=3", "network.width=8")) for s in range(3)]
    made = [
        Result(jobs[0], Path(), {"x": 1.0}),
        Result(jobs[1], Path(), {}, failed="it broke"),
        Result(jobs[2], Path(), {"x": None}),
    ]
    assert over_seeds(made, lambda f: f["x"]) == [1.0]
    assert [r.job.seed for r in pick(made, model="vae", seed=2)] == [2]
    assert pick(made, model="csvae") == []
    assert setting(jobs[0], "beta") == "3"
    assert setting(jobs[0], "width", "none") == "none"
    assert spread([]) == "-"
    assert spread([0.5], "{:.1%}") == "50.0%"
    assert spread([1.0, 2.0, 6.0]) == "3.00 (1.00 - 6.00)"
