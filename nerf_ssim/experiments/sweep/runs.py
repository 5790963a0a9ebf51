"""The runs that a sweep is made of: options, folder and command line of each."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nerf_ssim.config.base import BaseConfig
from nerf_ssim.config.parsing import given_options
from nerf_ssim.errors import ConfigError, SceneError
from nerf_ssim.experiments.sweep.definition import COMMANDS, DATA, GENERATED_ROOM, MODELS, WEIGHTS, Options, Sweep

__all__ = ["PlannedRun", "expand", "make_rooms", "refuse_missing_data", "schedule_name"]

PLACES = ("scene", "model", "schedule", "seed")
"""Axes that every run has a name on: its own, or what its options say."""

ROOMS = Path("data", "rooms")
"""Where generated rooms are made, whatever folder other scenes are in: that one may not be writable."""


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        index: its number in the order of the sweep, from 0; `--index` takes it.
        command: `train` or `fit-image`.
        names: by axis, the name of its value; those of `PLACES` first.
        level: the folder between the model's and the seed's: the schedule and whatever else varies.
        options: what its command line gives, by name; `config` is the configuration file.
        config: all of its options, resolved.
        room: the seed of the room to generate as its scene, where it is not there; None for a scene of another kind.
    """

    index: int
    command: str
    names: Mapping[str, str]
    level: str
    options: Mapping[str, Any]
    config: BaseConfig
    room: int | None = None

    @property
    def folder(self) -> Path:
        """Where it leaves everything."""
        return Path(self.config.run.basedir) / self.config.run.expname

    @property
    def title(self) -> str:
        """`scene/model/schedule/seed_N`, the folder under the sweep's."""
        return "/".join((self.names["scene"], self.names["model"], self.level, self.names["seed"]))

    @property
    def updates(self) -> int:
        """How many it will have seen at its end; of a search for a rate, at most."""
        run = self.config.run
        one = run.n_iters if run.stop_at is None else min(run.stop_at, run.n_iters)
        return one * max(len(self.decisive.get("lr_exponents") or ()), 1)

    @cached_property
    def decisive(self) -> dict[str, Any]:
        """The options that its result depends on, and those that say when it ends; plain values by name."""
        known, ends = self.config.options(), ("stop_psnr", "lr_exponents")
        options = self.config.to_dict().items()
        return {name: value for name, value in options if name in ends or not known[name].may_change}

    @property
    def config_hash(self) -> str:
        """Twelve hexadecimal digits of the decisive options."""
        return hashlib.sha256(json.dumps(self.decisive, sort_keys=True).encode()).hexdigest()[:12]

    def words(self) -> list[str]:
        """The words after `nerf-ssim` that run it, or go on with it."""
        known = self.config.options()
        words = [self.command]
        for name, value in self.options.items():
            is_text = name == "config" or isinstance(value, str)
            text = str(value) if is_text else known[name].write(known[name].convert(value))
            words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
        return words


