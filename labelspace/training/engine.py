"""Devices, precision, and what several processes have to agree on.

All processes hold the same parameters, buffers and optimiser states, and each computes its share of a batch. What is
exchanged are numbers averaged over processes, weighted by their samples: gradients once a player's step, and once a batch what
the model keeps of it. After each exchange all of them hold the same bits, so they stay alike without being sent whole.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from labelspace.errors import LostError, UserError, lacks_memory
from labelspace.models.base import Losses, Model
from labelspace.training import launcher
from labelspace.training.options import Options

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")
STREAM = {"train": 1, "val": 2}  # of noise, see seed


class Alone:
    """A single process on one device: what Lightning's ``Fabric`` does for it, without importing it.

    That takes longer than to import PyTorch, for it imports PyTorch's compiler.

    Args:
        device: where it computes.
        precision: "32-true" or "bf16-mixed".
    """

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: torch.device, precision: str) -> None:
        self.device, self.precision = device, precision

    def autocast(self) -> AbstractContextManager[Any]:
        """Inside, what is computed has the precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16-mixed" else nullcontext()

    def to_device(self, module: nn.Module) -> nn.Module:
        """The module on the device."""
        return module.to(self.device)

    def broadcast(self, found: T) -> T:
        """What the first process has."""
        return found


class ReportedError(UserError):
    """A mistake that the first process has met; it tells the user, the others only end."""


def precision_for(options: Options, images: bool = True) -> str:
    """The precision that "auto" means on this machine for images or vectors."""
    if options.precision != "auto":
        return options.precision
    if not images:  # vectors go through small networks, where casting costs more than bfloat16 saves
        return "32-true"
    on_gpu = options.accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available()
    return "bf16-mixed" if multiplies_bfloat16(torch.device("cuda" if on_gpu else "cpu")) else "32-true"


def processor() -> str:
    """The processor's name and what it multiplies with, such as "AMD EPYC (avx2)"."""
    found = getattr(torch.cpu, "get_capabilities", dict)()
    name = found.get("cpu_name") or platform.processor() or platform.machine()
    widest = [kind for kind in ("amx_bf16", "avx512_bf16", "avx512_f", "avx2", "sve", "neon") if found.get(kind)]
    return f"{name} ({widest[0]})" if widest else str(name)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 natively; where it does not, that is several times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    native = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return device.type == "cpu" and any(check() for check in native if check)


def muon_dtype(options: Options, device: torch.device) -> torch.dtype:
    """What Muon multiplies in on a device."""
    if options.muon_precision == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    return getattr(torch, options.muon_precision)


def launch(options: Options, images: bool, command: Sequence[str] | None = None) -> Fabric | Alone:
    """Devices and precision for training on images or vectors, with all processes under way.

    Called again in the same process it joins the processes that are there.

    Args:
        options: how to train.
        images: whether samples are images.
        command: what starts another process; by default what started this one.

    Raises:
        UserError: such devices are not there, or other processes than were asked for.
    """
    precision = precision_for(options, images)
    devices, nodes = launcher.wanted(options)
    several = devices * nodes > 1
    device = None if several else _one_device(options.accelerator)
    if device is not None:
        _speed_up(device, precision)
        return Alone(device, precision)
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # we say ourselves what is to be said
    # Plain processes: Fabric's wrapper of modules is not used, see average_gradients.
    strategy = DDPStrategy(timeout=timedelta(minutes=options.timeout)) if several else "auto"
    try:
        fabric = Fabric(
            accelerator=options.accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=precision,  # type: ignore[arg-type]
            strategy=strategy,
        )
    except Exception as error:  # Fabric has several classes for "not on this machine"
        where = f"accelerator={options.accelerator} and devices={devices}"
        raise UserError(
            f"{where} do not work on this machine: {' '.join(str(error).split()) or type(error).__name__}"
        ) from None
    launcher.start(devices, nodes, command)
    with _talking():
        fabric.launch()
    launcher.joined()
    _speed_up(fabric.device, precision)
    return fabric


