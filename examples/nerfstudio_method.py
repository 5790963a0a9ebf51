"""A nerfstudio method: nerfacto, with S3IM for part of the way.

    export NERFSTUDIO_METHOD_CONFIGS="nerfacto-s3im=examples.nerfstudio_method:nerfacto_s3im"
    ns-train nerfacto-s3im --pipeline.model.ssim-remove-at 70 --data DIR

The environment variable names this file for nerfstudio; a package would name it as an entry point of the group
`nerfstudio.method_configs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

try:
    from nerfstudio.configs.method_configs import method_configs
    from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
    from nerfstudio.models.nerfacto import NerfactoModel, NerfactoModelConfig
    from nerfstudio.plugins.types import MethodSpecification
except ImportError as error:
    raise SystemExit("this example needs nerfstudio: pip install nerfstudio") from error
import copy

from nerf_ssim import S3IM, SsimSchedule


@dataclass
class S3imNerfactoConfig(NerfactoModelConfig):
    """Nerfacto's options, and the schedule's."""

    _target: type = field(default_factory=lambda: S3imNerfacto)
    ssim_weight: float = 1.0
    """Weight of S3IM while it is on."""
    ssim_remove_at: int = 70
    """First iteration without S3IM."""


class S3imNerfacto(NerfactoModel):
    """Nerfacto whose loss has S3IM while the schedule says so."""

    config: S3imNerfactoConfig

    def populate_modules(self) -> None:
        """Make the loss beside nerfacto's own parts."""
        super().populate_modules()
        self.s3im = S3IM(any_batch=True)  # 4096 rays are nerfacto's batch; another one is no error
        self.schedule = SsimSchedule(self.config.ssim_weight, remove_at=self.config.ssim_remove_at)
        self.iteration = 0

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Nerfacto's, and one that tells the iteration."""

        def count(step: int) -> None:
            self.iteration = step

        here = [TrainingCallbackLocation.BEFORE_TRAIN_ITERATION]
        counting = TrainingCallback(where_to_run=here, update_every_num_iters=1, func=count)
        return [*super().get_training_callbacks(training_callback_attributes), counting]

    def get_loss_dict(self, outputs: Any, batch: Any, metrics_dict: Any = None) -> dict[str, Any]:
        """Nerfacto's terms, and S3IM's while it is on."""
        losses = super().get_loss_dict(outputs, batch, metrics_dict)
        if self.training and self.schedule.is_active(self.iteration):
            target = batch["image"][..., :3].to(self.device)
            losses["s3im"] = self.schedule.weight_at(self.iteration) * self.s3im(outputs["rgb"], target)
        return losses


def _trainer_config() -> Any:
    config = copy.deepcopy(method_configs["nerfacto"])
    config.method_name = "nerfacto-s3im"
    ours = S3imNerfactoConfig()
    for name, value in vars(config.pipeline.model).items():
        if name != "_target":
            setattr(ours, name, value)
    config.pipeline.model = ours
    return config


nerfacto_s3im = MethodSpecification(config=_trainer_config(), description="Nerfacto with S3IM for part of the way.")
