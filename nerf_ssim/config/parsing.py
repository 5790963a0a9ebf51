"""From the command line and a file to a configuration."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import configargparse

from nerf_ssim.config import published
from nerf_ssim.config.base import BaseConfig
from nerf_ssim.config.files import TextConfigParser, open_config
from nerf_ssim.config.options import NOTHING, Option, to_bool, to_ints
from nerf_ssim.errors import ConfigError

_LOG = logging.getLogger("nerf_ssim.config")


@dataclass(frozen=True)
class Command:
    """A command whose options are those of a configuration.

    Attributes:
        name, description: as its help shows them.
        config: the configuration that its words make.
        takes_published: whether options of the published parsers that have no use here are taken too.
        data: the options that name what is trained on.
        read_python: reads the published configurations that are Python files; None where there are none.
    """

    name: str
    description: str
    config: type[BaseConfig]
    data: tuple[str, ...]
    takes_published: bool = False
    read_python: Callable[[Path], published.PublishedFile] | None = None

    @property
    def published_names(self) -> tuple[str, ...]:
        """The published options without a use here that it takes."""
        return published.NAMES if self.takes_published else ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every option that may stand in a file."""
        return (*self.config.options(), *self.published_names)

    @property
    def flags(self) -> set[str]:
        """Options that may stand without a value, meaning 1."""
        own = {name for name, declared in self.config.options().items() if declared.kind.read is to_bool}
        return own | set(published.FLAGS if self.takes_published else ())


@dataclass(frozen=True)
class Given:
    """What a command line asks for, before defaults.

    Attributes:
        command: whose options they are.
        on_line, in_file: the checked values by name; the file's own name counts as its `expname`.
        published: texts of the published options without a use here.
        places: how a message names an option of the file.
        remarks: what is to be said of them, once they are used.
    """

    command: Command
    on_line: Mapping[str, Any]
    in_file: Mapping[str, Any]
    published: Mapping[str, str]
    places: Mapping[str, str]
    remarks: Sequence[str]

    @property
    def values(self) -> dict[str, Any]:
        """All of them; the command line goes before the file."""
        return {**self.in_file, **self.on_line}

    def value(self, name: str) -> Any:
        """The value of an option that every run has, its default where it is not given."""
        return self.values.get(name, self.command.config.options()[name].default)

    def names_data(self) -> bool:
        """Whether a scene or picture is named."""
        return any(self.values.get(name) for name in self.command.data)

    def refuse_others(self) -> None:
        """Raises `ConfigError` for an option of another kind of run than the one that is asked for."""
        for name in self.values:
            if problem := self.command.config.problem_with(name, self.values):
                raise ConfigError(f"{self.places.get(name, f'--{name}')}: {problem}")

    def config(self) -> Any:
        """The configuration of these values and of defaults for the others.

        Raises:
            ConfigError: an option of another kind of run, or options that contradict each other.
        """
        self.refuse_others()
        config = self.command.config.from_dict(self.values)
        published.warn(self.published)
        for remark in (*self.remarks, *config.remarks()):
            _LOG.warning("%s", remark)
        return config


def parse_command(command: Command, argv: Sequence[str]) -> Any:
    """The configuration that a command line asks for, a `command.config`.

    Values come from the command line, else from the file given by `--config`, else from the defaults; the
    environment has no say.

    Args:
        argv: the words after the command, such as `["--config", "room.txt", "--ssim_remove_at", "70"]`.
    Raises:
        ConfigError: unknown or malformed options, values out of range, options that contradict each other.
        SystemExit: after `--help`.
    """
    return read_command(command, argv).config()


def given_options(command: Command, argv: Sequence[str]) -> dict[str, Any]:
    """The options that a command line and its file give, by name; those at their defaults are not among them.

    Each value is checked alone; whether they go together is for `command.config.from_dict`. Arguments and errors are
    those of `parse_command`.
    """
    given = read_command(command, argv)
    given.refuse_others()
    return given.values


def read_command(command: Command, argv: Sequence[str]) -> Given:
    """What a command line asks for, checked option by option.

    Raises:
        ConfigError: unknown or malformed options, or values out of range.
        SystemExit: after `--help`.
    """
    options = command.config.options()
    file_parser = TextConfigParser(
        command.flags,
        lambda name, text: _problem_in_file(command, options, name, text),
        command.config.aliases(),
        command.read_python,
    )
    parser = _make_parser(command, file_parser)
    words = [str(word) for word in argv]
    if sum(word == "--config" or word.startswith("--config=") for word in words) > 1:
        raise ConfigError("--config: given twice; one configuration file is read")
    namespace, unknown = parser.parse_known_args(words, env_vars={})
    if unknown:
        raise ConfigError(_unknown_on_line(command, unknown[0]))
    given = vars(namespace)
    config_file = given.pop("config", None)
    in_file: dict[str, Any] = {"expname": Path(config_file).stem} if config_file else {}
    on_line: dict[str, Any] = {}
    published_values = {}
    from_file = {
        name
        for source, settings in parser.get_source_to_settings_dict().items()
        if source.startswith("config_file")
        for name in settings
    }
    places = {name: f"{file_parser.places[name]}: {name}" for name in from_file}
    for name, text in given.items():
        try:
            if name in options:
                value = options[name].convert(_joined(text) if isinstance(text, list) else text)
                (in_file if name in from_file else on_line)[name] = value
            else:
                published.check(name, text)
                published_values[name] = text
        except ValueError as error:
            raise ConfigError(f"{places.get(name, f'--{name}')}: {error}") from None
    return Given(command, on_line, in_file, published_values, places, file_parser.remarks)


