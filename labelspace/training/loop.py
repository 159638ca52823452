"""The training loop: epochs, validation, the best and the last checkpoint, and why it stops."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from labelspace import files, saving
from labelspace.data.batches import Batches
from labelspace.data.dataset import Dataset
from labelspace.errors import DivergedError, InterruptedTraining, UserError, lacks_memory
from labelspace.models.base import Model
from labelspace.training import engine, launcher
from labelspace.training.options import Options
from labelspace.training.progress import Silent, Watcher, tell
from labelspace.training.run import Run, flatten_optimizer, restore_optimizer
from labelspace.training.signals import Notice
from labelspace.training.step import Stepper

_STREAM = {"train": 1, "val": 2}


@dataclass(frozen=True)
class Fitted:
    """What training achieved.

    Attributes:
        model: the best model, in evaluation mode.
        reason: why training stopped.
        best_epoch: the epoch of the best validation score (from 1).
        best_score: that score; nan without a validation split, where the last weights are kept.
        seconds: time spent in this call.
        samples_per_second: median over epochs of training samples a second.
    """

    model: Model
    reason: str
    best_epoch: int
    best_score: float
    seconds: float
    samples_per_second: float


class Loop:
    """A training run in progress; :func:`labelspace.fit` says what it does."""

    def __init__(
        self,
        fabric: Fabric,
        model: Model,
        data: Dataset,
        options: Options,
        run: Run | None,
        watcher: Watcher,
        tensorboard: bool,
    ) -> None:
        self.fabric = fabric
        self.options, self.run, self.data = options, run, data
        self.watcher = watcher if self.fabric.is_global_zero else Silent()
        self.model: Model = self.fabric.to_device(model)  # type: ignore[assignment]
        engine.same_weights(fabric, self.model)  # nothing makes sure that all processes started from the same
        self.readers: list[str] = []
        rank, world, on_gpu = self.fabric.global_rank, self.fabric.world_size, self.fabric.device.type == "cuda"
        # Gathering ahead pays where another device computes; on the CPU it would only take cores away from the computation.
        ahead = 2 if on_gpu else 0
        self.batches = Batches(
            data,
            "train",
            options.batch_size,
            seed=options.seed,
            rank=rank,
            world=world,
            prefetch=ahead,
            pin=on_gpu,
            labelled=options.labelled if model.labelled else 0.0,
        )
        self.steps = len(self.batches)
        self.stepper = Stepper(self.fabric, self.model, options, self.steps, self._diverged)
        self.validates = "val" in data.splits
        # Each device draws its own noise; the first rank's generator is what a single device uses (engine.renew).
        self.generator = torch.Generator(self.fabric.device).manual_seed(engine.seed(options.seed, _STREAM["train"], rank))
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.best_score, self.best_epoch, self.rows = math.inf, 0, 0
        self.best_weights: dict[str, Tensor] | None = None
        self.rates: list[float] = []
        self.seconds = 0.0
        self.notice = Notice()
        self.events = _events(run) if tensorboard and run is not None and fabric.is_global_zero else None

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run_to_the_end(self) -> Fitted:
        began = time.monotonic()
        reason = self._restore()
        self.watcher.start(self.options.epochs, self.steps, self.batches.epoch)
        try:
            with self.notice, engine.held_memory(self.fabric.device):
                self.notice.waits = True
                with engine.compiled(self.model, self.options.compile):
                    while not reason:
                        self._train_epoch()
                        reason = self._end_epoch()
                        self._checkpoint(reason)
                        self._stop_if_asked(self.batches.state_dict(), written=True)
                self.notice.waits = False  # all that is left can be done again from the checkpoint
                self._finish()
        except BaseException as error:
            self.watcher.stop("")
            if lacks_memory(error):
                raise self._no_memory(error) from None
            raise
        self.watcher.stop(reason)
        rate = sorted(self.rates)[len(self.rates) // 2] if self.rates else 0.0
        return Fitted(
            self.model, reason, self.best_epoch, self.best_score if self.validates else math.nan, time.monotonic() - began, rate
        )

    def _train_epoch(self) -> None:
        self.model.train()
        epoch = self.batches.epoch
        began = saved = shown = time.monotonic()
        seen = 0
        for batch in self.batches:
            position = self.batches.position
            batch = batch.to(self.fabric.device)
            step, size = epoch * self.steps + position - 1, self.batches.size
            engine.renew(self.generator, self.options.seed, _STREAM["train"], self.fabric.global_rank, step)
            losses = self.stepper.step(batch, self.generator, step, self.batches.own / size)
            self.readers = self.stepper.readers(losses)
            self._add(losses.terms, size)
            self.count += size
            seen += size
            now = time.monotonic()
            if now - shown > 0.2:
                shown = now
                self.watcher.step(epoch, position, seen / (now - began))
            self._stop_if_asked(self.batches.state_dict())
            if now - saved > 60 * self.options.checkpoint_minutes and position < self.steps:
                self._checkpoint("")
                saved = now
        self.stepper.look()
        self.seconds = time.monotonic() - began
        self.rates.append(seen / max(self.seconds, 1e-9))

    def _stop_if_asked(self, place: dict[str, int], written: bool = False) -> None:
        """Ends training in order after a signal, with a checkpoint of where it is: ``place`` is the state of the batches.

        Of several processes the first does, and the others end when it has; they only see to it that they do not end before.
        """
        if not self.notice.received or not self.fabric.is_global_zero:
            return
        self.notice.waits = False
        at = f"interrupted in epoch {place['epoch'] + 1} after step {place['position']} of {self.steps}"
        if not place["position"]:
            at = f"interrupted after epoch {place['epoch']}"
        if self.run is None:
            raise InterruptedTraining(f"{at}; nothing is kept of a training without a run directory", self.notice.received)
        if not written:
            self._checkpoint("", place)
        raise InterruptedTraining(f"{at}; --resume goes on from there in {self.run.home}", self.notice.received)

    def _no_memory(self, error: BaseException) -> UserError:
        """What to do where memory ran out; the same step would need as much again."""
        smaller = max(1, self.options.batch_size // 2)
        kept = f"; {self._last_checkpoint()}" if self.run is not None else ""
        return UserError(
            f"not enough memory for batches of {self.options.batch_size} in epoch {self.batches.epoch + 1} "
            f"({' '.join(str(error).split())[:200] or type(error).__name__}){kept}; free memory and resume, or start a new run "
            f"with batch_size={smaller}: a resumed run keeps its batch size"
        )

    def _last_checkpoint(self) -> str:
        if self.run is not None and self.run.checkpoint_file.exists():
            return f"the last good checkpoint is {self.run.checkpoint_file}"
        return "no checkpoint was written yet"

    def _check_weights(self) -> None:
        """Raises DivergedError where a weight is not finite: no such model is ever written."""
        for name, weight in self.model.named_parameters():
            if weight.requires_grad and not bool(torch.isfinite(weight).all()):
                raise DivergedError(
                    f"weight {name!r} became NaN or infinite in epoch {self.batches.epoch + bool(self.batches.position)}; "
                    f"{self._last_checkpoint()}; try a lower learning_rate or a smaller clip"
                )

    def _diverged(self, terms: dict[str, Tensor], player: str, step: int) -> None:
        # A gradient that is not finite on one process is not finite on any after averaging; all of them come here.
        bad = [name for name, term in terms.items() if not bool(torch.isfinite(term).all())]
        if self.fabric.device.type == "cpu":  # elsewhere it is looked at later, when terms are those of all processes
            bad = engine.from_all(self.fabric, bad)
        what = f"term {bad[0]!r}" if bad else f"the gradient of player {player!r}"
        epoch, position = divmod(step, self.steps)
        raise DivergedError(
            f"{what} became NaN or infinite in epoch {epoch + 1}, step {position + 1}; {self._last_checkpoint()}; "
            "try a lower learning_rate or a smaller clip"
        )

    def _add(self, terms: dict[str, Tensor], n: int) -> None:
        """Adds a batch's terms, each the mean over so many samples, to the epoch's sums."""
        if self.sums.keys() == terms.keys():
            torch._foreach_add_(list(self.sums.values()), [terms[name] for name in self.sums], alpha=n)  # pyright: ignore
            return
        for name, term in terms.items():
            self.sums[name] = self.sums[name] + term * n if name in self.sums else term * n

    # -- validation ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, Tensor], float]:
        """Terms averaged over the validation split, and the model's score of them."""
        model = self.model.eval()
        rank, world = self.fabric.global_rank, self.fabric.world_size
        batches = Batches(
            self.data,
            "val",
            max(self.options.batch_size, 256),
            shuffle=False,
            rank=rank,
            world=world,
            prefetch=self.batches.prefetch,
        )
        # The same noise every time, so that scores of epochs can be compared.
        generator = torch.Generator(self.fabric.device).manual_seed(engine.seed(self.options.seed, _STREAM["val"], rank))
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in batches:
            self._stop_if_asked({"epoch": self.batches.epoch - 1, "position": self.steps})
            batch = batch.to(self.fabric.device)
            with self.fabric.autocast():
                losses = model.losses(batch, generator)
                for name in losses.objectives:
                    losses.objective(name)
            for name, term in losses.terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term)) + term * batches.own
            count += batches.own
        terms = engine.average_terms(self.fabric, sums, count)
        score = float(model.score(terms))
        return terms, engine.on_first(self.fabric, lambda: score)  # what follows from it must be the same everywhere

    def _end_epoch(self) -> str:
        """Validates, writes metrics and the best model; returns why training stops, or an empty text."""
        epoch = self.batches.epoch
        val, score = self.validate() if self.validates else ({}, None)
        self._check_weights()
        best = score is None or (math.isfinite(score) and score < self.best_score)
        if best:
            self.best_score, self.best_epoch = (self.best_score if score is None else score), epoch
            if self.run is None:
                self.best_weights = copy.deepcopy(self.model.state_dict())
            elif self.fabric.is_global_zero:
                saving.save(self.model, self.run.home)
        names = self.model.term_names()
        row = {
            "epoch": epoch,
            "train": _plain({name: s / self.count for name, s in self.sums.items()}, names),
            "val": _plain(val, names),
            "weights": _plain({k: torch.as_tensor(w) for k, w in self.model.weights().items()}, names),
            "readers": self.readers,  # terms that only players which read codes minimise: the model does not feel them
            "score": score,
            "best": best,
            "samples_per_second": self.rates[-1],
            "seconds": self.seconds,
        }
        self.sums, self.count = {}, 0
        self.rows += 1
        if self.run is not None and self.fabric.is_global_zero:
            self.run.append_metrics(row)
        if self.events is not None:
            for part in ("train", "val", "weights"):
                for name, value in row[part].items():
                    self.events.add_scalar(f"{part}/{name}", value, epoch)
        self.watcher.epoch(row)
        if score is not None and not math.isfinite(score):
            raise DivergedError(f"the validation score of epoch {epoch} is {score}; try a lower learning_rate")
        if epoch >= self.options.epochs:
            if not self.validates:
                return f"stopped after all {epoch} epochs; the data have no validation split, so the last weights are kept"
            return f"stopped after all {epoch} epochs; best validation score {self.best_score:.6g} in epoch {self.best_epoch}"
        if self.options.patience and epoch - self.best_epoch >= self.options.patience:
            return (
                f"stopped early after epoch {epoch}: no better validation score in {self.options.patience} epochs "
                f"(best {self.best_score:.6g} in epoch {self.best_epoch})"
            )
        return ""

    def _finish(self) -> None:
        """Loads the best weights, lets the model measure what edits need, and writes it for good."""
        run = self.run
        if run is not None:
            best, _ = engine.on_first(self.fabric, lambda: files.read_tensors(run.home / "model.safetensors"))
            self.model.load_state_dict(best)
        elif self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        self.model.eval()

        def training_data():
            # in random order: some take the first so many, and data may be sorted by class
            size, seed = max(self.options.batch_size, 256), self.options.seed
            batches = Batches(self.data, "train", size, seed=seed, prefetch=self.batches.prefetch)
            return (batch.to(self.fabric.device) for batch in batches)

        self.model.calibrate(training_data)  # on every process: that takes no longer, and nobody waits long for another
        engine.same_weights(self.fabric, self.model)
        self.model.cpu()  # where data are; whoever wants to go on elsewhere moves it
        if self.events is not None:
            self.events.close()
        if self.run is not None and self.fabric.is_global_zero:
            saving.save(self.model, self.run.home)
        launcher.over()

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _checkpoint(self, reason: str, place: dict[str, int] | None = None) -> None:
        """Writes all that resuming needs.

        Args:
            reason: why training stopped, empty where it goes on.
            place: the state of the batches, as it is by default.
        """
        if self.run is None or not self.fabric.is_global_zero:
            return
        self.stepper.look()
        self._check_weights()
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"sum.{name}": t for name, t in self.sums.items()}
        tensors["generator"] = self.generator.get_state()
        groups: dict[str, Any] = {}
        for name, built in self.stepper.optimizers.items():
            for i, optimizer in enumerate(built):
                found, groups[f"{name}.{i}"] = flatten_optimizer(f"optimizer.{name}.{i}", optimizer)
                tensors |= found
        state = {
            "batches": place or self.batches.state_dict(),
            "groups": groups,
            "count": self.count,
            "best_score": self.best_score if math.isfinite(self.best_score) else None,
            "best_epoch": self.best_epoch,
            "rows": self.rows,
            "readers": self.readers,
            "device": self.fabric.device.type,
            "reason": reason,
        }
        self.run.write_checkpoint(tensors, state)

    def _restore(self) -> str:
        """Takes up the last checkpoint, if there is one; returns why that run stopped, if it had."""
        run = self.run
        if run is None:
            return ""
        found = engine.on_first(self.fabric, lambda: run.read_checkpoint(self._tell))
        if found is None:
            if self.fabric.is_global_zero and run.metrics_file.exists():
                run.keep_metrics(0, self._tell)
            return ""
        tensors, state = found
        try:
            self._take_up(tensors, state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__} {error}"
            raise UserError(f"{run.checkpoint_file} does not belong to this run: {said}") from None
        engine.on_first(self.fabric, self._check_best)
        if self.fabric.is_global_zero:
            run.keep_metrics(self.rows, self._tell)
        return state["reason"]

    def _take_up(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        assert self.run is not None
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        files.load_strictly(self.model, model, self.run.checkpoint_file)
        device = self.fabric.device
        self.sums = {name.removeprefix("sum."): t.to(device) for name, t in tensors.items() if name.startswith("sum.")}
        for name, built in self.stepper.optimizers.items():
            for i, optimizer in enumerate(built):
                restore_optimizer(f"optimizer.{name}.{i}", optimizer, tensors, state["groups"][f"{name}.{i}"])
        self.batches.load_state_dict(state["batches"])
        done = self.batches.epoch * self.steps + self.batches.position
        if state.get("device", device.type) == device.type:
            self.generator.set_state(tensors["generator"].cpu())
        else:  # another kind of device has another kind of generator
            self.generator.manual_seed(engine.seed(self.options.seed, _STREAM["train"], done))
        self.count, self.rows = int(state["count"]), int(state["rows"])
        self.best_epoch = int(state["best_epoch"])
        self.best_score = math.inf if state["best_score"] is None else float(state["best_score"])
        self.readers = list(state.get("readers", []))  # absent in checkpoints of older versions
        # Where the last step was: validation, too, needs it, and may be the first thing to be done.
        step = self.batches.epoch * self.steps + self.batches.position - 1
        self.model.epoch, self.model.progress = step / self.steps, step / (self.options.epochs * self.steps)

    def _check_best(self) -> None:
        """Sees now, not after hours, that the best model can be read; writes it again where the checkpoint has it."""
        assert self.run is not None
        path = self.run.home / "model.safetensors"
        if not self.best_epoch:
            return
        try:
            files.read_tensors(path)
        except UserError as error:
            if (self.batches.epoch, self.batches.position) != (self.best_epoch, 0):
                raise UserError(
                    f"{error}; it is the best model, of epoch {self.best_epoch}, which the checkpoint does not hold; remove "
                    f"{self.run.checkpoint_file.parent} and resume to train this run from its beginning"
                ) from None
            saving.save(self.model, self.run.home)
            self._tell(f"{error}; written again from the checkpoint")

    def _tell(self, text: str) -> None:
        tell(self.watcher, text)


def _plain(terms: dict[str, Tensor], names: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """Terms as numbers: a vector term is its sum under its name, and every entry under ``name.entry``."""
    row = {}
    for name, term in terms.items():
        row[name] = float(term.sum())
        if term.ndim:
            entries = names.get(name, tuple(str(i) for i in range(len(term))))
            row |= {f"{name}.{entry}": float(value) for entry, value in zip(entries, term.tolist(), strict=True)}
    return row


def _events(run: Run):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(f"TensorBoard is not installed ({error}); pip install 'labelspace[track]'") from None
    return SummaryWriter(run.home / "events")
