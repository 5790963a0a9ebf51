"""Command lines whose errors are one line for people, not a usage screen."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from nerf_ssim.errors import ConfigError


class OneLineErrors(argparse.ArgumentParser):
    """A parser that reports what is wrong with a command line as one `ConfigError`."""

    def error(self, message: str) -> NoReturn:
        """Raises: ConfigError with argparse's message and where to read the options."""
        raise ConfigError(f"{message}; see {self.prog} --help")


def number_within(kind: type[int] | type[float], low: float, high: float = float("inf")) -> Callable[[str], float]:
    """A reader of one argument: a finite number of `kind` from `low` to `high`."""

    def number(text: str) -> float:
        value = kind(text)
        if not low <= value <= high or value == float("inf"):
            bounds = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
            raise argparse.ArgumentTypeError(f"must be {bounds}, got {text}")
        return value

    number.__name__ = kind.__name__  # argparse names it where the text is no number
    return number
