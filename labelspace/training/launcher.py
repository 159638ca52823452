"""Processes of one training: who started them, starting them on this machine, and noticing when one of them ends.

torchrun and SLURM start one process a device and say so in the environment. Where nobody did and several are asked for, the
process that asks becomes the first of its machine and starts the others with the same command line. A thread in each looks
after the rest: nobody waits for a process that is no more, and none outlives the first.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from labelspace import cores
from labelspace.errors import UserError, option
from labelspace.training.options import Options

_LOOK = 0.5  # seconds between two looks at the other processes
_GRACE = 5.0  # seconds that the first process has to say itself that another one ended
_FAREWELL = 30.0  # seconds that the others have to end by themselves when training is over
_PARENT = "LABELSPACE_FIRST_PROCESS"  # its process id, in the environment of those that it started
_MEETING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")

_children: list[subprocess.Popen[bytes]] = []
_state = {"joined": False, "over": False}


def started() -> tuple[int, int] | None:
    """Processes a machine, and machines, that torchrun, srun or another launcher has started; None where none did."""
    env = os.environ
    if "LOCAL_RANK" in env and "WORLD_SIZE" in env:
        local = int(env.get("LOCAL_WORLD_SIZE", env["WORLD_SIZE"]))
        return local, int(env["WORLD_SIZE"]) // local
    # an interactive allocation is a shell: what is started there by hand is one process
    if "SLURM_NTASKS" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        nodes = int(env.get("SLURM_NNODES", "1"))
        return int(env["SLURM_NTASKS"]) // nodes, nodes
    return None


def wanted(options: Options) -> tuple[int, int]:
    """Devices a machine and machines that a training runs on.

    Raises:
        UserError: other numbers are asked for than a launcher has started.
    """
    found = started()
    if found is None:
        return (1 if options.devices == "auto" else options.devices), (1 if options.nodes == "auto" else options.nodes)
    for name, asked, there in (("devices", options.devices, found[0]), ("nodes", options.nodes, found[1])):
        if asked not in ("auto", there):
            raise UserError(
                f"{name}={asked} was asked for, but the launcher started {found[0]} processes on each of {found[1]} machines; "
                f"leave out {name}, or start as many"
            )
    return found


def this_command(words: Sequence[str]) -> list[str]:
    """What starts the ``labelspace`` command with these words again, with the modules that this process has."""
    # Its modules are found as ours were (-P: and not in the directory it happens to start in).
    path = os.pathsep.join(entry for entry in sys.path if entry)
    start = f"import sys; sys.path[:] = {path!r}.split({os.pathsep!r}); from labelspace.cli import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", start, *words]


def is_started() -> bool:
    """Whether this process was started by the first process of its machine."""
    return os.environ.get(_PARENT, "") not in ("", str(os.getpid()))


def start(devices: int, nodes: int, command: Sequence[str] | None = None) -> None:
    """Starts the other processes of this machine, unless they are there already.

    Args:
        devices: processes on this machine, this one counted.
        nodes: machines.
        command: what starts another process; by default what started this one.

    Raises:
        UserError: this process cannot be started again, does not know where machines meet, or more processes are asked for than
            the machine has cores for.
    """
    if is_started():
        threading.Thread(target=_end_with, args=(int(os.environ[_PARENT]),), daemon=True, name="orphan").start()
    if started() is not None or devices * nodes == 1:
        return
    cores.check(devices, option("devices"))
    if command is None:
        if hasattr(sys, "ps1") or "ipykernel" in sys.modules or len(sys.orig_argv) < 2 or sys.orig_argv[-1] == "-":
            raise UserError("several devices need a program that can be started again: a script or labelspace train")
        command = [sys.executable, *sys.orig_argv[1:]]
    if nodes == 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ.setdefault("MASTER_PORT", str(free.getsockname()[1]))
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ["NODE_RANK"] = "0"
    elif missing := [name for name in _MEETING if name not in os.environ]:
        raise UserError(
            f"several machines are started by torchrun or srun, or by hand with {', '.join(_MEETING)} in the environment; "
            f"{missing[0]} is not there"
        )
    os.environ |= {
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": str(devices),
        "WORLD_SIZE": str(devices * nodes),
        _PARENT: str(os.getpid()),
    }
    for rank in range(1, devices):
        _children.append(subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": str(rank)}, stdin=subprocess.DEVNULL))
    atexit.register(_leave_nobody)
    threading.Thread(target=_watch, daemon=True, name="watch").start()


def joined() -> None:
    """To be called when all processes have met."""
    _state.update(joined=True, over=False)


def over() -> None:
    """To be called when training is over: from here on the others may end."""
    _state["over"] = True


def ended(wait: float = 0.0) -> str:
    """Which of the processes that this one started has ended and how, or an empty text.

    Args:
        wait: seconds to wait for it to show.
    """
    until = time.monotonic() + (wait if _children else 0.0)
    while True:
        for i, child in enumerate(_children, 1):
            code = child.poll()
            if code is not None and (code or not _state["joined"]):
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                return f"process {i} of {len(_children) + 1} {how}"
        if time.monotonic() >= until:
            return ""
        time.sleep(0.05)


def _watch() -> None:
    """In the first process: ends it when another one has ended and it waits for that one in vain."""
    what = ""
    while not what or _state["over"]:
        time.sleep(_GRACE if what else _LOOK)
        what = "" if _state["over"] or not ended() else what or ended()
    sys.stderr.write(f"labelspace: {lost(what)}\n")
    sys.stderr.flush()
    for child in _children:
        child.kill()
    os._exit(1)


def lost(what: str) -> str:
    """What is said when a process is gone."""
    return (
        f"training stopped: {what or 'another process ended or does not answer'}; "
        f"what was checkpointed is whole, and {option('resume')} goes on from there"
    )


def _end_with(first: int) -> None:
    """In another process: ends it when the first has ended."""
    while os.getppid() == first:
        time.sleep(_LOOK)
    os._exit(1)


def _leave_nobody() -> None:
    until = time.monotonic() + (_FAREWELL if _state["over"] else 0.0)
    for child in _children:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
