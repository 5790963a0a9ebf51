"""`nerf-ssim paper NAME`: from a table's or figure's name to its runs and its drawing."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nerf_ssim.config.command_line import OneLineErrors, number_within
from nerf_ssim.config.parsing import Command, given_options
from nerf_ssim.errors import ConfigError, SceneError
from nerf_ssim.experiments.engines.options import add_engine_options, make_engine, retries_of
from nerf_ssim.experiments.paper.artifacts import ARTIFACTS, Artifact, Part
from nerf_ssim.experiments.paper.definitions import CONFIG_OF_FITS, Request, fit_sweep, run_sweep
from nerf_ssim.experiments.paper.finished import finished_of
from nerf_ssim.experiments.paper.scenes import choose_pictures, choose_scenes
from nerf_ssim.experiments.sweep.definition import COMMANDS, Sweep
from nerf_ssim.experiments.sweep.driver import perform, show_plan
from nerf_ssim.experiments.sweep.runs import PlannedRun, expand

__all__ = ["run_paper"]

OWN = {"image", "images", "basedir", "expname", "resume", "overwrite", "datadir", "seed", "workers"}
"""Options of runs that the command itself decides."""


def run_paper(argv: Sequence[str]) -> int:
    """Carries out what is missing of a table's or figure's runs, draws it and prints its table.

    A part whose scenes or pictures are not there is named and left out, unless it is the only one.

    Returns:
        0, or the exit code of the signal that stopped the runs.
    Raises:
        UserError: a name, an option or a scene that is wrong; a run that failed.
    """
    arguments, rest = _parser().parse_known_args(list(argv))
    artifact = ARTIFACTS[arguments.artifact]
    options = options_by_command(rest, [part.command for part in artifact.parts])
    plans: list[tuple[Part, Sweep]] = []
    absent: list[SceneError] = []
    for part in artifact.parts:
        try:
            plans.append((part, plan(artifact, part, arguments, options[part.command])))
        except SceneError as error:
            absent.append(error)
    if not plans:
        raise absent[0]
    for reason in absent:
        print(f"left out: {reason}")
    for part, sweep in plans:
        if code := carry_out_part(part, sweep, arguments):
            return code
    return 0


def carry_out_part(part: Part, sweep: Sweep, arguments: argparse.Namespace) -> int:
    """Runs what is missing of a part and draws it; returns the exit code of a signal, or 0."""
    runs = expand(sweep, basedir=arguments.basedir)
    folder = arguments.basedir / sweep.name
    if arguments.dry_run:
        show_plan(sweep, runs, arguments.jobs)
        return 0
    if not arguments.draw_only:
        engine = make_engine(arguments, sweep)
        outcome = perform(sweep, runs, engine, folder, index=None, retries=retries_of(arguments, sweep))
        if outcome.exit_code:
            return outcome.exit_code
    print(draw(part, runs, folder, arguments.artifact), end="")
    return 0


def draw(part: Part, runs: Sequence[PlannedRun], folder: Path, name: str) -> str:
    """Writes the part's figures and its table, `<name>.md`, in the sweep's folder; returns what to print."""
    before = {path: path.stat().st_mtime_ns for path in folder.glob(f"{name}_*.png")}
    text = f"# {ARTIFACTS[name].purpose}\n\n{part.draw(finished_of(runs), folder, name)}"
    path = folder / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    drawn = [one for one in sorted(folder.glob(f"{name}_*.png")) if before.get(one) != one.stat().st_mtime_ns]
    return "\n".join([text, *(f"figure: {one}" for one in drawn), f"table: {path}", ""])


def plan(artifact: Artifact, part: Part, arguments: argparse.Namespace, given: Mapping[str, Any]) -> Sweep:
    """The sweep of a part.

    Raises:
        SceneError: none of its scenes or pictures is there.
        ConfigError: `--only` names no schedule of it.
    """
    seeds = artifact.seeds if arguments.seeds is None else arguments.seeds
    if part.command == "train":
        scenes = choose_scenes(arguments.scenes, arguments.scale, is_of_one_scene=part.is_of_one_scene)
        if scenes.missing:
            print(f"not there, and left out: {', '.join(scenes.missing)}")
        scenes = (
            scenes
            if "config" not in given
            else replace(scenes, configs=dict.fromkeys(scenes.configs, str(given["config"])))
        )
        request = request_of(part, scenes.configs[part.models[0]], arguments.scale, seeds, given)
        schedules = chosen(part.schedules(request), arguments.only)
        sweep = run_sweep(part.group, schedules, scenes, part.models, request)
    else:
        pictures = choose_pictures(arguments.image, arguments.images)
        file = str(given.get("config", CONFIG_OF_FITS[arguments.scale]))
        request = request_of(part, file, arguments.scale, seeds, given)
        schedules = chosen(part.schedules(request), arguments.only)
        sweep = fit_sweep(part.group, schedules, pictures, request)
        sweep = replace(sweep, options={**sweep.options, "config": file})
    name = sweep.name
    if arguments.name is not None:
        name = arguments.name if len(artifact.parts) == 1 else f"{arguments.name}_{part.command}"
    others = {option: value for option, value in given.items() if option != "config"}
    return replace(sweep, name=name, options={**sweep.options, **part.base(request), **others})


def request_of(part: Part, file: str, scale: Any, seeds: int, given: Mapping[str, Any]) -> Request:
    """What a part is asked for with, the number of updates found in its options."""
    command = COMMANDS[part.command]
    base = given_options(command, ["--config", file])
    run = command.config.from_dict({**base, **{name: value for name, value in given.items() if name != "config"}}).run
    updates = run.n_iters if run.stop_at is None else min(run.stop_at, run.n_iters)
    return Request(scale, updates, seeds, given)


def chosen(schedules: Mapping[str, Any], only: Sequence[str] | None) -> dict[str, Any]:
    """Those of the schedules that `--only` names, or all."""
    unknown = [name for name in only or () if name not in schedules]
    if unknown:
        raise ConfigError(f"--only: {unknown[0]!r} is none of {', '.join(schedules)}")
    return {name: options for name, options in schedules.items() if only is None or name in only}


def options_by_command(words: Sequence[str], commands: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The options that words give each command: all that it has, where another has the rest.

    Raises:
        ConfigError: an option that none of the commands has, or one that the command decides itself.
    """
    groups = word_groups(words)
    owners = [COMMANDS[name] for name in dict.fromkeys(commands)]
    taken = {command.name: [group for group in groups if is_option_of(group[0], command)] for command in owners}
    for group in groups:
        if not any(group in taken[command.name] for command in owners):
            given_options(owners[0], group)  # says what is wrong with it
        if (name := option_name(group[0])) in OWN:
            raise ConfigError(f"--{name}: is decided by the table or figure; see nerf-ssim paper --help")
    return {
        command.name: {
            **given_config(taken[command.name]),
            **given_options(command, flat_without_config(taken[command.name])),
        }
        for command in owners
    }


