"""Every option of a run: `parse(argv)` makes a checked, frozen `Config` from the command line and a text file."""

from .config import OPTIONS, Config
from .dvgo import DvgoConfig
from .parsing import parse
from .sections import DataConfig, EvaluationConfig, ModelConfig, OptimConfig, RunConfig, SsimConfig

__all__ = [
    "OPTIONS",
    "Config",
    "DataConfig",
    "DvgoConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "SsimConfig",
    "parse",
]