def _one_device(accelerator: str) -> torch.device | None:
    """The device that a single process computes on; None where Lightning knows better whether there is one."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    plain = accelerator == "auto" and not torch.backends.mps.is_available()
    return torch.device("cpu") if accelerator == "cpu" or plain else None


def _speed_up(device: torch.device, precision: str) -> None:
    if device.type == "cuda" and precision == "bf16-mixed":
        torch.set_float32_matmul_precision("high")  # what autocast leaves in float32 may use TF32 then, too


# Parameters of mallopt, and what they are set to: how much is kept, from what size on memory is mapped, and what is fetched.
_TRIM, _TOP, _MAP = -1, -2, -3
_HELD = {_MAP: 32 << 20, _TRIM: 2**31 - 1, _TOP: 64 << 20}
_RETURNED = {_TRIM: 64 << 20, _TOP: 0}


@contextmanager
def held_memory(device: torch.device) -> Iterator[None]:
    """Inside, memory that is freed on the CPU stays with the process.

    A step frees what the next one needs. The C library of Linux gives it back to the system meanwhile, and the system hands
    it out again page by page. At the end it is given back. Elsewhere, and under another allocator, this does nothing.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" and device.type == "cpu" else None
    if not hasattr(libc, "mallopt"):
        yield
        return
    assert libc is not None
    for what, value in _HELD.items():
        libc.mallopt(what, value)
    try:
        yield
    finally:
        for what, value in _RETURNED.items():
            libc.mallopt(what, value)
        libc.malloc_trim(0)


@contextmanager
def compiled(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Inside, the model's networks run compiled, where that is wanted; what a model does beside them stays as it is."""
    networks = [child for child in model.children() if isinstance(child, nn.Sequential)] if wanted else []
    for network in networks:
        network.compile()
    try:
        yield
    finally:
        for network in networks:
            network._compiled_call_impl = None  # there is no public way back


@contextmanager
def _talking() -> Iterator[None]:
    """Around what waits for other processes.

    Raises:
        LostError: one of them has ended or does not answer.
    """
    try:
        yield
    except RuntimeError as error:  # all of torch.distributed's errors are
        if lacks_memory(error):
            raise
        why = " ".join(str(error).split())[:200]
        raise LostError(launcher.lost(launcher.ended(wait=2.0) or f"processes cannot reach each other ({why})")) from error


def on_first(fabric: Fabric | Alone, work: Callable[[], T]) -> T:
    """What ``work`` returns on the first process, on all of them; nobody goes on before it has ended.

    Raises:
        UserError: the first process met one; all of them raise it.
    """
    if fabric.world_size == 1:
        return work()
    result, error = None, None
    if fabric.is_global_zero:
        try:
            result = work()
        except UserError as met:
            error = met
    with _talking():
        result, message = fabric.broadcast((result, None if error is None else str(error)))
    if error is not None:
        raise error
    if message is not None:
        raise ReportedError(message)
    return result  # type: ignore[return-value]


def same_weights(fabric: Fabric | Alone, model: nn.Module) -> None:
    """Gives all processes the first one's parameters and buffers."""
    if fabric.world_size == 1:
        return
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        groups.setdefault(tensor.dtype, []).append(tensor.detach())
    for dtype, tensors in groups.items():
        flat = _flat(tensors)
        flat = flat.byte() if dtype == torch.bool else flat
        with _talking():
            dist.broadcast(flat, 0)
        _unflatten(flat, tensors)


def average_gradients(fabric: Fabric | Alone, parameters: Iterable[nn.Parameter], share: float | Tensor = 1.0) -> None:
    """Averages gradients over processes, in one message.

    A model's objectives are functions of one shared forward pass that several backward passes go through, which torch's
    DistributedDataParallel is not made for: it hooks on one forward and one backward pass. The mathematics is the same.

    Args:
        fabric: the processes.
        parameters: of one player, the same on all processes. A gradient that only some processes have counts as 0 on the
            others, and one that none has stays None.
        share: this process's part of the batch's samples; all shares sum to 1.
    """
    if fabric.world_size == 1:
        return
    trained = [p for p in parameters if p.requires_grad]
    there = torch.tensor([float(p.grad is not None) for p in trained])
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trained]
    flat = torch.cat([_flat(gradients) * share, there.to(fabric.device)])
    with _talking():
        dist.all_reduce(flat)
    anywhere = None if bool(there.all()) else flat[-len(trained) :].tolist()
    for i, (p, part) in enumerate(zip(trained, flat[: -len(trained)].split([p.numel() for p in trained]), strict=True)):
        if p.grad is not None:
            p.grad.copy_(part.view_as(p))
        elif anywhere is not None and anywhere[i]:
            p.grad = part.view_as(p).clone()


