"""`Config`: all options of a radiance field's run, grouped, checked and unchangeable."""

from __future__ import annotations

from dataclasses import dataclass, field

from .base import BaseConfig
from .checks import cross_check
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
    ssim: SsimConfig = field(default_factory=SsimConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        cross_check(self)


OPTIONS = Config.options()