def _joined(lists: list[list[str]]) -> tuple[int, ...]:
    """The numbers of a list option that is given several times, which adds to it as in the published parsers."""
    return tuple(number for words in lists for number in to_ints(" ".join(words)))


def nearest(name: str, names: Iterable[str], command: str = "train") -> str:
    """`; did you mean X?` for the known name most like `name`, or where to look."""
    by_lower = {known.lower(): known for known in names}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]}?" if close else f"nerf-ssim {command} --help lists the options"


def _problem_in_file(command: Command, options: Mapping[str, Option], name: str, text: str) -> str | None:
    """What is wrong with a line of a file; `options` are the command's own."""
    if name in options or name in command.published_names:
        # ConfigArgParse passes over options that may take other than one word when their text is empty.
        may_be_empty = name in options and "nargs" not in _shape(options[name])
        if text or may_be_empty:
            return None
        is_list = name in options and options[name].kind.read is to_ints
        hint = "; write [] for an empty list" if is_list else "; give it one or leave the line out"
        return f"{name}: has no value{hint}"
    if name == "config":
        return "config: a configuration file cannot name another; give one --config on the command line"
    return f"unknown option {name!r}; {nearest(name, command.names, command.name)}"


def _unknown_on_line(command: Command, word: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} is not an option; options start with --, and the configuration file is given by --config FILE"
    name = word.lstrip("-").partition("=")[0]
    return f"unknown option {'--' + name!r}; {nearest(name, ('config', *command.names), command.name)}"


class _Parser(configargparse.ArgumentParser):
    """A parser that raises where argparse would print and exit."""

    def error(self, message: str) -> NoReturn:
        """Raises: ConfigError with the innermost message, of a file that could not be read or of an option."""
        # ConfigArgParse wraps what opening a file raised; the innermost message is the one for people.
        if message.startswith("Unable to open config file"):
            message = message.partition(". Error: ")[2]
        message = message.removeprefix("argument ")
        if message.endswith("expected one argument"):
            message += "; write --NAME=VALUE if the value starts with a dash"
        raise ConfigError(message)


def _make_parser(command: Command, file_parser: TextConfigParser) -> configargparse.ArgumentParser:
    parser = _Parser(
        prog=f"nerf-ssim {command.name}",
        description=command.description,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=34, width=120),
        usage="%(prog)s [--config FILE] [--OPTION VALUE ...]",
        allow_abbrev=False,
        config_file_parser_class=file_parser,
        config_file_open_func=open_config,
        # Only what was given comes back, so that a default is never mistaken for a choice.
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--config",
        is_config_file=True,
        metavar="FILE",
        help="configuration file: a path, or the bare name of a bundled one, such as room.txt",
    )
    kinds = command.config.kinds()
    for group_name, (title, options) in command.config.groups().items():
        group = parser.add_argument_group(f"{group_name}: {title[0].lower()}{title[1:]}")
        for declared in options:
            names = [f"--{name}" for name in (declared.name, declared.alias) if name]
            group.add_argument(*names, help=_help(declared, kinds), **_shape(declared))
    if command.takes_published:
        _add_published(parser)
    return parser


def _add_published(parser: configargparse.ArgumentParser) -> None:
    inert = parser.add_argument_group(
        "published options without a use here", "taken so that published files run; no value but the inert one acts"
    )
    for name in published.NAMES:
        is_flag = name in published.FLAGS
        shape = {"nargs": "?", "const": "1"} if is_flag else {}
        inert.add_argument(f"--{name}", metavar="VALUE", help=published.describe(name), **shape)


def _shape(declared: Option) -> dict[str, Any]:
    """How many words the option takes, and what stands for them in the help."""
    if declared.kind.read is to_bool:
        return {"nargs": "?", "const": "1", "metavar": declared.kind.placeholder}
    if declared.kind.read is to_ints:
        return {"nargs": "+", "action": "append", "metavar": declared.kind.placeholder}
    return {"metavar": "|".join(declared.choices) if declared.choices else declared.kind.placeholder}


def _help(declared: Option, kinds: Mapping[str, Mapping[str, Any]]) -> str:
    """The help text, with the range and the default; `kinds` has, by model, the defaults of its options."""
    others = {kind: defaults[declared.name] for kind, defaults in kinds.items() if declared.name in defaults}
    notes = [declared.range_in_words()]
    notes += [f"for {kind} {declared.write(value)}" for kind, value in others.items() if value != declared.default]
    notes.append(f"default {declared.write(declared.default) or NOTHING}")
    return f"{declared.help} ({'; '.join(filter(None, notes))})".replace("%", "%%")
