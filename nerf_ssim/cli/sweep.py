"""`nerf-ssim sweep FILE`: every combination of a file's axes as a run, on this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerf_ssim.config.command_line import OneLineErrors, number_within
from nerf_ssim.config.parsing import given_options
from nerf_ssim.errors import ConfigError
from nerf_ssim.resources import find_resource

if TYPE_CHECKING:
    from nerf_ssim.experiments.sweep.definition import Sweep
    from nerf_ssim.experiments.sweep.scheduler import Engine

ENGINES = ("local", "ray")


def run(argv: Sequence[str]) -> int:
    """Carries out what is missing of a sweep and prints its table.

    Returns:
        0, or 130/143/138 when a signal stopped it.
    Raises:
        UserError: a file, an option or a scene that is wrong; a run that failed.
    """
    from nerf_ssim.experiments.sweep.definition import COMMANDS, read_sweep
    from nerf_ssim.experiments.sweep.driver import choose_run, perform, show_plan
    from nerf_ssim.experiments.sweep.runs import expand

    arguments, rest = _parser().parse_known_args(list(argv))
    sweep = read_sweep(_find(arguments.file))
    if arguments.name is not None:
        sweep = _renamed(sweep, arguments.name)
    overrides = read_overrides(rest, COMMANDS[sweep.command].name)
    runs = expand(sweep, basedir=arguments.basedir, data=arguments.data, overrides=overrides)
    if arguments.dry_run:
        show_plan(sweep, choose_run(runs, arguments.index), arguments.jobs)
        return 0
    folder = arguments.basedir / sweep.name
    retries = sweep.retries if arguments.retries is None else arguments.retries
    outcome = perform(sweep, runs, make_engine(arguments, sweep), folder, index=arguments.index, retries=retries)
    print((folder / "table.md").read_text(encoding="utf-8"), end="")
    print(f"table: {folder / 'table.md'}  a row a run: {folder / 'runs.csv'}")
    return outcome.exit_code


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where and how runs are carried out."""
    parser.add_argument("--dry_run", action="store_true", help="list the runs and their hours, and start none")
    parser.add_argument("--jobs", type=number_within(int, 1, 1024), default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--nice", type=number_within(int, 0, 19), default=0, metavar="N", help="niceness of runs (0)")
    parser.add_argument("--retries", type=number_within(int, 0, 100), metavar="N", help="starts after a crash (2)")
    parser.add_argument("--basedir", type=Path, default=Path("runs"), metavar="DIR", help="folder of all runs (runs)")
    parser.add_argument("--name", metavar="NAME", help="of the folder in it, instead of the sweep's own")
    parser.add_argument("--engine", choices=ENGINES, default="local", help="processes here, or a Ray cluster")
    parser.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster; a new local one without it")


def make_engine(arguments: argparse.Namespace, sweep: Sweep) -> Engine:
    """The engine that `--engine` asks for.

    Raises:
        ConfigError: `--address` without Ray.
        MissingDependency: Ray is not installed.
    """
    from nerf_ssim.experiments.engines.local import LocalEngine

    if arguments.address is not None and arguments.engine != "ray":
        raise ConfigError("--address: is of a Ray cluster; give --engine ray too")
    return LocalEngine(arguments.jobs, nice=arguments.nice, cores=sweep.cores)


def read_overrides(words: Sequence[str], command: str) -> dict[str, Any]:
    """The options of `command` in words, by name; `config` is none of them, for a sweep names its own."""
    from nerf_ssim.experiments.sweep.definition import COMMANDS

    if any(word.partition("=")[0] == "--config" for word in words):
        raise ConfigError("--config: the sweep's file names the configuration; give single options to override it")
    return given_options(COMMANDS[command], words)


def _find(file: str) -> Path:
    """The file named, else the sweep of that name that comes with the program."""
    path = Path(file)
    if path.exists() or path.name != file:
        return path
    return find_resource("configs", f"sweeps/{file}" if path.suffix else f"sweeps/{file}.yaml")


def _renamed(sweep: Sweep, name: str) -> Sweep:
    from dataclasses import replace

    return replace(sweep, name=name)


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
    parser.add_argument("--data", type=Path, metavar="DIR", help="where relative paths of scenes and pictures start")
    return parser
