"""`nerf-ssim sweep FILE`: every combination of a file's axes as a run, on this machine or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nerf_ssim.config.command_line import OneLineErrors, number_within
from nerf_ssim.config.parsing import Command, given_options
from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.engines.options import add_engine_options, make_engine, retries_of
from nerf_ssim.experiments.sweep.definition import COMMANDS, read_sweep
from nerf_ssim.experiments.sweep.driver import choose_run, perform, show_plan
from nerf_ssim.experiments.sweep.runs import expand
from nerf_ssim.files import user_path
from nerf_ssim.resources import find_resource


def run(argv: Sequence[str]) -> int:
    """Carries out what is missing of a sweep and prints its table.

    Returns:
        0, or 130/143/138 when a signal stopped it.
    Raises:
        UserError: a file, an option or a scene that is wrong; a run that failed.
    """
    arguments, rest = _parser().parse_known_args(list(argv))
    sweep = read_sweep(_find(arguments.file))
    if arguments.name is not None:
        sweep = replace(sweep, name=arguments.name)
    overrides = _overrides(rest, COMMANDS[sweep.command])
    runs = expand(sweep, basedir=arguments.basedir, data=arguments.data, overrides=overrides)
    if arguments.dry_run:
        show_plan(sweep, choose_run(runs, arguments.index), arguments.jobs)
        return 0
    folder, engine = arguments.basedir / sweep.name, make_engine(arguments, sweep)
    outcome = perform(sweep, runs, engine, folder, index=arguments.index, retries=retries_of(arguments, sweep))
    print((folder / "table.md").read_text(encoding="utf-8"), end="")
    print(f"table: {folder / 'table.md'}  a row a run: {folder / 'runs.csv'}")
    return outcome.exit_code


def _overrides(words: Sequence[str], command: Command) -> dict[str, Any]:
    """The options in words, by name; `config` is none of them, for a sweep names its own."""
    if any(word.partition("=")[0] == "--config" for word in words):
        raise ConfigError("--config: the sweep's file names the configuration; give single options to override it")
    return given_options(command, words)


def _find(file: str) -> Path:
    """The file named, else the sweep of that name that comes with the program."""
    path = user_path(file)
    if path.exists() or path.name != file:
        return path
    return find_resource("configs", f"sweeps/{file}" if path.suffix else f"sweeps/{file}.yaml")


def _parser() -> OneLineErrors:
    parser = OneLineErrors(
        prog="nerf-ssim sweep",
        allow_abbrev=False,
        description="Run every combination of a file's axes; what is finished is skipped, what has begun goes on.",
        usage="%(prog)s FILE [--dry_run] [--jobs N] [--index K] [--engine local|ray] [--OPTION VALUE ...]",
        epilog="Any option of the sweep's command (train or fit-image) may be given too, and is then every run's.",
    )
    parser.add_argument("file", metavar="FILE", help="a YAML file, or the bare name of a bundled one")
    add_engine_options(parser)
    parser.add_argument("--index", type=number_within(int, 0), metavar="K", help="the run with this number alone")
    parser.add_argument(
        "--data", type=user_path, metavar="DIR", help="where relative paths of scenes and pictures start"
    )
    return parser
