"""The options that say where and how runs are carried out, and the engine that they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path

from nerf_ssim.config.command_line import number_within
from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.engines.local import LocalEngine
from nerf_ssim.experiments.sweep.definition import Sweep
from nerf_ssim.experiments.sweep.scheduler import Engine
from nerf_ssim.files import user_path

__all__ = ["add_engine_options", "make_engine", "retries_of"]

ENGINES = ("local", "ray")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds them to a command's parser."""
    parser.add_argument("--dry_run", action="store_true", help="list the runs and their hours, and start none")
    parser.add_argument("--jobs", type=number_within(int, 1, 1024), default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--nice", type=number_within(int, 0, 19), default=0, metavar="N", help="niceness of runs (0)")
    parser.add_argument("--retries", type=number_within(int, 0, 100), metavar="N", help="starts after a crash (2)")
    parser.add_argument(
        "--basedir", type=user_path, default=Path("runs"), metavar="DIR", help="folder of all runs (runs)"
    )
    parser.add_argument("--name", metavar="NAME", help="of the folder in it, instead of the sweep's own")
    parser.add_argument("--engine", choices=ENGINES, default="local", help="processes here, or a Ray cluster")
    parser.add_argument("--address", metavar="HOST:PORT", help="of the Ray cluster; a new local one without it")
    parser.add_argument(
        "--scratch", type=user_path, metavar="DIR", help="ray: keep runs here on workers without this file system"
    )


def make_engine(arguments: argparse.Namespace, sweep: Sweep) -> Engine:
    """The engine that they ask for.

    Raises:
        ConfigError: an option of Ray's without it, or no cluster at the address.
        MissingDependency: Ray is not installed.
    """
    if arguments.engine == "ray":
        from nerf_ssim.experiments.engines.cluster import RayEngine

        return RayEngine(
            arguments.address, cores=sweep.cores, gpus=sweep.gpus, nice=arguments.nice, scratch=arguments.scratch
        )
    for option in ("address", "scratch"):
        if getattr(arguments, option) is not None:
            raise ConfigError(f"--{option}: is of a Ray cluster; give --engine ray too")
    return LocalEngine(arguments.jobs, nice=arguments.nice, cores=sweep.cores)


def retries_of(arguments: argparse.Namespace, sweep: Sweep) -> int:
    """How often a run that crashed is started again."""
    given: int | None = arguments.retries
    return sweep.retries if given is None else given
