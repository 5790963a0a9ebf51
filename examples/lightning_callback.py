"""A Lightning callback that adds S3IM to a module's loss by a schedule.

    trainer = Trainer(callbacks=[SsimCallback(S3IM(), SsimSchedule(remove_at=70))])

The module's `training_step` asks for the term, and nothing else changes:

    loss = mse + self.ssim_term(rendered, target)

Checkpoints carry the schedule and the orders, so that a run that is continued goes on as if it had not stopped.
"""

from __future__ import annotations

from typing import Any

try:
    from lightning.pytorch.callbacks import Callback
except ImportError as error:
    raise SystemExit("this example needs Lightning: pip install lightning") from error
from torch import Tensor

from nerf_ssim import S3IM, SsimSchedule


class SsimCallback(Callback):
    """Gives a module `ssim_term(rendered, target)`: the weighted loss, 0 while the schedule has SSIM off.

    Args:
        s3im: the loss; its patch is a batch, or it is given `any_batch=True`.
        schedule: when the term is on, counted in optimiser steps.
    """

    def __init__(self, s3im: S3IM, schedule: SsimSchedule) -> None:
        self.s3im, self.schedule = s3im, schedule

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Hand the module its term."""

        def ssim_term(rendered: Tensor, target: Tensor) -> Tensor:
            step = trainer.global_step
            if not self.schedule.is_active(step):
                return rendered.new_zeros(())
            result = self.s3im.evaluate(rendered, target)
            weight = self.schedule.weight_at(step)
            self.schedule.observe(step, result.statistics)
            pl_module.log("ssim", result.statistics.ssim)
            return weight * result.loss

        pl_module.ssim_term = ssim_term

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"schedule": self.schedule.state_dict(), "s3im": self.s3im.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.schedule.load_state_dict(state_dict["schedule"])
        self.s3im.load_state_dict(state_dict["s3im"])
