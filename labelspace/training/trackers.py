"""Trainings told to the trackers of experiments that people use, each an extra of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from labelspace.errors import UserError, note, reason, unknown
from labelspace.training.loop import flattened
from labelspace.training.progress import Callback

_LONGEST = 300  # letters of what a library says


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


class _Service(Callback):
    """A tracker whose library may fail in any way: for want of a key, a server or a data base. Before training that is one line
    and the end; later it is said once, and training goes on untold.
    """

    title: ClassVar[str]
    hint: ClassVar[str]
    _lost = False

    @abstractmethod
    def _begin(self, config: dict[str, Any]) -> None:
        """Opens a run, and tells it the configuration."""

    @abstractmethod
    def _log(self, row: dict[str, Any]) -> None:
        """Tells an epoch."""

    @abstractmethod
    def _close(self, reason: str) -> None:
        """Ends the run."""

    def configured(self, config: dict[str, Any]) -> None:
        try:
            self._begin(config)
        except Exception as error:
            raise UserError(f"{self.title} cannot be told: {reason(error)[:_LONGEST]}; {self.hint}") from error

    def epoch(self, row: dict[str, Any]) -> None:
        self._tell(lambda: self._log(row))

    def end(self, reason: str) -> None:
        self._tell(lambda: self._close(reason))

    def _tell(self, something: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            something()
        except Exception as error:
            self._lost = True
            note(f"{self.title} is told nothing any more: {reason(error)[:_LONGEST]}", UserWarning)


class WandB(_Service):
    """Tells Weights & Biases (extra ``wandb``): the configuration, and terms and weights by epoch.

    Args:
        project: its project.
        **settings: whatever else ``wandb.init`` takes, such as ``name=`` or ``mode="offline"``.
    """

    title = "Weights & Biases"
    hint = "log in with `wandb login`, or set WANDB_MODE=offline"

    def __init__(self, project: str = "labelspace", **settings: Any) -> None:
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("Weights & Biases is not installed: pip install 'labelspace[wandb]'") from None
        self._wandb, self._settings = wandb, {"project": project, **settings}
        self._run: Any = None

    def _begin(self, config: dict[str, Any]) -> None:
        self._run = self._wandb.init(config=config, **self._settings)

    def _log(self, row: dict[str, Any]) -> None:
        self._run.log(flattened(row), step=row["epoch"])

    def _close(self, reason: str) -> None:
        self._run.summary["reason"] = reason
        self._run.finish(exit_code=0 if reason else 1)


class MLflow(_Service):
    """Tells MLflow (extra ``mlflow``): the configuration as parameters, and terms and weights by epoch.

    Args:
        experiment: its experiment.
        uri: where it tracks, a server, a data base or a directory; by default as MLflow is set up.
        name: of the run; MLflow's own by default.
    """

    title = "MLflow"
    hint = "set MLFLOW_TRACKING_URI to a server or a data base (which needs: pip install 'labelspace[mlflow]')"

    def __init__(self, experiment: str = "labelspace", uri: str = "", name: str | None = None) -> None:
        try:
            from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("MLflow is not installed: pip install 'labelspace[mlflow]'") from None
        self._connect = lambda: MlflowClient(uri or None)
        self._client: Any = None
        self._experiment, self._name = experiment, name
        self._run = ""

    def _begin(self, config: dict[str, Any]) -> None:
        self._client = self._connect()
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found is not None else self._client.create_experiment(self._experiment)
        self._run = self._client.create_run(experiment, run_name=self._name).info.run_id
        for part, settings in config.items():
            entries = settings.items() if isinstance(settings, dict) else [("", settings)]
            for name, value in entries:
                self._client.log_param(self._run, f"{part}.{name}".rstrip("."), str(value)[:500])

    def _log(self, row: dict[str, Any]) -> None:
        for name, value in flattened(row).items():
            self._client.log_metric(self._run, name, value, step=row["epoch"])

    def _close(self, reason: str) -> None:
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
