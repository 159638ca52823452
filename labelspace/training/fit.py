"""``fit``: one training loop for every model.

A model says who its players are and what each minimises; the loop knows nothing else. Anyone may write their own loop in
ten lines (docs/training.md shows one); this one adds schedules, validation, the best and the last checkpoint, exact
resuming, early stopping, and errors that say what went wrong where.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from labelspace import files, saving
from labelspace.data import sources, store
from labelspace.data.batches import Batch, Batches
from labelspace.data.dataset import Dataset
from labelspace.errors import DivergedError, UserError, unknown
from labelspace.models import name_of
from labelspace.models.base import Losses, Model
from labelspace.training import optimizers
from labelspace.training.options import Options
from labelspace.training.progress import Silent, Watcher
from labelspace.training.run import Run, flatten_optimizer, restore_optimizer

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


def fit(
    model: Model,
    data: Dataset,
    options: Options | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
    tensorboard: bool = False,
    **changes: Any,
) -> Fitted:
    """Trains a model on a data set's training split and keeps the weights that validate best.

    Args:
        model: from :func:`labelspace.build`; it is trained in place and ends with the best weights, on the CPU.
        data: the data set.
        options: how to train; the model's own recipe for such data by default.
        out: run directory; without one nothing is written and nothing can be resumed.
        resume: go on with the run in ``out``. An interrupted and resumed run ends with the same weights, bit for bit, as
            an uninterrupted one on the same machine with the same number of threads.
        watcher: told about progress.
        tensorboard: also write event files into ``out`` (extra ``track``).
        **changes: single options, such as ``epochs=5``, on top of ``options``.

    Raises:
        UserError: the options, the data and the directory do not go together.
        DivergedError: a term became NaN or infinite.
    """
    options = resolve(model, data, options, changes)
    if model.shape != data.shape or model.schema != data.schema:
        raise UserError(
            f"the model was built for {model.shape} and {model.schema}, the data have {data.shape} and {data.schema}"
        )
    if options.patience and "val" not in data.splits:
        raise UserError("patience waits for a better validation score, but the data have no validation split")
    run = None
    if out is not None:
        run = Run(out)
        if resume:
            _check_resumable(run, options)
        else:
            run = Run.create(out)
            run.write_config(configuration(model, data, options))
            run.write_environment(options.seed)
    elif resume or tensorboard:
        raise UserError("resuming and TensorBoard need a run directory (out)")
    return _Loop(model, data, options, run, watcher or Silent(), tensorboard).run_to_the_end()


def _check_resumable(run: Run, options: Options) -> None:
    if not run.exists:
        raise UserError(f"{run.home} holds no run to resume")
    saved = run.read_config().get("training", {})
    for key, value in asdict(options).items():
        if saved.get(key) != value:
            raise UserError(
                f"{run.home} was started with {key}={saved.get(key)}, not {value}; a resumed run keeps its settings"
            )


def resolve(model: Model, data: Dataset, options: Options | None, changes: dict[str, Any]) -> Options:
    """Options with a model's recipe for such data and single changes applied."""
    base = (
        asdict(options) if options is not None else {**asdict(Options()), **model.recipe(data.shape, len(data.rows("train")))}
    )
    for key in changes:
        if key not in base:
            raise unknown("training option", key, base)
    return Options(**{**base, **changes})


def configuration(model: Model, data: Dataset, options: Options) -> dict[str, Any]:
    """The resolved configuration of a run, as ``config.yaml`` holds it."""
    arguments = saving.configuration(model)["arguments"]
    own = {name: value for name, value in arguments.items() if name not in ("shape", "frequencies")}
    source = {"labels": list(data.schema.names), "seed": data.seed, "supervision": data.supervision}
    if data.mislabelled:
        source["mislabelled"] = data.mislabelled
    if data.grouped:
        source["group"] = data.grouped
    return {
        "data": {"address": data.address, **source},
        "model": {"name": name_of(model), **own},
        "training": asdict(options),
        **({"init_from": model.started_from} if model.started_from else {}),
    }


