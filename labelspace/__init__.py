"""labelspace: label-structured variational autoencoders, where every label gets its own latent space."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# The public surface: name -> where it lives. Imported when first used, so that `import labelspace` costs nothing.
_WHERE = {
    "Dataset": ("labelspace.data.dataset", "Dataset"),
    "open": ("labelspace.data.sources", "open"),
    "build": ("labelspace.models", "build"),
    "register": ("labelspace.models", "register"),
    "register_source": ("labelspace.data.sources", "register_source"),
    "load_plugin": ("labelspace.plugins", "load"),
    "fit": ("labelspace.training.fit", "fit"),
    "Options": ("labelspace.training.options", "Options"),
    "save": ("labelspace.saving", "save"),
    "load": ("labelspace.saving", "load"),
    "open_run": ("labelspace.training.fit", "open_run"),
    "Callback": ("labelspace.training.progress", "Callback"),
    "EarlyStopping": ("labelspace.training.progress", "EarlyStopping"),
    "TensorBoard": ("labelspace.training.trackers", "TensorBoard"),
    "WandB": ("labelspace.training.trackers", "WandB"),
    "MLflow": ("labelspace.training.trackers", "MLflow"),
    "embed": ("labelspace.results.python", "embed"),
    "evaluate": ("labelspace.reporting.measured", "evaluate"),
    "report": ("labelspace.reporting.measured", "report"),
    "explore": ("labelspace.explorer.notebook", "explore"),
    "compare": ("labelspace.experiments.comparison", "compare"),
    "effects": ("labelspace.evaluation.effects", "effects"),
    "interventions": ("labelspace.interventions", None),
    "Schema": ("labelspace.labels", "Schema"),
    "LabelspaceTransformer": ("labelspace.sklearn", "LabelspaceTransformer"),
    "UserError": ("labelspace.errors", "UserError"),
    "DivergedError": ("labelspace.errors", "DivergedError"),
    "InterruptedTraining": ("labelspace.errors", "InterruptedTraining"),
}

if TYPE_CHECKING:
    from labelspace import interventions
    from labelspace.data.dataset import Dataset
    from labelspace.data.sources import open, register_source
    from labelspace.errors import DivergedError, InterruptedTraining, UserError
    from labelspace.evaluation.effects import effects
    from labelspace.experiments.comparison import compare
    from labelspace.explorer.notebook import explore
    from labelspace.labels import Schema
    from labelspace.models import build, register
    from labelspace.plugins import load as load_plugin
    from labelspace.reporting.measured import evaluate, report
    from labelspace.results.python import embed
    from labelspace.saving import load, save
    from labelspace.sklearn import LabelspaceTransformer
    from labelspace.training.fit import fit, open_run
    from labelspace.training.options import Options
    from labelspace.training.progress import Callback, EarlyStopping
    from labelspace.training.trackers import MLflow, TensorBoard, WandB


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'labelspace' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


__all__ = [
    "Callback",
    "Dataset",
    "DivergedError",
    "EarlyStopping",
    "InterruptedTraining",
    "LabelspaceTransformer",
    "MLflow",
    "Options",
    "Schema",
    "TensorBoard",
    "UserError",
    "WandB",
    "build",
    "compare",
    "effects",
    "embed",
    "evaluate",
    "explore",
    "fit",
    "interventions",
    "load",
    "load_plugin",
    "open",
    "open_run",
    "register",
    "register_source",
    "report",
    "save",
]
