"""What a run measures, as a run of Weights & Biases."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

__all__ = ["WandbRun"]

IDENTITY = "id.txt"


class WandbRun:
    """One run of Weights & Biases, with the options as its configuration.

    It is offline and sends nothing, unless the environment variable WANDB_MODE says otherwise; `wandb sync` sends what
    it left. All starts of a run share one identity, which is kept in its folder.

    Args:
        folder: of the run; everything goes into `wandb` in it.
        options: of the run, by name.
        is_new: whether the run begins anew: it is then another run there, too.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any], *, is_new: bool) -> None:
        place = folder / "wandb" / IDENTITY
        if is_new or not place.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(secrets.token_hex(4), encoding="utf-8")
        self._run = wandb.init(
            dir=folder,
            id=place.read_text(encoding="utf-8"),
            resume="allow",
            name=folder.name,
            project=os.environ.get("WANDB_PROJECT", "nerf_ssim"),
            config=dict(options),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]  # wandb says what is wrong with it
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Adds the figures of an iteration, by name."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()