class BufferSync:
    """What a model keeps of its batches besides parameters, the same in all processes.

    The contract: in ``losses`` a model may move its buffers by what it sees of the batch, and in ``adapt`` by the terms and
    the labels seen. Moves of buffers, terms and labels seen are averaged over processes in one message between the two, so
    ``adapt`` does the same everywhere. A running mean is thereby exactly that of the whole batch; what is not linear in the
    samples (a covariance around the share's own mean, say) is the mean over shares.

    Args:
        fabric: the processes.
        model: on its device.
    """

    def __init__(self, fabric: Fabric | Alone, model: Model) -> None:
        self.fabric, self.model = fabric, model
        self._before = torch.zeros(0)

    def _buffers(self) -> list[Tensor]:
        # Asked for each time: a module may put a new tensor in a buffer's place.
        return [buffer for buffer in self.model.buffers() if buffer.is_floating_point()]

    def remember(self) -> None:
        """To be called before ``losses``."""
        if self.fabric.world_size > 1:
            self._before = _flat(self._buffers()).clone()

    @torch.no_grad()
    def average(self, losses: Losses, share: float) -> None:
        """To be called between the players' steps and ``adapt``.

        Args:
            losses: of this process's share; its terms and its labels seen become those of the whole batch.
            share: this process's part of the batch's samples; one that only stands in has 0, and is not seen.
        """
        if self.fabric.world_size == 1:
            return
        buffers, terms = self._buffers(), list(losses.terms.values())
        seen = [] if losses.seen is None else [losses.seen.float()]
        now = _flat(buffers)
        # Moves, not values: a buffer that stays is not rounded, and 0 is the mean of zeros.
        moves = torch.where(now == self._before, 0.0, now - self._before)
        flat = torch.cat([moves, *(t.float().flatten() for t in (*terms, *seen))]) * share
        with _talking():
            dist.all_reduce(flat)
        _unflatten(self._before + flat[: len(now)], buffers)
        averaged = [torch.empty_like(t, dtype=torch.float32) for t in (*terms, *seen)]
        _unflatten(flat[len(now) :], averaged)
        losses.terms.update(zip(losses.terms, averaged[: len(terms)], strict=True))
        if losses.seen is not None:
            losses.seen = averaged[-1] > 0


def average_terms(fabric: Fabric | Alone, sums: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Terms per sample, from sums over this process's samples and their number."""
    if fabric.world_size == 1:
        return {name: s / count for name, s in sums.items()}
    flat = torch.cat([_flat([s.float() for s in sums.values()]), torch.tensor([float(count)], device=fabric.device)])
    with _talking():
        dist.all_reduce(flat)
    averaged = [torch.empty_like(s, dtype=torch.float32) for s in sums.values()]
    _unflatten(flat[:-1] / flat[-1], averaged)
    return dict(zip(sums, averaged, strict=True))


def from_all(fabric: Fabric | Alone, names: list[str]) -> list[str]:
    """The names that any process has, those of the first first."""
    if fabric.world_size == 1:
        return names
    found: list[list[str]] = [[] for _ in range(fabric.world_size)]
    with _talking():
        dist.all_gather_object(found, names)
    return list(dict.fromkeys(name for part in found for name in part))


def seed(seed: int, stream: int, rank: int) -> int:
    """Different numbers for different streams and ranks of one seed."""
    return (seed * 1_000_003 + stream * 7919 + rank) % (2**63)


def renew(generator: torch.Generator, seed: int, stream: int, rank: int, step: int) -> None:
    """Seeds the noise of a step on all processes but the first.

    The first draws from one stream, as a single process does, and its state is in the checkpoint. The noise of the others is a
    function of seed, rank and step, so that any number of them can go on from there.
    """
    if rank:
        generator.manual_seed(int(np.random.SeedSequence([seed, stream, rank, step]).generate_state(1, np.uint64)[0] >> 1))


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors]) if tensors else torch.zeros(0)


def _unflatten(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """Copies the parts of a flat tensor into tensors."""
    with torch.no_grad():
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
