"""What a release rests on: versions agree, everything is pinned, the README is true and works where packages are listed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import labelspace

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()


def pins(file: str) -> dict[str, Version]:
    """Package -> version, of a constraints file that names each once."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    found = dict(line.split("==") for line in lines)
    assert len(found) == len(lines)
    return {name: Version(version) for name, version in found.items()}


def test_every_dependency_has_one_pin() -> None:
    pinned = pins("constraints.txt")
    extras = [text for extra, texts in PROJECT["optional-dependencies"].items() if extra != "bench" for text in texts]
    for requirement in map(Requirement, [*PROJECT["dependencies"], *extras]):
        exact = [part.version for part in requirement.specifier if part.operator == "=="]
        assert exact or pinned[requirement.name] in requirement.specifier, requirement


def test_the_lowest_versions_are_those_that_are_allowed() -> None:
    lowest = pins("lowest.txt")
    needed = {requirement.name: requirement.specifier for requirement in map(Requirement, PROJECT["dependencies"])}
    assert sorted(lowest) == sorted(needed)
    for name, specifier in needed.items():
        (bound,) = (Version(part.version) for part in specifier if part.operator == ">=")
        assert lowest[name] in specifier
        assert lowest[name].release[: len(bound.release)] == bound.release, name  # of that series, the first that can be had


def test_the_version_is_said_once() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == labelspace.__version__
    assert f"\n## {labelspace.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_figures_of_the_readme_stand_in_the_files_that_it_names() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| \[.+?\]\((.+?)\) \|$", README, re.M)
    assert len(rows) > 4
    for asked, ours, others, file in rows:
        text = (ROOT / file).read_text()
        for figure in re.findall(r"\d+\.\d+%?", f"{ours} {others}"):
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", text), f"{asked}: {figure} is not in {file}"


@pytest.fixture
def hook(program):
    pytest.importorskip("hatchling")
    return program("hatch_build.py")


def test_links_of_the_readme_lead_to_the_repository(hook) -> None:
    text = hook.for_an_index(README, "https://forge.example/me/labelspace", "v1.0")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    assert targets
    assert all(target.startswith("https://") for target in targets)
    assert "![" in text
    assert "(https://forge.example/me/labelspace/blob/v1.0/docs/models.md)" in text
    assert "(https://forge.example/me/labelspace/raw/v1.0/docs/images/" in text


def test_without_a_repository_the_readme_has_no_dead_links(hook) -> None:
    text = hook.for_an_index(README, "", "v1.0")
    assert "![" not in text
    assert all(target.startswith("https://") for target in re.findall(r"\]\(([^)#]+)\)", text))
    for block in re.findall(r"```.*?```", README, re.S):
        assert block in text
