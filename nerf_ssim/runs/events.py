"""TensorBoard's file of scalars, written in the caller's own thread.

TensorBoard's own writer has a thread, whose failure on a full disk would be a traceback on the terminal.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

PATTERN = "events.out.tfevents.*"
_FLUSH_SECONDS = 30.0


class EventFile:
    """A new file of scalars in a folder.

    Args:
        folder: made where missing.
        purge_step: scalars of this step and later that other files of the folder hold count no more; None keeps all.
    Raises:
        OSError: the folder or the file cannot be made.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Named by the time, since TensorBoard reads a folder's files in the order of their names.
        stem = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        number = len(list(folder.glob(PATTERN)))
        self._file = open(folder / f"{stem}.{number}", "xb")  # noqa: SIM115 - closed by close()
        self._records = RecordWriter(self._file)
        self._flushed = time.monotonic()
        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=time.time(), step=purge_step, session_log=start))
        self._file.flush()

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Add the scalars of a step, by tag; raises OSError where they cannot be written."""
        entries = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(Event(wall_time=time.time(), step=step, summary=Summary(value=entries)))
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what is left; raises OSError where that cannot be done, and the file is closed all the same."""
        self._file.close()

    def _add(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
