"""The training loop: epochs, validation, the best and the last checkpoint, and why it stops."""

from __future__ import annotations

import html
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labelspace import saving
from labelspace.data import frames
from labelspace.data.batches import Batch, Batches
from labelspace.data.dataset import Dataset
from labelspace.data.splits import Split
from labelspace.errors import DivergedError, InterruptedTraining, UserError, lacks_memory, option
from labelspace.models.base import Losses, Model
from labelspace.storage import tensorfiles
from labelspace.training import checkpoint, engine, launcher
from labelspace.training.options import Options
from labelspace.training.pieces import in_pieces
from labelspace.training.progress import Callback
from labelspace.training.run import Run
from labelspace.training.schedule import Schedule
from labelspace.training.signals import Notice
from labelspace.training.step import Stepper, Trouble

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from narwhals.typing import IntoDataFrame

_WRITING = 0.05  # of the time goes to checkpoints at the ends of epochs, at most


@dataclass(frozen=True, repr=False)
class Fitted:
    """What training achieved.

    Attributes:
        model: the best model, in evaluation mode.
        reason: why training stopped.
        best_epoch: the epoch of the best validation score (from 1).
        best_score: that score; nan without a validation split, where the last weights are kept.
        seconds: time spent in this call.
        samples_per_second: median over epochs of training samples a second.
        home: the run directory, where there is one.
        rows: what was measured after every epoch, as ``metrics.jsonl`` has it; of a resumed run those before as well.
    """

    model: Model
    reason: str
    best_epoch: int
    best_score: float
    seconds: float
    samples_per_second: float
    home: Path | None = None
    rows: tuple[dict[str, Any], ...] = ()

    @property
    def history(self) -> IntoDataFrame:
        """What was measured after every epoch, as a frame: columns "epoch", "score", "train/TERM", "val/TERM", ...

        Raises:
            UserError: no library for frames is installed.
        """
        flat = [flattened(row) for row in self.rows]
        names = dict.fromkeys(name for row in flat for name in row)
        return frames.make({name: [row.get(name) for row in flat] for name in names})

    def __repr__(self) -> str:
        score = "" if math.isnan(self.best_score) else f", best score {self.best_score:.5g} in epoch {self.best_epoch}"
        where = "" if self.home is None else f", in {self.home}"
        return f"Fitted({type(self.model).__name__}: {len(self.rows)} epochs, {self.seconds:.0f} s{score}{where})"

    def _repr_html_(self) -> str:
        last = flattened(self.rows[-1]) if self.rows else {}
        shown = {name: value for name, value in last.items() if name.startswith("val/") and "." not in name}
        cells = "".join(f"<td>{value:.4g}</td>" for value in shown.values())
        head = "".join(f"<th>{html.escape(name.removeprefix('val/'))}</th>" for name in shown)
        about = f"<p>{html.escape(repr(self))}</p><p>{html.escape(self.reason)}</p>"
        return f"<div>{about}<table><tr>{head}</tr><tr>{cells}</tr></table></div>"


