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

    @classmethod
    @cache
    def aliases(cls) -> Mapping[str, str]:
        """Names that some options also go by, and the option's own."""
        return {one.alias: name for name, one in cls.options().items() if one.alias}

    @classmethod
    @cache
    def owners(cls) -> Mapping[str, str]:
        """The model that an option is for, of the options that are not for every model."""
        return {
            name: section.belongs_to
            for section in cls.sections().values()
            for name in options_of(section)
            if section.belongs_to and name not in section.shared
        }

    @property
    def model_kind(self) -> str | None:
        """The model whose options count, where a command has more than one."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Every option of the run's model by name, flat, as plain values (JSON's kinds)."""
        return {name: plain_value(value) for section in self.sections() for name, value in self._used(section).items()}

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """The configuration with these values, and the model's defaults for the others.

        Raises:
            ConfigError: an unknown name, a value of the wrong kind or out of range, or a contradiction.
        """
        values = {cls.aliases().get(name, name): value for name, value in values.items()}
        known = cls.options()
        for name in values:
            if name not in known:
                close = get_close_matches(str(name), known, n=1, cutoff=0.5)
                raise ConfigError(f"unknown option {name!r}" + (f"; did you mean {close[0]}?" if close else ""))
        model = values.get("model")
        return cls(
            **{
                section_name: section(
                    **{name: values.get(name, one.default_for(model)) for name, one in options_of(section).items()}
                )
                for section_name, section in cls.sections().items()
            }
        )

    def replace(self: C, **changes: Any) -> C:
        """This configuration with other values for the options named.

        With another model, options that are as the present model has them by default become as that one has them.
        """
        kept, kind = self.to_dict(), self.model_kind
        if changes.get("model", kind) != kind:
            defaults = {name: plain_value(one.default_for(kind)) for name, one in self.options().items()}
            kept = {name: value for name, value in kept.items() if value != defaults[name]}
        return type(self).from_dict({**kept, **changes})

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a text file that `--config` reads back to an equal configuration.

        `resume` and `overwrite` are left out: they say how one start treats a run that exists, not what the run is.
        """
        lines = ["# Every option of this run, resolved."]
        for section_name, section in self.sections().items():
            values = self._used(section_name)
            lines += ["", f"# {section_name}"] if values else []
            for name, value in values.items():
                if name not in ("resume", "overwrite"):
                    lines.append(f"{name} = {options_of(section)[name].write(value)}".rstrip())
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _used(self, section_name: str) -> dict[str, Any]:
        """The options of a group that are for the run's model, by name."""
        section, kind = getattr(self, section_name), self.model_kind
        names = [name for name in options_of(type(section)) if self.owners().get(name, kind) == kind]
        return {name: getattr(section, name) for name in names}


def plain_value(value: Any) -> Any:
    """Lists for tuples, nested ones too."""
    return [plain_value(item) for item in value] if isinstance(value, tuple) else value
