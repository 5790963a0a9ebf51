"""`Config`: all options of a radiance field's run, grouped, checked and unchangeable."""

from __future__ import annotations

from dataclasses import dataclass, field

from .base import BaseConfig
from .checks import cross_check
from .dvgo import DvgoConfig
from .sections import DataConfig, EvaluationConfig, ModelConfig, OptimConfig, RunConfig, SsimConfig


@dataclass(frozen=True)
class Config(BaseConfig):
    """The resolved configuration of a run.

    Raises:
        ConfigError: options that contradict each other (each one's own range is checked by its group).
    Example:
        >>> config = Config(data=DataConfig(datadir="bundled:room")).replace(ssim_remove_at=70)
        >>> config.ssim.ssim_remove_at
        70
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    dvgo: DvgoConfig = field(default_factory=DvgoConfig)
    ssim: SsimConfig = field(default_factory=SsimConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        cross_check(self)

    @property
    def model_kind(self) -> str:
        """`tensorf` or `dvgo`."""
        return self.model.model

    @property
    def schedule_starts_at(self) -> int:
        """The update that the schedules of SSIM and of the grid count from: the first after a coarse stage, else 0."""
        has_coarse_stage = self.model_kind == "dvgo" and not self.dvgo.unbounded_inward
        return self.dvgo.coarse_iters if has_coarse_stage else 0


OPTIONS = Config.options()
