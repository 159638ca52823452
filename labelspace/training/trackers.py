"""Trainings told to the trackers of experiments that people use, each an extra of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelspace.errors import UserError, unknown
from labelspace.training.loop import flattened
from labelspace.training.progress import Callback


class TensorBoard(Callback):
    """Writes TensorBoard event files (extra ``track``): terms and weights by epoch.

    Args:
        directory: the run directory; the files are in ``events`` below it.
    """

    def __init__(self, directory: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(f"TensorBoard is not installed ({error}); pip install 'labelspace[track]'") from None
        self._make: Callable[[], Any] = lambda: SummaryWriter(Path(directory) / "events")
        self._events: Any = None

    def start(self, epochs: int, steps: int, epoch: int) -> None:
        self._events = self._make()

    def epoch(self, row: dict[str, Any]) -> None:
        for name, value in flattened(row).items():
            if "/" in name:
                self._events.add_scalar(name, value, row["epoch"])

    def end(self, reason: str) -> None:
        self._events.close()


class WandB(Callback):
    """Tells Weights & Biases (extra ``wandb``): the configuration, and terms and weights by epoch.

    Args:
        project: its project.
        **settings: whatever else ``wandb.init`` takes, such as ``name=`` or ``mode="offline"``.
    """

    def __init__(self, project: str = "labelspace", **settings: Any) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("Weights & Biases is not installed: pip install 'labelspace[wandb]'") from None
        self._wandb, self._settings = wandb, {"project": project, **settings}
        self._run: Any = None

    def configured(self, config: dict[str, Any]) -> None:
        self._run = self._wandb.init(config=config, **self._settings)

    def epoch(self, row: dict[str, Any]) -> None:
        self._run.log(flattened(row), step=row["epoch"])

    def end(self, reason: str) -> None:
        self._run.summary["reason"] = reason
        self._run.finish(exit_code=0 if reason else 1)


class MLflow(Callback):
    """Tells MLflow (extra ``mlflow``): the configuration as parameters, and terms and weights by epoch.

    Args:
        experiment: its experiment.
        uri: where it tracks, a server or a directory; by default as MLflow is set up.
        name: of the run; MLflow's own by default.
    """

    def __init__(self, experiment: str = "labelspace", uri: str = "", name: str | None = None) -> None:
        try:
            from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("MLflow is not installed: pip install 'labelspace[mlflow]'") from None
        self._client, self._experiment, self._name = MlflowClient(uri or None), experiment, name
        self._run = ""

    def configured(self, config: dict[str, Any]) -> None:
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found is not None else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(experiment, run_name=self._name).info.run_id
        for part, settings in config.items():
            entries = settings.items() if isinstance(settings, dict) else [("", settings)]
            for name, value in entries:
                self._client.log_param(self._run, f"{part}.{name}".rstrip("."), str(value)[:500])

    def epoch(self, row: dict[str, Any]) -> None:
        for name, value in flattened(row).items():
            self._client.log_metric(self._run, name, value, step=row["epoch"])

    def end(self, reason: str) -> None:
        self._client.set_tag(self._run, "reason", reason)
        self._client.set_terminated(self._run, "FINISHED" if reason else "FAILED")


LOGGERS = ("tensorboard", "wandb", "mlflow")


def logger(name: str, home: str | Path) -> Callback:
    """A tracker by its name on the command line. Raises UserError for another name, or one that is not installed."""
    makes: dict[str, Callable[[], Callback]] = {
        "tensorboard": lambda: TensorBoard(home),
        "wandb": lambda: WandB(name=Path(home).name, dir=str(home)),
        "mlflow": lambda: MLflow(name=Path(home).name),
    }
    if name not in makes:
        raise unknown("logger", name, LOGGERS)
    return makes[name]()
