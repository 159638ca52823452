"""Signals that ask a training to end: Ctrl-C, and the SIGTERM by which schedulers and systems say that time is up."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from labelspace.errors import InterruptedTraining, option


class Notice:
    """Takes note of SIGINT and SIGTERM while it is entered, so that training can write a checkpoint first.

    The second signal interrupts at once, and so does the first while :attr:`waits` is False. Signals that the program handles
    in its own way are left to it, and threads other than the main one, which no signal reaches, are left alone.

    Attributes:
        received: the signal's number; 0 while there was none.
        waits: whether somebody looks at ``received`` before long.
    """

    def __init__(self) -> None:
        self.received = 0
        self.waits = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Notice:
        if threading.current_thread() is threading.main_thread():
            for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) == usual:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.received or not self.waits:
            raise InterruptedTraining(f"interrupted; {option('resume')} goes on from the last checkpoint", number)
        self.received = number