def flattened(row: dict[str, Any]) -> dict[str, float]:
    """A row of metrics with its terms as "train/TERM", "val/TERM", "weights/TERM"; what is no number is left out."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= {f"{name}/{term}": number for term, number in value.items() if isinstance(number, int | float)}
        elif isinstance(value, int | float):
            found[name] = value
    return found


class Loop:
    """A training run in progress; :func:`labelspace.fit` says what it does."""

    def __init__(
        self,
        fabric: Fabric | engine.Alone,
        model: Model,
        data: Dataset,
        options: Options,
        run: Run | None,
        callback: Callback,
    ) -> None:
        self.fabric = fabric
        self.options, self.run, self.data = options, run, data
        self.callback = callback if self.fabric.is_global_zero else Callback()
        self.model: Model = self.fabric.to_device(model)  # type: ignore[assignment]
        engine.same_weights(fabric, self.model)  # nothing makes sure that all processes started from the same
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
            labelled=options.labelled if model.trained_on_labels() else 0.0,
        )
        self.steps = len(self.batches)
        self.schedule = Schedule(options, self.steps)
        self.stepper = Stepper(self.fabric, self.model, options, self.schedule, self._troubled)
        self.validates = "val" in data.splits
        # Each device draws its own noise; the first rank's generator is what a single device uses (engine.renew).
        noise = torch.Generator(self.fabric.device).manual_seed(engine.seed(options.seed, engine.STREAM["train"], rank))
        self.state = checkpoint.State(
            self.model, self.stepper.optimizers, self.stepper.guard, self.schedule, self.batches, noise
        )
        self.best_weights: dict[str, Tensor] | None = None  # of the best epoch, where no file has them yet
        self.written, self.writing = -math.inf, 0.0  # when a checkpoint was written last, and how long that took
        self.rates: list[float] = []
        self.seconds = 0.0
        self.first_failure = ""
        self.pieces = ExitStack()  # networks see pieces of batches while it is open
        self.notice = Notice()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def run_to_the_end(self) -> Fitted:
        began = time.monotonic()
        reason = ""
        if self.run is not None:
            reason = checkpoint.restore(self.fabric, self.run, self.state, self.options, self._tell)
        self.rows = self.run.metrics() if self.run is not None else []
        self.callback.start(self._expected(), self.steps, self.batches.epoch)
        if self.rows:
            self.callback.earlier(self.rows)
        try:
            with self.notice, engine.held_memory(self.fabric.device):
                self.notice.waits = True
                with engine.compiled(self.model, self.options.compile), self.pieces:
                    self._take_apart(self.stepper.guard.record.pieces or self.options.micro_batch)
                    while not reason:
                        self._train_epoch()
                        reason = self._end_epoch()
                        # Whoever has many epochs a second would write more than train.
                        due = time.monotonic() - self.written >= self.writing / _WRITING
                        if write := bool(reason or due or self.notice.received):
                            self._checkpoint(reason)
                        self._stop_if_asked(self.batches.state_dict(), written=write)
                self.notice.waits = False  # all that is left can be done again from the checkpoint
                self._finish()
        except BaseException as error:
            self.callback.end("")
            if lacks_memory(error):
                raise self._no_memory(error) from None
            raise
        self.callback.end(reason)
        rate = sorted(self.rates)[len(self.rates) // 2] if self.rates else 0.0
        score = self.state.best_score if self.validates else math.nan
        home = None if self.run is None else self.run.home
        return Fitted(self.model, reason, self.state.best_epoch, score, time.monotonic() - began, rate, home, tuple(self.rows))

    def _train_epoch(self) -> None:
        self.model.train()
        epoch = self.batches.epoch
        began = saved = shown = time.monotonic()
        seen = 0
        for batch in self.batches:
            position = self.batches.position
            batch = batch.to(self.fabric.device)
            step, size = epoch * self.steps + position - 1, self.batches.size
            engine.renew(self.state.generator, self.options.seed, engine.STREAM["train"], self.fabric.global_rank, step)
            losses = self._step(batch, step)
            if losses is not None:
                self.state.auxiliary = self.stepper.auxiliary_terms(losses)
                self._add(losses.terms, size)
            seen += size
            now = time.monotonic()
            if now - shown > 0.2:
                shown = now
                self.callback.step(epoch, position, seen / (now - began))
            self._stop_if_asked(self.batches.state_dict())
            if now - saved > 60 * self.options.checkpoint_minutes and position < self.steps:
                self._checkpoint("")
                saved = now
        self.seconds = time.monotonic() - began
        self.rates.append(seen / max(self.seconds, 1e-9))

    def _step(self, batch: Batch, step: int) -> Losses | None:
        """A step; None where it was not taken. Where memory runs out, networks see smaller pieces of a batch from there on."""
        size, record = self.batches.size, self.stepper.guard.record
        pieces = record.pieces or self.options.micro_batch or self.options.batch_size
        try:
            return self.stepper.step(batch, self.state.generator, step, self.batches.own / size)
        except (RuntimeError, MemoryError) as error:
            # Several processes would have to agree. And what does not fit in pieces of one sample is not what networks keep.
            if not lacks_memory(error) or pieces == 1 or self.fabric.world_size > 1:
                raise
        record.pieces = -(-min(pieces, size) // 2)
        back = record.since
        self.stepper.guard.go_back()  # some players may have stepped
        self._take_apart(record.pieces)
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        seen, where = _count(record.pieces, "sample"), f"in epoch {self.batches.epoch + 1}"
        gone = f", and training goes back {_count(back, 'step')}" if back else ""
        self._tell(f"memory ran out {where}: networks see {seen} at once from here on{gone}")
        return self._step(batch, step)

    def _take_apart(self, size: int) -> None:
        """Networks see so many samples at once from here on; 0 is the whole batch."""
        self.pieces.close()
        self.pieces.enter_context(in_pieces(self.model, size))

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
        raise InterruptedTraining(f"{at}; {option('resume')} goes on from there in {self.run.home}", self.notice.received)

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

    def _bad_weight(self) -> str:
        """The first weight that is not finite: no such model is ever written."""
        learnt = [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]
        return next((name for name, weight in learnt if not bool(torch.isfinite(weight).all())), "")

    def _sound(self, terms: dict[str, Tensor], score: float | None) -> bool:
        """Whether all weights and a validation score are finite; where they are not, training has gone back."""
        bad = self._bad_weight()
        if not bad and (score is None or math.isfinite(score)):
            return True
        what = f"weight {bad!r}" if bad else "the validation score"
        step = self.batches.epoch * self.steps + self.batches.position - 1
        self.stepper.in_trouble(Trouble(self.stepper.guard.failure(), terms, what, step))
        return False

    def _troubled(self, trouble: Trouble) -> None:
        """Says once that steps are not taken; raises DivergedError where that did not help. All processes come here at once."""
        record = self.stepper.guard.record
        bad = [name for name, term in trouble.terms.items() if not bool(torch.isfinite(term).all())]
        bad = engine.from_all(self.fabric, bad)
        what = f"term {bad[0]!r}" if bad else trouble.what
        epoch, position = divmod(trouble.step, self.steps)
        where = f"in epoch {epoch + 1}, step {position + 1}"
        if bad or trouble.norm is None:
            said = f"{what} became NaN or infinite {where}"
            self.first_failure = self.first_failure if record.failures > 1 and self.first_failure else said
        else:
            said = f"{what} was {trouble.norm:.3g} {where}, usually {trouble.usual:.3g}"
        if trouble.verdict == "fail":
            raise DivergedError(
                f"{self.first_failure}; so it did {record.failures - 1} times more after going back with lower learning rates; "
                f"{self._last_checkpoint()}; try a lower learning_rate, a smaller clip, or data on another scale"
            )
        if record.skipped + record.undone == 0:
            done = (
                "the step is left out"
                if trouble.verdict == "skip"
                else f"training goes back {_count(record.since + 1, 'step')}"
            )
            self._tell(f"{said}: {done}, and learning rates are halved for a while (more of this is only counted)")

    def _tell(self, text: str) -> None:
        if self.fabric.is_global_zero:  # of several processes one speaks
            self.callback.note(text)

    def _add(self, terms: dict[str, Tensor], n: int) -> None:
        """Adds a batch's terms, each the mean over so many samples, to the epoch's sums."""
        sums = self.state.sums
        self.state.count += n
        if sums.keys() == terms.keys():
            torch._foreach_add_(list(sums.values()), [terms[name] for name in sums], alpha=n)  # pyright: ignore
            return
        for name, term in terms.items():
            sums[name] = sums[name] + term * n if name in sums else term * n

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
        generator = torch.Generator(self.fabric.device).manual_seed(engine.seed(self.options.seed, engine.STREAM["val"], rank))
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
        epoch, state = self.batches.epoch, self.state
        val, score = self.validate() if self.validates else ({}, None)
        sound = self._sound(val, score)
        # Scores from before learning rates fell to their end do not compare with those after.
        falling = self.schedule.closing is not None
        better = score is None or score < state.best_score or falling > state.best_falling
        best = sound and better
        if best:
            state.best_falling = falling
            state.best_score, state.best_epoch = (state.best_score if score is None else score), epoch
            if self.run is None or self.fabric.is_global_zero:
                self.best_weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        if sound:
            self._choose_apart(val)
        names = self.model.term_names()
        means = {name: s / max(1, state.count) for name, s in state.sums.items()}
        settling = self._settling(val if self.validates else means)
        row = {
            "epoch": epoch,
            "train": _plain(means, names),
            "val": _plain(val, names),
            "weights": _plain({k: torch.as_tensor(w) for k, w in self.model.weights().items()}, names),
            "readers": state.auxiliary,  # terms that only players which read codes minimise: the model does not feel them
            "score": score,
            "best": best,
            "samples_per_second": self.rates[-1],
            "seconds": self.seconds,
            **self.stepper.guard.counts(),
            **({"remarks": remarks} if (remarks := self.model.remarks()) else {}),
        }
        state.sums, state.count = {}, 0
        state.rows += 1
        if self.run is not None and self.fabric.is_global_zero:
            self.run.append_metrics(row)
        self.rows.append(row)
        asked = self.callback.epoch(row)
        if sound:
            self.stepper.guard.keep()
        # Clocks differ from process to process, and so may what each has trained on: the first decides.
        seconds, seen, asked = engine.on_first(self.fabric, lambda: (self.seconds, settling, asked))
        self.schedule.epoch_ended(epoch * self.steps, seen if sound else None, seconds)
        self.callback.expect(self._expected())
        if self.schedule.over(epoch * self.steps):
            if not state.best_epoch or not self.stepper.guard.took_any:
                raise DivergedError(f"no epoch ended well: {self.first_failure}; try a lower learning_rate or a smaller clip")
            why = f"after all {epoch} epochs" if self.schedule.closing is None else f"after {epoch} epochs, {self._end()}"
            if not self.validates:
                return f"stopped {why}; the data have no validation split, so the last weights are kept"
            return f"stopped {why}; best validation score {state.best_score:.6g} in epoch {state.best_epoch}"
        if self.options.patience and epoch - state.best_epoch >= self.options.patience:
            return (
                f"stopped early after epoch {epoch}: no better validation score in {self.options.patience} epochs "
                f"(best {state.best_score:.6g} in epoch {state.best_epoch})"
            )
        return f"stopped {asked}" if asked else ""

    def _settling(self, terms: dict[str, Tensor]) -> list[float] | None:
        """What training waits for: the score, which may stand still where codes pay for what they save, and reconstructions."""
        if not terms:
            return None
        return [float(self.model.score(terms)), *(float(terms[name]) for name in ("reconstruction",) if name in terms)]

    def _choose_apart(self, val: dict[str, Tensor]) -> None:
        """Keeps the parts of the model that are chosen for themselves where they validate better than before."""
        own = {term: float(val[term].sum()) for term in self.model.apart if term in val}
        for term, value in engine.on_first(self.fabric, lambda: own).items():
            if value < self.state.apart.get(term, (math.inf, {}))[0]:
                prefixes = self.model.apart[term]
                part = {name: t.clone() for name, t in self.model.state_dict().items() if name.startswith(prefixes)}
                self.state.apart[term] = value, part

    def _end(self) -> str:
        """Why learning rates fell before all epochs were over."""
        assert self.schedule.closing is not None
        return "nothing being gained any more" if self.schedule.settled else "as the budget asks"

    def _expected(self) -> int:
        """Epochs of all training, as it looks now."""
        return -(-self.schedule.expected(self.batches.epoch * self.steps) // self.steps)

    def _finish(self) -> None:
        """Loads the best weights, lets the model measure what edits need, and writes it for good."""
        run = self.run
        if run is not None:
            self._write_best()
            best, _ = engine.on_first(self.fabric, lambda: tensorfiles.read(run.home / "model.safetensors"))
            self.model.load_state_dict(best)
        elif self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
        for _, part in self.state.apart.values():
            self.model.load_state_dict(part, strict=False)
        self.model.eval()

        def batches_of(split: Split):
            # in random order: some take the first so many, and data may be sorted by class
            size, seed = max(self.options.batch_size, 256), self.options.seed
            batches = Batches(self.data, split, size, seed=seed, prefetch=self.batches.prefetch)
            return (batch.to(self.fabric.device) for batch in batches)

        for remark in self.model.remarks():
            self._tell(remark)
        if self.validates:
            self.model.calibrate_labels(lambda: batches_of("val"))
        self.model.calibrate(
            lambda: batches_of("train")
        )  # on every process: that takes no longer, and nobody waits long for another
        engine.same_weights(self.fabric, self.model)
        self.model.cpu()  # where data are; whoever wants to go on elsewhere moves it
        if self.run is not None and self.fabric.is_global_zero:
            saving.save(self.model, self.run.home)
        launcher.over()

    def _checkpoint(self, reason: str, place: dict[str, int] | None = None) -> None:
        """Writes a checkpoint; arguments as of :func:`checkpoint.write`."""
        if self.run is None or not self.fabric.is_global_zero or self._bad_weight():
            return  # the next step of weights that are not finite is undone
        began = time.monotonic()
        self._write_best()  # first: what the checkpoint says to be the best model must be there
        checkpoint.write(self.run, self.state, reason, place)
        self.written = time.monotonic()
        self.writing = self.written - began

    def _write_best(self) -> None:
        """Writes the weights of the best epoch, where no file has them yet."""
        if self.run is not None and self.fabric.is_global_zero and self.best_weights is not None:
            saving.save(self.model, self.run.home, self.best_weights)
            self.best_weights = None


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def _plain(terms: dict[str, Tensor], names: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """Terms as numbers: a vector term is its sum under its name, and every entry under ``name.entry``."""
    row = {}
    for name, term in terms.items():
        row[name] = float(term.sum())
        if term.ndim:
            entries = names.get(name, tuple(str(i) for i in range(len(term))))
            row |= {f"{name}.{entry}": float(value) for entry, value in zip(entries, term.tolist(), strict=True)}
    return row
