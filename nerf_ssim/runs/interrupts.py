"""Signals that ask a process to end: in training they let the iteration finish, elsewhere they end the work tidily."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

SIGNALS = tuple(
    getattr(signal, name)
    # SIGHUP is of a closed terminal; batch systems can send SIGUSR1 ahead of a time limit, and its exit code, 138 on
    # Linux, says "queue the job again". Windows has neither.
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
)
NOTICE = "stopping after this iteration; press again to quit at once"

Handler = Callable[[int, FrameType | None], Any]
Previous = dict[signal.Signals, Handler | int]
"""What took a signal before: a function, or one of the system's own two ways."""


class Ended(KeyboardInterrupt):
    """A signal other than Ctrl-C, raised where it came: whatever cleans up after Ctrl-C does so after these.

    Attributes:
        exit_code: what the process should exit with, 128 + signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.exit_code = 128 + number


def exit_code_of(interrupt: KeyboardInterrupt) -> int:
    """What a process that ends with this interrupt should exit with: 130 after Ctrl-C, 143 after SIGTERM."""
    return interrupt.exit_code if isinstance(interrupt, Ended) else 128 + signal.SIGINT


class GracefulStop:
    """Turns the first signal of `SIGNALS` into a request and lets the second quit at once (exit code 128 + signal).

    Outside the main thread, where Python takes no signals, it does nothing. A signal that the parent told us to
    ignore (as `nohup` and background jobs do) stays ignored.

    Example:
        >>> with GracefulStop() as stop:
        ...     while not stop.requested:
        ...         break  # one iteration
        >>> stop.exit_code
        0

    Args:
        is_quiet: nothing is printed at the first signal, where several processes get it.
    Attributes:
        requested: the number of the signal that came first, or None.
    """

    def __init__(self, *, is_quiet: bool = False) -> None:
        self.is_quiet = is_quiet
        self.requested: int | None = None
        self._previous: Previous = {}

    @property
    def exit_code(self) -> int:
        """What the process should exit with: 0 without a request, else 128 + the signal (130, 143, 138 on Linux)."""
        return 0 if self.requested is None else 128 + self.requested

    def __enter__(self) -> GracefulStop:
        self._previous = _install(SIGNALS, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _put_back(self._previous)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            os._exit(128 + number)
        self.requested = number
        if self.is_quiet:
            return
        # os.write, not print: the handler may have interrupted a print in the middle of the same buffer.
        try:
            os.write(2, f"\n{NOTICE}\n".encode())
        except OSError:
            pass  # a closed stderr must not turn a polite stop into a crash


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within the block the signals of `SIGNALS` but Ctrl-C raise `Ended`, as Ctrl-C raises KeyboardInterrupt.

    A signal that is ignored stays so, and outside the main thread nothing changes.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    previous = _install([number for number in SIGNALS if number != signal.SIGINT], on_signal)
    try:
        yield
    finally:
        _put_back(previous)


def _install(numbers: Sequence[signal.Signals], handler: Handler) -> Previous:
    """Lets `handler` take these signals; returns what took them before."""
    previous: Previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            before = signal.getsignal(number)
            # None: installed from C, which Python could not put back.
            if before is not None and before is not signal.SIG_IGN:
                previous[number] = before
                signal.signal(number, handler)
    return previous


def _put_back(previous: Previous) -> None:
    for number, handler in previous.items():
        signal.signal(number, handler)
    previous.clear()
