"""How many cores this process may use: those that it is bound to, and no more than its control group is given time of.

In a container that has two of sixty-four cores the operating system still names sixty-four, and as many threads would wait for
each other most of the time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from labelspace.errors import UserError

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_FEW, _TIMES = 16, 4  # processes that are never too many, and as many for each core


def usable(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Cores that this process may use, at least one.

    Args:
        groups: where Linux shows control groups.
        own: which ones this process is in.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *(math.ceil(share) for share in _shares(groups, own))]))


def check(processes: int, what: str) -> None:
    """Raises UserError where many more processes are asked for than there are cores for: each takes memory, too.

    Args:
        processes: how many.
        what: the option that asks for them.
    """
    if processes > (most := max(_FEW, _TIMES * usable())):
        raise UserError(f"{what} {processes:,} are more processes than there are cores for; expected at most {most}")


def settle_threads() -> None:
    """Numerical libraries that are loaded from here on start no more threads than there are cores for, unless the environment
    says how many."""
    if not os.environ.get("OMP_NUM_THREADS") and (cores := usable()) < (os.cpu_count() or 1):
        os.environ["OMP_NUM_THREADS"] = str(cores)


def _shares(groups: Path, own: Path) -> Iterator[float]:
    """Cores' worth of time that control groups of this process are given, where that is limited."""
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, name = line.split(":", 2)
            home = groups if not controllers else groups / "cpu" if "cpu" in controllers.split(",") else None
            if home is None:
                continue
            place = home / name.lstrip("/")
            for group in [place, *place.parents]:
                yield from _share(group)
                if group == home:  # in a container the group's own name is not seen, only what is in it
                    break


def _share(group: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        yield int(quota) / int(period)  # "max" is no number: no limit
    with suppress(OSError, ValueError):
        quota = int((group / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((group / "cpu.cfs_period_us").read_text(encoding="ascii"))
        if quota > 0:
            yield quota / period
