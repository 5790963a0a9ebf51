"""What the configuration of any command can do: groups of options, checked, unchangeable, written back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from nerf_ssim.errors import ConfigError

from .options import Option, Section, options_of

C = TypeVar("C", bound="BaseConfig")


@dataclasses.dataclass(frozen=True)
class BaseConfig:
    """Base of the resolved configurations. A subclass's fields are its groups, each a `Section` with a default."""

    @classmethod
    @cache
    def sections(cls) -> Mapping[str, type[Section]]:
        """The groups by name, in order."""
        hints = get_type_hints(cls)
        return {field.name: hints[field.name] for field in dataclasses.fields(cls)}

    @classmethod
    @cache
    def options(cls) -> Mapping[str, Option]:
        """Every declared option by name, over all groups, in order."""
        return {name: one for section in cls.sections().values() for name, one in options_of(section).items()}

    def to_dict(self) -> dict[str, Any]:
        """Every option by name, flat, as plain values (JSON's kinds)."""
        values = {}
        for section_name, section in self.sections().items():
            for name in options_of(section):
                value = getattr(getattr(self, section_name), name)
                values[name] = list(value) if isinstance(value, tuple) else value
        return values

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """The configuration with these values, and defaults for the others.

        Raises:
            ConfigError: an unknown name, a value of the wrong kind or out of range, or a contradiction.
        """
        known = cls.options()
        for name in values:
            if name not in known:
                close = get_close_matches(str(name), known, n=1, cutoff=0.5)
                raise ConfigError(f"unknown option {name!r}" + (f"; did you mean {close[0]}?" if close else ""))
        return cls(
            **{
                section_name: section(**{name: values[name] for name in options_of(section) if name in values})
                for section_name, section in cls.sections().items()
            }
        )

    def replace(self: C, **changes: Any) -> C:
        """This configuration with other values for the options named."""
        return type(self).from_dict({**self.to_dict(), **changes})

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a text file that `--config` reads back to an equal configuration.

        `resume` and `overwrite` are left out: they say how one start treats a run that exists, not what the run is.
        """
        lines = ["# Every option of this run, resolved."]
        for section_name, section in self.sections().items():
            lines += ["", f"# {section_name}"]
            for name, declared in options_of(section).items():
                if name not in ("resume", "overwrite"):
                    value = getattr(getattr(self, section_name), name)
                    lines.append(f"{name} = {declared.write(value)}".rstrip())
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
