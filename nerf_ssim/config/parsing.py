"""From the command line and a file to a `Config`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import configargparse

from nerf_ssim.errors import ConfigError

from . import published
from .config import OPTIONS, SECTIONS, Config
from .files import TextConfigParser, open_config
from .options import NOTHING, Option, options_of, to_bool, to_ints


def parse(argv: Sequence[str]) -> Config:
    """The configuration that a command line asks for.

    Values come from the command line, else from the file given by `--config`, else from the defaults; the
    environment has no say.

    Args:
        argv: the words after the command, such as `["--config", "room.txt", "--ssim_remove_at", "70"]`.
    Raises:
        ConfigError: unknown or malformed options, values out of range, options that contradict each other.
        SystemExit: after `--help`.
    """
    file_parser = TextConfigParser(_flag_names(), _problem_in_file)
    parser = _make_parser(file_parser)
    words = [str(word) for word in argv]
    if sum(word == "--config" or word.startswith("--config=") for word in words) > 1:
        raise ConfigError("--config: given twice; one configuration file is read")
    namespace, unknown = parser.parse_known_args(words, env_vars={})
    if unknown:
        raise ConfigError(_unknown_on_line(unknown[0]))
    given = vars(namespace)
    config_file = given.pop("config", None)
    from_file = {
        name
        for source, settings in parser.get_source_to_settings_dict().items()
        if source.startswith("config_file")
        for name in settings
    }
    values = {}
    published_values = {}
    for name, raw in given.items():
        text = " ".join(raw) if isinstance(raw, list) else raw
        try:
            if name in OPTIONS:
                values[name] = OPTIONS[name].convert(text)
            else:
                published.check(name, text)
                published_values[name] = text
        except ValueError as error:
            place = f"{file_parser.places[name]}: {name}" if name in from_file else f"--{name}"
            raise ConfigError(f"{place}: {error}") from None
    if config_file and "expname" not in values:
        values["expname"] = Path(config_file).stem
    config = Config.from_dict(values)
    if not config.data.datadir:
        raise ConfigError("datadir: not given; name the scene's folder, or bundled:room for the one that comes with us")
    published.warn_without_effect(published_values)
    return config


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` for the known name most like `name`, or where to look."""
    by_lower = {known.lower(): known for known in names}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]}?" if close else "nerf-ssim train --help lists the options"


def _problem_in_file(name: str, text: str) -> str | None:
    if name in OPTIONS or name in published.NAMES:
        # ConfigArgParse passes over options that may take other than one word when their text is empty.
        may_be_empty = name in OPTIONS and "nargs" not in _shape(OPTIONS[name])
        return None if text or may_be_empty else f"{name}: has no value" + _empty_hint(name)
    if name == "config":
        return "config: a configuration file cannot name another; give one --config on the command line"
    return f"unknown option {name!r}; {nearest(name, (*OPTIONS, *published.NAMES))}"


def _empty_hint(name: str) -> str:
    is_list = name in OPTIONS and OPTIONS[name].kind.read is to_ints
    return "; write [] for an empty list" if is_list else "; give it one or leave the line out"


def _unknown_on_line(word: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} is not an option; options start with --, and the configuration file is given by --config FILE"
    name = word.lstrip("-").partition("=")[0]
    return f"unknown option {'--' + name!r}; {nearest(name, ('config', *OPTIONS, *published.NAMES))}"


def _flag_names() -> set[str]:
    return {name for name, declared in OPTIONS.items() if declared.kind.read is to_bool} | set(published.FLAGS)


class _Parser(configargparse.ArgumentParser):
    """Raises where argparse would print and exit, and keeps the declared lines of the help together."""

    def error(self, message: str) -> NoReturn:
        # ConfigArgParse wraps what opening a file raised; the innermost message is the one for people.
        if message.startswith("Unable to open config file"):
            message = message.partition(". Error: ")[2]
        message = message.removeprefix("argument ")
        if message.endswith("expected one argument"):
            message += "; write --NAME=VALUE if the value starts with a dash"
        raise ConfigError(message)


def _make_parser(file_parser: TextConfigParser) -> configargparse.ArgumentParser:
    parser = _Parser(
        prog="nerf-ssim train",
        description="Train a radiance field, with SSIM in the loss for as long as its schedule says.",
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
    for section_name, section in SECTIONS.items():
        title = (section.__doc__ or section_name).strip().splitlines()[0].rstrip(".")
        group = parser.add_argument_group(f"{section_name}: {title[0].lower()}{title[1:]}")
        for declared in options_of(section).values():
            group.add_argument(f"--{declared.name}", help=_help(declared), **_shape(declared))
    inert = parser.add_argument_group(
        "published options without a use here", "taken so that published files run; no value but the inert one acts"
    )
    for name in published.NAMES:
        is_flag = name in published.FLAGS
        shape = {"nargs": "?", "const": "1"} if is_flag else {}
        inert.add_argument(f"--{name}", metavar="VALUE", help=published.describe(name), **shape)
    return parser


def _shape(declared: Option) -> dict[str, Any]:
    """How many words the option takes, and what stands for them in the help."""
    if declared.kind.read is to_bool:
        return {"nargs": "?", "const": "1", "metavar": declared.kind.placeholder}
    if declared.kind.read is to_ints:
        return {"nargs": "+", "metavar": declared.kind.placeholder}
    return {"metavar": "|".join(declared.choices) if declared.choices else declared.kind.placeholder}


def _help(declared: Option) -> str:
    notes = [declared.range_in_words(), f"default {declared.write(declared.default) or NOTHING}"]
    return f"{declared.help} ({'; '.join(filter(None, notes))})".replace("%", "%%")