def word_groups(words: Sequence[str]) -> list[list[str]]:
    """Each option with the words of its value."""
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not groups:
            groups.append([])
        groups[-1].append(word)
    return groups


def option_name(word: str) -> str:
    """Of `--name` or `--name=value`."""
    return word.removeprefix("--").partition("=")[0]


def is_option_of(word: str, command: Command) -> bool:
    """Whether `--name` is an option of the command, or its configuration file."""
    name = option_name(word)
    return name == "config" or name in command.config.options() or name in command.config.aliases()


def given_config(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """The configuration file that words name, under `config`."""
    files = [
        " ".join(group).replace("=", " ", 1).split(" ", 1)[1] for group in groups if option_name(group[0]) == "config"
    ]
    return {"config": files[-1]} if files else {}


def flat_without_config(groups: Sequence[Sequence[str]]) -> list[str]:
    """The words of the groups, but for those that name a configuration file."""
    return [word for group in groups if option_name(group[0]) != "config" for word in group]


def _parser() -> OneLineErrors:
    lines = [f"  {name:<11}{artifact.purpose}" for name, artifact in ARTIFACTS.items()]
    parser = OneLineErrors(
        prog="nerf-ssim paper",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s NAME [--scale small|full] [--scenes A,B|rooms] [--images DIR] [--OPTION VALUE ...]",
        description="\n".join(["Run and draw a table or figure of the paper.", "", *lines]),
        epilog="Any option of train or fit-image may be given too: of every run, where its schedule does not set it.",
    )
    parser.add_argument("artifact", metavar="NAME", choices=list(ARTIFACTS), help="which one")
    parser.add_argument("--scale", choices=("small", "full"), default="small", help="small: 128x128, on a CPU (small)")
    parser.add_argument(
        "--scenes", type=_names, default=(), metavar="A,B",
        help="folders, bundled:room, room:SEED, or rooms for eight generated ones (data/Replica/scan1 … scan8)",
    )  # fmt: skip
    parser.add_argument("--image", metavar="FILE", help="the picture to fit")
    parser.add_argument("--images", metavar="DIR", help="a folder of pictures to fit")
    parser.add_argument("--seeds", type=number_within(int, 1, 3), metavar="N", help="how many (table1: 3, others 1)")
    parser.add_argument(
        "--only", type=_names, metavar="A,B", help="these schedules or methods alone, such as rpp,guided"
    )
    parser.add_argument("--draw_only", action="store_true", help="run nothing, draw what there is")
    add_engine_options(parser)
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]
