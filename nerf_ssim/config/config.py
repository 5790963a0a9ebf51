"""`Config`: all options of a run, grouped, checked and unchangeable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError

from .checks import cross_check
from .options import Option, Section, options_of
from .sections import DataConfig, EvaluationConfig, ModelConfig, OptimConfig, RunConfig, SsimConfig

SECTIONS: dict[str, type[Section]] = {
    "run": RunConfig,
    "data": DataConfig,
    "model": ModelConfig,
    "optim": OptimConfig,
    "ssim": SsimConfig,
    "evaluation": EvaluationConfig,
}

OPTIONS: dict[str, Option] = {
    name: declared for section in SECTIONS.values() for name, declared in options_of(section).items()
}


@dataclass(frozen=True)
class Config:
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

    def to_dict(self) -> dict[str, Any]:
        """Every option by name, flat, as plain values (JSON's kinds)."""
        values = {}
        for section_name in SECTIONS:
            section = getattr(self, section_name)
            for name in options_of(type(section)):
                value = getattr(section, name)
                values[name] = list(value) if isinstance(value, tuple) else value
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The configuration with these values, and defaults for the others.

        Raises:
            ConfigError: an unknown name, a value of the wrong kind or out of range, or a contradiction.
        """
        for name in values:
            if name not in OPTIONS:
                close = get_close_matches(str(name), OPTIONS, n=1, cutoff=0.5)
                raise ConfigError(f"unknown option {name!r}" + (f"; did you mean {close[0]}?" if close else ""))
        return cls(
            **{
                section_name: section(**{name: values[name] for name in options_of(section) if name in values})
                for section_name, section in SECTIONS.items()
            }
        )

    def replace(self, **changes: Any) -> Config:
        """This configuration with other values for the options named."""
        return type(self).from_dict({**self.to_dict(), **changes})

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a text file that `--config` reads back to an equal configuration.

        `resume` and `overwrite` are left out: they say how one start treats a run that exists, not what the run is.
        """
        lines = ["# Every option of this run, resolved."]
        for section_name in SECTIONS:
            section = getattr(self, section_name)
            lines += ["", f"# {section_name}"]
            for name, declared in options_of(type(section)).items():
                if name not in ("resume", "overwrite"):
                    lines.append(f"{name} = {declared.write(getattr(section, name))}".rstrip())
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
