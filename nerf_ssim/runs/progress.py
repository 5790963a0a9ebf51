"""Progress of a run on the terminal: a bar where there is one, a plain line now and then where there isn't."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

from tqdm import tqdm


class Progress:
    """Rate, remaining time, train and test PSNR and the loss terms of a run of `total` iterations, on stderr.

    On a terminal it is a tqdm bar. Elsewhere (a pipe, a log file) it is one plain line every `seconds_between_lines`,
    and one at the end, so that logs stay readable.

    Example:
        >>> with Progress(total=30000, initial=500, description="room") as progress:
        ...     progress.update(1, psnr_train=21.3, losses={"mse": 0.0074, "ssim": 0.41})

    Args:
        total: iterations of the whole run.
        initial: iterations already done (a resumed run); they count neither in the rate nor in the time.
        description: the run's name.
        seconds_between_lines: how often a plain line is printed.
        file: where to; stderr by default.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        initial: int = 0,
        description: str = "",
        *,
        seconds_between_lines: float = 30.0,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.done, self.description = total, initial, description
        self._file = file if file is not None else sys.stderr
        self._clock, self._between = clock, seconds_between_lines
        self._psnr_train: float | None = None
        self._psnr_test: float | None = None
        self._losses: dict[str, float] = {}
        self._note = ""
        self._line_time, self._line_done = clock(), initial
        self._bar: tqdm | None = None
        if self._file.isatty():
            self._bar = tqdm(
                total=total,
                initial=initial,
                desc=description,
                file=self._file,
                dynamic_ncols=True,
                unit="it",
                leave=True,
            )

    def update(
        self,
        n: int = 1,
        *,
        psnr_train: float | None = None,
        psnr_test: float | None = None,
        losses: Mapping[str, float] | None = None,
        note: str | None = None,
    ) -> None:
        """Count `n` more iterations, and show the figures given; those not given stay as they were.

        Args:
            n: iterations done since the last call.
            psnr_train: dB, of the training rays.
            psnr_test: dB, of the test views.
            losses: terms by name.
            note: a word more, such as "ssim removed at 70"; "" takes it away.
        """
        self.done += n
        self._psnr_train = self._psnr_train if psnr_train is None else psnr_train
        self._psnr_test = self._psnr_test if psnr_test is None else psnr_test
        self._losses = self._losses if losses is None else dict(losses)
        self._note = self._note if note is None else note
        if self._bar is not None:
            self._bar.set_postfix_str(self._figures(), refresh=False)  # update() decides when to draw
            self._bar.update(n)
        elif self._clock() - self._line_time >= self._between:
            self._print_line()

    def print(self, line: str) -> None:
        """Print a line of its own, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(line, file=self._file)
        else:
            print(line, file=self._file, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands, or print the last line; a second call does nothing."""
        if self._bar is not None:
            self._bar.close()
        elif self.done > self._line_done:
            self._print_line()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _print_line(self) -> None:
        now = self._clock()
        # The rate since the last line, not since the start: iterations get several times slower as grids grow.
        elapsed, advanced = now - self._line_time, self.done - self._line_done
        pace = "rate ?"
        if elapsed > 0 and advanced > 0:
            rate = advanced / elapsed
            remaining = tqdm.format_interval(max(self.total - self.done, 0) / rate)
            pace = f"{rate:.2f} it/s, {remaining} left" if rate >= 1 else f"{1 / rate:.2f} s/it, {remaining} left"
        share = f" ({100 * self.done / self.total:.1f}%)" if self.total else ""
        head = f"{self.description}: " if self.description else ""
        figures = self._figures()
        self.print(f"{head}{self.done}/{self.total}{share}, {pace}{', ' + figures if figures else ''}")
        self._line_time, self._line_done = now, self.done

    def _figures(self) -> str:
        parts = []
        if self._psnr_train is not None:
            parts.append(f"train {self._psnr_train:.2f} dB")
        if self._psnr_test is not None:
            parts.append(f"test {self._psnr_test:.2f} dB")
        parts += [f"{name} {value:.3g}" for name, value in self._losses.items()]
        if self._note:
            parts.append(self._note)
        return ", ".join(parts)