def expand(
    sweep: Sweep, *, basedir: Path, data: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> list[PlannedRun]:
    """Every run of a sweep, in its order.

    Args:
        basedir: the folder that the sweep's folder is in.
        data: the folder that relative paths of scenes and pictures start from; None for the present one.
        overrides: options that every run has, whatever the sweep says.
    Raises:
        ConfigError: options of a run that are wrong or do not go together, two runs with one folder, or none at all.
    """
    command = COMMANDS[sweep.command]
    bases: dict[str, Options] = {}
    runs: list[PlannedRun] = []
    for values in itertools.product(*(axis.items() for axis in sweep.axes.values())):
        names = dict(zip(sweep.axes, (name for name, _ in values), strict=True))
        if any(_is_excluded(names, exclusion) for exclusion in sweep.exclude):
            continue
        options: Options = dict(sweep.options)
        for _, chosen in values:
            options |= chosen
        options |= overrides or {}
        room = _place_data(options, DATA[sweep.command], data)
        file = options.get("config")
        if file is not None and file not in bases:
            bases[file] = given_options(command, ["--config", file])
        given = {name: value for name, value in options.items() if name != "config"}
        resolved = {**bases.get(str(file), {}), **given}
        where = ", ".join(f"{axis} {name}" for axis, name in names.items()) or "the base"
        try:
            config = command.config.from_dict(resolved)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        if not config.to_dict()[DATA[sweep.command]]:
            raise ConfigError(f"{where}: names no {DATA[sweep.command]}; give the axis scene, or the option")
        named = {**_places(sweep.command, config), **names}
        level = "_".join(name for axis, name in names.items() if axis not in ("scene", "model", "seed"))
        level = level or named["schedule"]
        folder = Path(basedir, sweep.name, named["scene"], named["model"], level)
        own: Options = {"basedir": str(folder), "expname": named["seed"], "resume": True}
        config = replace(config, run=replace(config.run, **own))
        runs.append(PlannedRun(len(runs), sweep.command, named, level, {**options, **own}, config, room))
    _refuse_one_folder_for_two(runs)
    return runs


def schedule_name(config: BaseConfig, command: str) -> str:
    """`with`, `without`, `auto`, `remove_M`, `add_M` or `add_M_remove_N`: the schedule that options make."""
    options = config.to_dict()
    add, remove = options["ssim_add_at"], options["ssim_remove_at"]
    if options[WEIGHTS[command]] == 0:
        return "without"
    parts = [f"add_{add}"] if add else []
    if remove != "end":
        parts.append("auto" if remove == "auto" else f"remove_{remove}")
    return "_".join(parts) or "with"


def make_rooms(runs: Iterable[PlannedRun]) -> list[Path]:
    """Makes the generated rooms that runs train on and that are not there; returns the folders it made.

    A room is made beside its place and moved there when it is whole, so that a kill leaves no half of one.
    """
    rooms = {Path(run.options["datadir"]): run.room for run in runs if run.room is not None}
    made = []
    for folder, seed in rooms.items():
        if folder.exists():
            continue
        # Imported here: it needs OpenCV, which a sweep on scenes that are there does not.
        from nerf_ssim.datasets.room import write_room

        unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
        write_room(unfinished, seed=seed)
        try:
            unfinished.rename(folder)
            made.append(folder)
        except OSError:  # another process has made it meanwhile: the same room
            shutil.rmtree(unfinished)
    return made


def refuse_missing_data(runs: Iterable[PlannedRun]) -> None:
    """Raises `SceneError` that names every scene or picture which is not there, but for rooms still to be generated."""
    places = {str(run.config.to_dict()[DATA[run.command]]) for run in runs if run.room is None}
    missing = sorted(place for place in places if not place.startswith("bundled:") and not Path(place).exists())
    if missing:
        raise SceneError(f"not there: {', '.join(missing)}; --data DIR says where relative paths start from")


def _is_excluded(names: Mapping[str, str], exclusion: Mapping[str, Sequence[str]]) -> bool:
    return bool(exclusion) and all(names[axis] in left_out for axis, left_out in exclusion.items())


def _place_data(options: Options, option: str, data: Path | None) -> int | None:
    """Puts a relative scene or picture below `data`; returns the seed of a room to generate, or None."""
    place = options.get(option)
    if place is None:
        return None
    if found := GENERATED_ROOM.fullmatch(str(place)):
        options[option] = str(ROOMS / f"room_{found[1]}")
        return int(found[1])
    if data is not None and not str(place).startswith("bundled:"):
        options[option] = str(data / str(place))
    return None


def _places(command: str, config: BaseConfig) -> dict[str, str]:
    """What a run's options say of it on each axis of `PLACES`."""
    options = config.to_dict()
    place = Path(str(options[DATA[command]]).rpartition(":")[2])
    return {
        "scene": place.stem if command == "fit-image" else place.name,
        "model": str(options[MODELS[command]]),
        "schedule": schedule_name(config, command),
        "seed": f"seed_{options['seed']}",
    }


def _refuse_one_folder_for_two(runs: Sequence[PlannedRun]) -> None:
    if not runs:
        raise ConfigError("no run is left: the exclusions take all of them")
    seen: dict[Path, PlannedRun] = {}
    for run in runs:
        if (other := seen.setdefault(run.folder, run)) is not run:
            raise ConfigError(
                f"the runs {other.index} and {run.index} would both be {run.folder}; name their values apart"
            )