def precision_for(options: Options) -> str:
    """The precision that "auto" means on this machine."""
    if options.precision != "auto":
        return options.precision
    on_gpu = options.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    if on_gpu:
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    native = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return "bf16-mixed" if any(check() for check in native if check) else "32-true"


class _Loop:
    def __init__(
        self, model: Model, data: Dataset, options: Options, run: Run | None, watcher: Watcher, tensorboard: bool
    ) -> None:
        # Vectors go through small networks, where casting costs more than bfloat16 saves.
        precision = precision_for(options) if data.is_image or options.precision != "auto" else "32-true"
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # we say ourselves what is to be said
        self.fabric = Fabric(accelerator=options.accelerator, devices=options.devices, precision=precision)  # type: ignore[arg-type]
        self.fabric.launch()
        self.options, self.run, self.data = options, run, data
        self.watcher = watcher if self.fabric.is_global_zero else Silent()
        self.model: Model = self.fabric.to_device(model)  # type: ignore[assignment]
        self.players = model.players()
        self.readers: list[str] = []
        self.optimizers = {
            name: optimizers.reader(player.parameters, options.reader_rate)
            if player.reader
            else optimizers.build(player.parameters, options.learning_rate, options.matrix_rate, options.optimizer)
            for name, player in self.players.items()
        }
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
        self.validates = "val" in data.splits
        # Each device draws its own noise; the first rank's generator is what a single device uses.
        self.generator = torch.Generator(self.fabric.device).manual_seed(_seed(options.seed, _STREAM["train"], rank))
        self.sums: dict[str, Tensor] = {}
        self.count = 0
        self.best_score, self.best_epoch, self.rows = math.inf, 0, 0
        self.best_weights: dict[str, Tensor] | None = None
        self.rates: list[float] = []
        self.seconds = 0.0
        self.events = _events(run) if tensorboard and run is not None else None

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run_to_the_end(self) -> Fitted:
        began = time.monotonic()
        reason = self._restore()
        self.watcher.start(self.options.epochs, self.steps, self.batches.epoch)
        try:
            while not reason:
                self._train_epoch()
                reason = self._end_epoch()
                self._checkpoint(reason)
        except BaseException:
            self.watcher.stop("")
            raise
        self._finish()
        self.watcher.stop(reason)
        rate = sorted(self.rates)[len(self.rates) // 2] if self.rates else 0.0
        return Fitted(
            self.model, reason, self.best_epoch, self.best_score if self.validates else math.nan, time.monotonic() - began, rate
        )

    def _train_epoch(self) -> None:
        model, epoch = self.model.train(), self.batches.epoch
        began = saved = shown = time.monotonic()
        seen = 0
        for batch in self.batches:
            position = self.batches.position
            batch = batch.to(self.fabric.device)
            losses = self._step(model, batch, epoch * self.steps + position - 1)
            self.readers = [name for name, player in losses.owners.items() if self.players[player].reader]
            for name, term in losses.terms.items():
                total = term * len(batch)
                self.sums[name] = self.sums[name] + total if name in self.sums else total
            self.count += len(batch)
            seen += len(batch)
            now = time.monotonic()
            if now - shown > 0.2:
                shown = now
                self.watcher.step(epoch, position, seen / (now - began))
            if now - saved > 60 * self.options.checkpoint_minutes and position < self.steps:
                self._checkpoint("")
                saved = now
        self.seconds = time.monotonic() - began
        self.rates.append(seen / max(self.seconds, 1e-9) * self.fabric.world_size)

    def _step(self, model: Model, batch: Batch, step: int) -> Losses:
        """All players' steps on one batch, in the model's order."""
        model.epoch, model.progress = step / self.steps, step / (self.options.epochs * self.steps)
        changing = self.options.pace(step, self.options.epochs * self.steps)
        with self.fabric.autocast():
            losses = model.losses(batch, self.generator)
        for name, player in self.players.items():
            pace = 1.0 if player.reader else changing
            for _ in range(player.steps):
                for optimizer in self.optimizers[name]:
                    for group in optimizer.param_groups:
                        group["lr"] = group.setdefault("initial_lr", group["lr"]) * pace
                    optimizer.zero_grad(set_to_none=True)
                with self.fabric.autocast():
                    objective = losses.objective(name)
                self.fabric.backward(objective)
                self._reduce(player.parameters)
                norm = nn.utils.clip_grad_norm_(player.parameters, self.options.clip or math.inf)
                if not math.isfinite(float(objective.detach() + norm)):
                    self._diverged(losses, name, step)
                for optimizer in self.optimizers[name]:
                    optimizer.step()
        model.adapt(losses)
        return losses

    def _reduce(self, parameters: list[nn.Parameter]) -> None:
        """Averages gradients over devices, in one message a player."""
        if self.fabric.world_size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat: Tensor = self.fabric.all_reduce(torch.cat([g.flatten() for g in gradients]))  # type: ignore[assignment]
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _diverged(self, losses: Losses, player: str, step: int) -> None:
        bad = [name for name, term in losses.terms.items() if not bool(torch.isfinite(term).all())]
        what = f"term {bad[0]!r}" if bad else f"the gradient of player {player!r}"
        epoch, position = divmod(step, self.steps)
        last = "no checkpoint was written yet"
        if self.run is not None and self.run.checkpoint_file.exists():
            last = f"the last good checkpoint is {self.run.checkpoint_file}"
        raise DivergedError(
            f"{what} became NaN or infinite in epoch {epoch + 1}, step {position + 1}; {last}; "
            "try a lower learning_rate or a smaller clip"
        )

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
        generator = torch.Generator(self.fabric.device).manual_seed(_seed(self.options.seed, _STREAM["val"], rank))
        sums: dict[str, Tensor] = {}
        count = 0
        for batch in batches:
            if len(batch) == 0:
                continue
            batch = batch.to(self.fabric.device)
            with self.fabric.autocast():
                losses = model.losses(batch, generator)
                for name in self.players:
                    losses.objective(name)
            for name, term in losses.terms.items():
                sums[name] = sums.get(name, torch.zeros_like(term)) + term * len(batch)
            count += len(batch)
        terms = self._average(sums, count)
        return terms, float(model.score(terms))

    def _average(self, sums: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        if self.fabric.world_size > 1:
            total = float(self.fabric.all_reduce(torch.tensor(float(count)), reduce_op="sum"))  # type: ignore[arg-type]
            return {name: self.fabric.all_reduce(s, reduce_op="sum") / total for name, s in sums.items()}  # type: ignore[operator]
        return {name: s / count for name, s in sums.items()}

    def _end_epoch(self) -> str:
        """Validates, writes metrics and the best model; returns why training stops, or an empty text."""
        epoch = self.batches.epoch
        val, score = self.validate() if self.validates else ({}, None)
        best = score is None or score < self.best_score
        if best:
            self.best_score, self.best_epoch = (self.best_score if score is None else score), epoch
            if self.run is None:
                self.best_weights = copy.deepcopy(self.model.state_dict())
            elif self.fabric.is_global_zero:
                saving.save(self.model, self.run.home)
        names = self.model.term_names()
        row = {
            "epoch": epoch,
            "train": _plain(self._average(self.sums, self.count), names),
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
        if self.run is not None:
            best, _ = files.read_tensors(self.run.home / "model.safetensors")
            self.model.load_state_dict(best)
        elif self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        self.model.eval()

        def training_data():
            # in random order: some take the first so many, and data may be sorted by class
            size, seed = max(self.options.batch_size, 256), self.options.seed
            batches = Batches(self.data, "train", size, seed=seed, prefetch=self.batches.prefetch)
            return (batch.to(self.fabric.device) for batch in batches)

        self.model.calibrate(training_data)
        self.model.cpu()  # where data are; whoever wants to go on elsewhere moves it
        if self.events is not None:
            self.events.close()
        if self.run is not None and self.fabric.is_global_zero:
            saving.save(self.model, self.run.home)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _checkpoint(self, reason: str) -> None:
        if self.run is None or not self.fabric.is_global_zero:
            return
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"sum.{name}": t for name, t in self.sums.items()}
        tensors["generator"] = self.generator.get_state()
        groups: dict[str, Any] = {}
        for name, built in self.optimizers.items():
            for i, optimizer in enumerate(built):
                found, groups[f"{name}.{i}"] = flatten_optimizer(f"optimizer.{name}.{i}", optimizer)
                tensors |= found
        state = {
            "batches": self.batches.state_dict(),
            "groups": groups,
            "count": self.count,
            "best_score": self.best_score if math.isfinite(self.best_score) else None,
            "best_epoch": self.best_epoch,
            "rows": self.rows,
            "reason": reason,
        }
        self.run.write_checkpoint(tensors, state)

    def _restore(self) -> str:
        """Takes up the last checkpoint, if there is one; returns why that run stopped, if it had."""
        found = self.run.read_checkpoint() if self.run is not None else None
        if self.run is None or found is None:
            if self.run is not None and self.run.metrics_file.exists():
                self.run.keep_metrics(0)
            return ""
        tensors, state = found
        model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        files.load_strictly(self.model, model, self.run.checkpoint_file)
        self.sums = {name.removeprefix("sum."): t for name, t in tensors.items() if name.startswith("sum.")}
        self.generator.set_state(tensors["generator"].cpu())
        for name, built in self.optimizers.items():
            for i, optimizer in enumerate(built):
                restore_optimizer(f"optimizer.{name}.{i}", optimizer, tensors, state["groups"][f"{name}.{i}"])
        self.batches.load_state_dict(state["batches"])
        self.count, self.rows = state["count"], state["rows"]
        self.best_epoch = state["best_epoch"]
        self.best_score = math.inf if state["best_score"] is None else state["best_score"]
        self.run.keep_metrics(self.rows)
        return state["reason"]


def _plain(terms: dict[str, Tensor], names: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """Terms as numbers: a vector term is its sum under its name, and every entry under ``name.entry``."""
    row = {}
    for name, term in terms.items():
        row[name] = float(term.sum())
        if term.ndim:
            entries = names.get(name, tuple(str(i) for i in range(len(term))))
            row |= {f"{name}.{entry}": float(value) for entry, value in zip(entries, term.tolist(), strict=True)}
    return row


def _seed(seed: int, stream: int, rank: int) -> int:
    """Different numbers for different streams and ranks of one seed."""
    return (seed * 1_000_003 + stream * 7919 + rank) % (2**63)


def _events(run: Run):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(f"TensorBoard is not installed ({error}); pip install 'labelspace[track]'") from None
    return SummaryWriter(run.home / "events")


def open_run(home: str | Path) -> tuple[Model, Dataset]:
    """The best model of a run and the data set that it was trained on.

    Raises:
        UserError: the directory holds no run, or its data cannot be opened any more.
    """
    run = Run(home)
    run.read_config()  # says first whether it is a run at all
    return saving.load(run.home), open_data(run)


def open_data(run: Run, progress: store.Progress | None = None) -> Dataset:
    """The data set that a run was trained on, its labels hidden and changed as they were then.

    Args:
        run: the run.
        progress: as in :func:`labelspace.open`.

    Raises:
        UserError: the directory holds no run, or its data cannot be opened any more.
    """
    found = run.read_config()["data"]
    return sources.open(
        found["address"],
        found["labels"],
        seed=found["seed"],
        supervision=found.get("supervision", 1.0),
        mislabelled=found.get("mislabelled", 0.0),
        group=found.get("group", ""),
        like=saving.description(run.home),
        progress=progress,
    )
