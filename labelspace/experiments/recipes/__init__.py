"""The published claims, one recipe a file."""

from __future__ import annotations

import importlib

from labelspace.errors import unknown
from labelspace.experiments.recipe import Recipe

RECIPES: dict[str, str] = {
    "csvae-swiss-roll": "SwissRoll",
    "csvae-faces": "Faces",
    "csvae-attributes": "Attributes",
    "ccvae-supervision": "Supervision",
    "ccvae-interventions": "Interventions",
    "lrvae-moons": "Moons",
    "lrvae-digits": "Digits",
    "lrvae-classes": "Classes",
    "pastrana-mnist": "Mnist",
    "label-quality": "LabelQuality",
    "lsvae-prices": "Prices",
    "everywhere": "Everywhere",
}


def load(name: str) -> Recipe:
    """A recipe by its name. Raises UserError with the nearest name when there is none."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    module = importlib.import_module(f"labelspace.experiments.recipes.{name.replace('-', '_')}")
    return getattr(module, RECIPES[name])()
