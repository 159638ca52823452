"""The suite over many kinds of data: what it runs, what a cell is, and the whole of it at its smallest."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labelspace.cli import main
from labelspace.data import sources
from labelspace.experiments import grid, worker
from labelspace.experiments.jobs import Job
from labelspace.experiments.recipe import Result
from labelspace.experiments.recipes import everywhere
from labelspace.experiments.recipes.everywhere import (
    DOMAINS,
    HOLDS,
    MODELS,
    Everywhere,
    beside,
    domain_of,
    maps,
    share_that_holds,
)
from labelspace.experiments.verdicts import SEEDS
from labelspace.storage import files


def entry(value: float, floor: float, ceiling: float, share: float | None, **beside: Any) -> dict[str, Any]:
    return {"value": value, "floor": floor, "ceiling": ceiling, "share": share, "n": 100, "beside": beside}


def result(model: str, seed: int, read: dict[str, float], error: float) -> Result:
    figures = {
        "read as set": {name: entry(share, 0, 1, share) for name, share in read.items()},
        "told by z": {"a": entry(0.5, 1, 0.5, 1.0), "b": entry(0.5, 0.5, 0.5, None)},
        "reconstruction": {"x": entry(error, 1.0, 0.0, 0.9)},
    }
    job = Job(model, DOMAINS["cells"].at("cpu"), None, seed)
    return Result(job, Path(f"{model}-{seed}"), {"figures": figures}, 60.0)


def test_no_job_is_given_an_option_of_its_own_and_the_default_comes_first() -> None:
    jobs = Everywhere().jobs("cpu", "digits")
    assert len(jobs) == len(MODELS) * len(SEEDS) * (len(DOMAINS) + 1)
    assert not any(job.settings or job.epochs for job in jobs)
    assert {job.model for job in jobs[: len(SEEDS) * (len(DOMAINS) + 1)]} == {"lsvae"}
    assert len({job.key for job in jobs}) == len(jobs)


def test_every_kind_of_data_has_its_name_at_every_scale_and_an_address_that_can_be_opened() -> None:
    recipe = Everywhere()
    for scale in ("smoke", "cpu", "paper"):
        for job in recipe.jobs(scale, "mnist:/some/where"):
            name = domain_of(job)
            assert name in DOMAINS or name == "mnist"
    assert [domain_of(Job("vae", domain.at("cpu"), domain.labels)) for domain in DOMAINS.values()] == list(DOMAINS)
    for domain in DOMAINS.values():
        name, _, options = sources.parts(domain.at("cpu"))
        assert set(options) <= set(sources.source(name).options())


def test_further_data_are_set_apart_by_semicolons() -> None:
    assert beside("digits") == ["digits"]
    assert beside("mnist:/a b;  glyphs:/f.ttf,n=100 ;") == ["mnist:/a b", "glyphs:/f.ttf,n=100"]


def test_a_cell_is_the_worst_label_of_the_worst_seed() -> None:
    runs = [result("lsvae", 0, {"a": 0.95, "b": 0.7}, 0.2), result("lsvae", 1, {"a": 0.6, "b": 0.99}, 0.1)]
    found = maps([*runs, result("vae", 0, {"a": 0.1}, 0.1), result("vae", 1, {"a": 0.1}, 0.2)])
    row = found["lsvae"]["cells"]
    assert (row["read as set"].share, row["read as set"].where, row["read as set"].seed) == (0.6, "a", 1)
    assert row["told by z"].share == 1, "what cannot be said does not count"
    assert row["reconstruction"].share == pytest.approx(0.5), "the VAE's error is half of this one's"
    assert share_that_holds(found["lsvae"]) == (1, 3)
    assert share_that_holds(found["lsvae"], 0.5) == (3, 3)


def test_without_a_plain_vae_nothing_is_said_of_reconstructions() -> None:
    assert "reconstruction" not in maps([result("lsvae", 0, {"a": 1.0}, 0.2)])["lsvae"]["cells"]


def test_the_verdict_asks_every_cell_and_names_the_worst() -> None:
    runs = [result("lsvae", seed, {"a": 0.99, "b": 0.3 + 0.01 * (seed % 2)}, 0.2) for seed in SEEDS]
    verdict = Everywhere().conclude(runs).verdicts[0]
    assert verdict.held is False
    assert verdict.why.startswith("Read as set (worst label's share) of cells 0.30 [")
    assert f"{HOLDS:.0%}" in verdict.claim
    better = [result("lsvae", seed, {"a": 0.99, "b": 0.97}, 0.2) for seed in SEEDS]
    assert Everywhere().conclude(better).verdicts[0].held is True
    assert Everywhere().conclude(better[:4]).verdicts[0].held is None
    assert Everywhere().conclude([]).verdicts[0].held is None


def test_the_whole_of_it_at_its_smallest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def popen(command: list[str], **options: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", command[2:])
            code = worker.main()
        return SimpleNamespace(poll=lambda: code, returncode=code)

    monkeypatch.setattr(grid, "subprocess", SimpleNamespace(Popen=popen, STDOUT=None))
    where = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    assert main(["reproduce", "everywhere", "--scale", "smoke", "--only", "patients", *where]) == 2
    assert "none of the 3 runs" in capsys.readouterr().err
    assert main(["reproduce", "everywhere", "--scale", "smoke", "--only", "lsvae cells:n=400", *where]) == 0
    page = (tmp_path / "out/everywhere/results.md").read_text()
    assert "2 run(s) have not been done" in page
    # what was measured elsewhere is not made again
    known = ["--known", str(tmp_path / "out/everywhere/results.json"), "--runs", str(tmp_path / "other"), *where[:2]]
    assert main(["reproduce", "everywhere", "--scale", "smoke", "--only", "lsvae cells:n=400", *known]) == 0
    assert "2 run(s) have not been done" in (tmp_path / "out/everywhere/results.md").read_text()
    assert not list(tmp_path.glob("other/*/metrics.jsonl"))
    assert main(["reproduce", "pastrana-mnist", "--scale", "smoke", "--data", "digits", *known]) == 2
    assert "has results of everywhere" in capsys.readouterr().err
    assert main(["reproduce", "everywhere", "--scale", "smoke", *where]) == 0
    page, found = (
        (tmp_path / "out/everywhere/results.md").read_text(),
        files.read_json(tmp_path / "out/everywhere/results.json"),
    )
    assert "have not been done" not in page
    assert "patients, few" in page
    assert len(found["runs"]) == 3
    assert all("failed" not in run for run in found["runs"])
    written = {file.name for file in (tmp_path / "out/everywhere").iterdir()}
    assert {"map.png", "strip-faces-implied.png"} <= written
    judged = found["runs"][0]["found"]["figures"]["read as set"]
    assert all(0 <= e["value"] <= 1 for e in judged.values())


def test_smoke_is_of_a_picture_a_table_and_counts() -> None:
    kinds = {domain_of(job).partition(",")[0] for job in Everywhere().jobs("smoke", "digits")}
    assert kinds == {"faces", "patients", "cells"}
    for scale in ("cpu", "paper"):
        others = {name for name, domain in DOMAINS.items() if domain.to_measure(scale) != domain.at(scale)}
        assert others == {"patients, few", "faces, few", "faces, rare"}
    assert everywhere.DOMAINS["patients, few"].to_measure("cpu") != everywhere.DOMAINS["patients, few"].at("cpu")
