"""How training is done, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from labelspace.errors import UserError, unknown

_WEEK = 7 * 24 * 60  # minutes


@dataclass(frozen=True)
class Options:
    """Options of :func:`labelspace.fit`.

    Attributes:
        epochs: passes over the training split; 0 trains until the validation score has settled.
        steps: the most steps, 0 for any number; training ends with the epoch in which they are reached.
        minutes: the most minutes that training may take, 0 for any number; it ends with an epoch.
        batch_size: samples a step, over all devices.
        micro_batch: samples that networks see at once: the same step in less memory, for which they go forward twice; 0 is the
            whole batch. Where memory runs out, it is halved by itself.
        learning_rate: peak learning rate of the optimiser.
        auxiliary_learning_rate: constant learning rate of players that only read codes: adversaries and label heads.
        optimizer: "adam", or "adagrad" for results that were published with it; players that read codes keep Adam.
        muon_learning_rate: peak learning rate of Muon for weight matrices and kernels; 0 trains everything with Adam.
        muon_precision: what Muon multiplies in: "auto" is bfloat16 where the device multiplies it natively, else float32.
        warmup: steps over which learning rates rise to their peak, at most a tenth of all.
        decay: last fraction of training over which they fall along half a cosine wave to ``floor`` times the peak.
        floor: where learning rates end, as a fraction of their peak.
        clip: largest gradient norm of a player; 0 does not clip.
        patience: stop after so many epochs without a better validation score; 0 never stops early.
        labelled: where fewer samples have labels, this share of each batch is drawn from those that have; 0 never does.
        seed: seed of weights' noise, batch order and everything else that is random.
        precision: "32-true", "bf16-mixed", or "auto": bfloat16 where the processor multiplies it natively.
        compile: compile the networks with ``torch.compile`` (needs a C++ compiler; docs/performance.md says where it pays).
        accelerator: what trains: "cpu", "cuda" or another by name; "auto": the best that is there.
        devices: processes on each machine, one a device; "auto": as many as torchrun or SLURM started, otherwise one.
        nodes: machines; "auto": as torchrun or SLURM say, otherwise one.
        strategy: "ddp": every process has the whole model and a share of each batch; "auto" is "ddp" for several processes.
        timeout: minutes that processes wait for one that does not answer.
        checkpoint_minutes: also write a checkpoint inside an epoch when so many minutes have passed.
    """

    epochs: int = 20
    steps: int = 0
    minutes: float = 0.0
    batch_size: int = 128
    micro_batch: int = 0
    learning_rate: float = 1e-3
    auxiliary_learning_rate: float = 1e-3
    optimizer: Literal["adam", "adagrad"] = "adam"
    muon_learning_rate: float = 0.0
    muon_precision: Literal["auto", "float32", "bfloat16"] = "auto"
    warmup: int = 100
    decay: float = 0.6
    floor: float = 0.02
    clip: float = 1000.0
    patience: int = 0
    labelled: float = 0.2
    seed: int = 0
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    compile: bool = False
    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    nodes: int | Literal["auto"] = "auto"
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    timeout: float = 30.0
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        least = {"epochs": 0, "steps": 0, "minutes": 0, "micro_batch": 0, "warmup": 0, "patience": 0}
        least |= {"batch_size": 1, "devices": 1, "nodes": 1}
        for name, low in least.items():
            if getattr(self, name) != "auto" and getattr(self, name) < low:
                raise UserError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"the seed must be 0 to {2**32 - 1:,}, got {self.seed}")
        if self.precision == "16-mixed":
            raise UserError(
                "precision 16-mixed needs losses scaled for several optimisers, which fit does not do; use bf16-mixed"
            )
        if self.strategy == "fsdp":
            raise UserError(
                "strategy fsdp is not there: sharded parameters do not go together with players that freeze each other's "
                "(docs/scale.md says why); use ddp, and a smaller network.width to make a model smaller"
            )
        if self.strategy not in ("auto", "ddp"):
            raise unknown("strategy", self.strategy, ("auto", "ddp"))
        if not 0 < self.timeout <= _WEEK:
            raise UserError(f"timeout must be positive, and at most a week ({_WEEK} minutes), got {self.timeout}")
        for name, known in (("optimizer", ("adam", "adagrad")), ("muon_precision", ("auto", "float32", "bfloat16"))):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        if not (
            self.learning_rate > 0
            and self.auxiliary_learning_rate > 0
            and self.muon_learning_rate >= 0
            and self.clip >= 0
            and 0 <= self.decay <= 1
            and 0 <= self.floor <= 1
            and self.checkpoint_minutes >= 0
            and 0 <= self.labelled < 1
        ):
            raise UserError(
                "learning_rate and auxiliary_learning_rate must be positive, muon_learning_rate, clip and checkpoint_minutes "
                "at least 0, decay and floor between 0 and 1, labelled at least 0 and below 1"
            )

    def pace(self, step: int, steps: int) -> float:
        """Factor on the learning rates at a step of so many."""
        rise = min(1.0, (step + 1) / max(1, min(self.warmup, steps / 10)))
        start = 1.0 - self.decay
        fraction = step / max(1, steps)
        if self.decay == 0 or fraction <= start:
            return rise
        wave = 0.5 + 0.5 * math.cos(math.pi * (fraction - start) / self.decay)
        return rise * (self.floor + (1 - self.floor) * wave)
