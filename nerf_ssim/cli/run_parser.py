"""The parser of the commands that take a finished or stopped run."""

from __future__ import annotations

from nerf_ssim.config.command_line import OneLineErrors
from nerf_ssim.files import user_path


class RunParser(OneLineErrors):
    """A parser for `nerf-ssim <command> RUN …`."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"nerf-ssim {command}", description=description, allow_abbrev=False)
        self.add_argument("run", metavar="RUN", type=user_path, help="a run's folder, such as runs/room")
        self.add_argument("--checkpoint", type=user_path, metavar="PATH", help="this checkpoint, not the run's latest")
        self.add_argument("--datadir", metavar="DIR", help="the scene's folder, if it has moved since training")
