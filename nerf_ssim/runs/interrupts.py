"""Ctrl-C and SIGTERM that let the current iteration finish, so that a checkpoint can be saved."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTICE = "stopping after this iteration; press again to quit at once"


class GracefulStop:
    """Turns the first SIGINT or SIGTERM into a request and lets the second quit at once (exit code 128 + signal).

    Outside the main thread, where Python takes no signals, it does nothing. A signal that the parent told us to
    ignore (as `nohup` and background jobs do) stays ignored.

    Example:
        >>> with GracefulStop() as stop:
        ...     while not stop.requested:
        ...         break  # one iteration
        >>> stop.exit_code
        0

    Attributes:
        requested: the number of the signal that came first, or None.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int] = {}

    @property
    def exit_code(self) -> int:
        """What the process should exit with: 0 without a request, 130 after SIGINT, 143 after SIGTERM."""
        return 0 if self.requested is None else 128 + self.requested

    def __enter__(self) -> GracefulStop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                # None: installed from C, which Python could not put back.
                if previous is not None and previous is not signal.SIG_IGN:
                    self._previous[number] = previous
                    signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._previous.clear()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            os._exit(128 + number)
        self.requested = number
        # os.write, not print: the handler may have interrupted a print in the middle of the same buffer.
        try:
            os.write(2, f"\n{NOTICE}\n".encode())
        except OSError:
            pass  # a closed stderr must not turn a polite stop into a crash
