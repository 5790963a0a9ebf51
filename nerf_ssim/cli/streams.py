"""Standard output and error when they are closed, full, or read by somebody who goes away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


def mend_closed_streams() -> None:
    """Send to nowhere what the shell closed (`>&-`), where Python leaves None in place of the stream.

    The descriptor is taken too: the next file opened would get its number, and a C library's remarks would go there.
    """
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
        setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))


def silence(stream: TextIO | None) -> None:
    """Send what a stream still holds, and whatever follows, to nowhere: the interpreter's exit would complain of it."""
    with suppress(OSError, ValueError, AttributeError):
        descriptor = stream.fileno()  # type: ignore[union-attr]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
        stream.flush()  # type: ignore[union-attr]


class LastingStream:
    """A text stream that falls silent, instead of raising, once what it writes to is gone or full.

    A training of hours must not end because `head` has read enough of it, a terminal was closed or a log's disk is
    full.

    Args:
        stream: the stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_silent = False

    def write(self, text: str) -> int:
        """Write while there is somewhere to; returns the length of `text` either way."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush while there is somewhere to."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Any) -> None:
        if self._is_silent:
            return
        try:
            action()
        except (OSError, ValueError):  # ValueError: closed by somebody else
            self._is_silent = True
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Make standard output and error `LastingStream`s for the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = LastingStream(sys.stdout), LastingStream(sys.stderr)
    try:
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        sys.stdout, sys.stderr = before
