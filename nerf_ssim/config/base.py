"""What the configuration of any command can do: groups of options, checked, unchangeable, written back."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, get_type_hints

from nerf_ssim.config.options import Option, Section, options_of
from nerf_ssim.config.sections import CommonRunConfig
from nerf_ssim.errors import ConfigError
from nerf_ssim.files import atomic_file, plain_value
from nerf_ssim.memory import Need

C = TypeVar("C", bound="BaseConfig")

OF_ONE_START = ("resume", "allow_changes", "overwrite")
"""Options that say how one start treats a run that exists, not what the run is."""


@dataclasses.dataclass(frozen=True)
class BaseConfig:
    """Base of the resolved configurations. A subclass's fields are its groups, each a `Section` with a default."""

    run: CommonRunConfig

    @classmethod
    def sections(cls, values: Mapping[str, Any] | None = None) -> dict[str, type[Section]]:
        """The groups by name, in order, of a configuration in which the options `values` are given."""
        return dict(_groups_of(cls))  # type: ignore[arg-type]  # a class is hashable, whatever its instances are

    @classmethod
    def groups(cls) -> dict[str, tuple[str, list[Option]]]:
        """Every group by name, as its title and its options, for a help text."""
        return {
            name: (title_of(section), list(options_of(section).values()))
            for name, section in cls.sections().items()
            if isinstance(section, type)
        }

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Every declared option by name, over all groups, in order."""
        return {one.name: one for _, options in cls.groups().values() for one in options}

    @classmethod
    def aliases(cls) -> dict[str, str]:
        """Names that some options also go by, and the option's own."""
        return {one.alias: name for name, one in cls.options().items() if one.alias}

    @classmethod
    def defaults(cls, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The default of each option by name where the options `values` are given."""
        sections = cls.sections(values).values()
        return {name: one.default for section in sections for name, one in options_of(section).items()}

    @classmethod
    def kinds(cls) -> dict[str, dict[str, Any]]:
        """By name, the defaults of each kind of configuration; none where there is one kind only."""
        return {}

    @classmethod
    def problem_with(cls, name: str, values: Mapping[str, Any]) -> str | None:
        """Why the known option `name` cannot be given beside `values`; None where it can."""
        return None

    def remarks(self) -> list[str]:
        """What of the options has no effect without being wrong, a line each."""
        return []

    def needs(self) -> list[Need]:
        """The least memory that the run takes at one time, by what takes it."""
        return []

    def lengthened(self, n_iters: int, iteration: int) -> tuple[dict[str, Any], list[str]]:
        """What keeps the course of a run that was laid out for `n_iters` updates and now is for this one's more.

        Args:
            n_iters: of the run so far.
            iteration: updates done.
        Returns:
            options to change with `n_iters`, and what becomes of the schedules, a phrase each for people.
        Raises:
            ConfigError: the schedules do not allow it.
        """
        return {}, []

    def to_dict(self) -> dict[str, Any]:
        """Every option by name, flat, as plain values (JSON's kinds)."""
        groups = (getattr(self, field.name) for field in dataclasses.fields(self))
        return {name: plain_value(getattr(group, name)) for group in groups for name in options_of(type(group))}

    def fixed_options(self) -> dict[str, Any]:
        """Those entries of `to_dict` that a run must be resumed with: its result depends on them."""
        options = self.options()
        return {name: value for name, value in self.to_dict().items() if not options[name].may_change}

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """The configuration with these values, and defaults for the others.

        Raises:
            ConfigError: an unknown name, a value of the wrong kind or out of range, or a contradiction.
        """
        aliases = cls.aliases()
        values = {aliases.get(name, name): value for name, value in values.items()}
        known = cls.options()
        for name in values:
            if name not in known:
                close = get_close_matches(str(name), known, n=1, cutoff=0.5)
                raise ConfigError(f"unknown option {name!r}" + (f"; did you mean {close[0]}?" if close else ""))
            if problem := cls.problem_with(name, values):
                raise ConfigError(f"{name}: {problem}")
        given = cls.defaults(values) | values
        groups: dict[str, Any] = {
            group_name: section(**{name: given[name] for name in options_of(section)})
            for group_name, section in cls.sections(values).items()
        }
        return cls(**groups)

    def replace(self: C, **changes: Any) -> C:
        """This configuration with other values for the options named.

        With another model, options that are as the present model has them by default become as that one has them.
        """
        kept = self.to_dict()
        defaults = {name: plain_value(value) for name, value in self.defaults(kept).items()}
        chosen = {name: value for name, value in kept.items() if value != defaults[name]}
        is_other_kind = changes.get("model", kept.get("model")) != kept.get("model")
        return type(self).from_dict({**(chosen if is_other_kind else kept), **changes})

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a text file that `--config` reads back to an equal configuration.

        `OF_ONE_START` is left out: these options say how one start treats a run that exists, not what the run is.

        Raises:
            OSError: the file cannot be written; one that was there stays as it was.
        """
        lines = ["# Every option of this run, resolved."]
        for field in dataclasses.fields(self):
            group = getattr(self, field.name)
            lines += ["", f"# {field.name}"]
            for name, one in options_of(type(group)).items():
                if name not in OF_ONE_START:
                    lines.append(f"{name} = {one.write(getattr(group, name))}".rstrip())
        with atomic_file(path) as file:
            file.write(("\n".join(lines) + "\n").encode())


@cache
def _groups_of(config: type) -> Mapping[str, type[Section]]:
    """The groups by name as a configuration's annotations have them."""
    hints = get_type_hints(config)
    return {field.name: hints[field.name] for field in dataclasses.fields(config)}


def title_of(section: type) -> str:
    """The first line of a group's docstring, without its full stop."""
    return (section.__doc__ or section.__name__).strip().splitlines()[0].rstrip(".")
