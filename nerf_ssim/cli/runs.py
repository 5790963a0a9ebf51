"""What the commands that take a finished (or stopped) run share: how it is named, and errors on one line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from nerf_ssim.errors import ConfigError


class CommandParser(argparse.ArgumentParser):
    """A parser for `nerf-ssim <command> …` whose complaints are one `ConfigError`, not a usage screen."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"nerf-ssim {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raises: ConfigError with argparse's message and where to read the options."""
        raise ConfigError(f"{message}; see {self.prog} --help")


class RunParser(CommandParser):
    """A parser for `nerf-ssim <command> RUN …`."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(command, description)
        self.add_argument("run", metavar="RUN", type=Path, help="a run's folder, such as runs/room")
        self.add_argument("--checkpoint", type=Path, metavar="PATH", help="this checkpoint instead of the run's latest")
        self.add_argument("--datadir", metavar="DIR", help="the scene's folder, if it has moved since training")
