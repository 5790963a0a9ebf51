"""A sweep as its file describes it: a base, axes of which every combination is a run, exclusions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nerf_ssim.config.parsing import Command
from nerf_ssim.errors import ConfigError, MissingDependency
from nerf_ssim.files import read_text
from nerf_ssim.images.options import FIT_IMAGE
from nerf_ssim.models.config import TRAIN

__all__ = ["COMMANDS", "Options", "Sweep", "read_sweep", "schedule_options", "sweep_from"]

Options = dict[str, Any]

COMMANDS: Mapping[str, Command] = {command.name: command for command in (TRAIN, FIT_IMAGE)}
WEIGHTS = {"train": "s3im_weight", "fit-image": "ssim_weight"}
DATA = {"train": "datadir", "fit-image": "image"}
MODELS = {"train": "model", "fit-image": "field"}
PREFIXES = {"ssim_remove_at": "remove", "ssim_add_at": "add"}
SCORES = ("psnr", "psnr_best", *(f"cost_{level}" for level in (50, 55, 60)))
GENERATED_ROOM = re.compile(r"room:([0-9]{1,9})")

_NAME = re.compile(r"(?!\.{1,2}$)(?!-)[^/\\\s]+")
_POWER = re.compile(r"2\^(-?[0-9]{1,3})")
_SCHEDULE = re.compile(r"(remove|add)_([0-9]{1,9})")


@dataclass(frozen=True)
class Sweep:
    """What a sweep's file says.

    Attributes:
        name: of its folder.
        command: what each run is a command line of, `train` or `fit-image`.
        options: of every run, by name; `config` is the configuration file among them.
        axes: by axis and by the name of each of its values, the options that the value sets. Axes are in the order of
            the file, of which the last one varies fastest.
        exclude: combinations that are left out: by axis, the names of values.
        best: by axis that tables reduce, the score by which its best value is chosen.
        cores, gpus: that one run takes; None for an equal share of the cores.
        retries: how often a run that crashed is started again.
        seconds_per_update: by model, measured elsewhere; for estimates as long as nothing has been measured here.
    """

    name: str
    command: str
    options: Options
    axes: Mapping[str, Mapping[str, Options]]
    exclude: Sequence[Mapping[str, Sequence[str]]] = ()
    best: Mapping[str, str] = field(default_factory=dict)
    cores: float | None = None
    gpus: float = 0.0
    retries: int = 2
    seconds_per_update: Mapping[str, float] = field(default_factory=dict)


def read_sweep(path: Path) -> Sweep:
    """The sweep that a YAML file describes; `docs/sweeps.md` has the format.

    Raises:
        ConfigError: a file that cannot be read, is no YAML, or does not describe a sweep; the message says where.
        MissingDependency: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingDependency("a sweep's file is YAML: pip install 'nerf_ssim[sweep]'") from error
    try:
        content = yaml.safe_load(read_text(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML ({error})") from error
    try:
        return sweep_from(content, default_name=path.stem)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def sweep_from(content: Any, *, default_name: str) -> Sweep:
    """The sweep that plain values describe, as a file has them.

    Raises:
        ConfigError: an unknown key, or a value of the wrong kind.
    """
    keys = ("name", "command", "config", "options", "axes", "exclude", "best", "resources", "retries")
    given = _mapping(content, "a sweep", known=(*keys, "seconds_per_update"))
    command = given.get("command", TRAIN.name)
    if command not in COMMANDS:
        raise ConfigError(f"command: {command!r} is neither {' nor '.join(COMMANDS)}")
    options = _options(given.get("options", {}), "options", command)
    if "config" in given:
        options["config"] = str(given["config"])
    axes = {axis: _axis(axis, values, command) for axis, values in _mapping(given.get("axes", {}), "axes").items()}
    resources = _mapping(given.get("resources", {}), "resources", known=("cores", "gpus"))
    rates = given.get("seconds_per_update", {})
    rates = {"": rates} if isinstance(rates, (int, float)) else _mapping(rates, "seconds_per_update")
    return Sweep(
        name=_name(given.get("name", default_name), "name"),
        command=command,
        options=options,
        axes=axes,
        exclude=_exclusions(given.get("exclude", []), axes),
        best=_reductions(given.get("best", {}), axes),
        cores=None if resources.get("cores") is None else _number(resources["cores"], "cores", above=0),
        gpus=_number(resources.get("gpus", 0), "gpus"),
        retries=int(_number(given.get("retries", 2), "retries")),
        seconds_per_update={model: _number(rate, "seconds_per_update", above=0) for model, rate in rates.items()},
    )


def schedule_options(word: str, command: str) -> Options:
    """The options that a schedule's word stands for: `with`, `without`, `auto`, `remove_M` or `add_M`.

    Raises:
        ConfigError: another word.
    """
    always: Options = {"ssim_add_at": 0, "ssim_remove_at": "end"}
    if word == "without":
        return {**always, WEIGHTS[command]: 0.0}
    if word == "with":
        return always
    if word == "auto":
        return {**always, "ssim_remove_at": "auto"}
    if found := _SCHEDULE.fullmatch(word):
        return {**always, f"ssim_{found[1]}_at": int(found[2])}
    raise ConfigError(
        f"schedule: {word!r} is none of with, without, auto, remove_M and add_M; another one needs its options, as in "
        "{" + f"{word}: {{ssim_remove_at: 70}}" + "}"
    )


def _axis(axis: str, values: Any, command: str) -> dict[str, Options]:
    """By the name of each value, the options that it sets."""
    if isinstance(values, Mapping):
        named = {_name(name, f"axes: {axis}"): _named_value(axis, name, one, command) for name, one in values.items()}
    elif isinstance(values, list):
        pairs = [_listed_value(axis, one, command) for one in values]
        named = dict(pairs)
        if len(named) < len(pairs):
            raise ConfigError(f"axes: {axis}: names a value twice")
    else:
        raise ConfigError(f"axes: {axis}: {values!r} is neither a list nor a mapping of names")
    if not named:
        raise ConfigError(f"axes: {axis}: has no value")
    return named


def _named_value(axis: str, name: Any, value: Any, command: str) -> Options:
    """Options of a value that the file gives a name: a mapping of options, or the one value of the axis's option."""
    if isinstance(value, Mapping):
        return _options(value, f"axes: {axis}: {name}", command)
    return _listed_value(axis, name if value is None else value, command)[1]


def _listed_value(axis: str, value: Any, command: str) -> tuple[str, Options]:
    """Name and options of a value without a name of its own."""
    if axis == "schedule":
        return _name(value, "axes: schedule"), schedule_options(str(value), command)
    if axis == "scene":
        if found := GENERATED_ROOM.fullmatch(str(value)):
            return f"room_{found[1]}", {"datadir": str(value)}
        place = str(value).rpartition(":")[2]
        return _name(Path(place).stem if command == "fit-image" else Path(place).name, "scene"), {DATA[command]: value}
    option = MODELS[command] if axis == "model" else axis
    options = _options({option: value}, f"axes: {axis}", command)
    prefix = "" if axis == "model" else f"{PREFIXES.get(axis, axis)}_"
    return _name(f"{prefix}{str(value).replace(' ', '')}", f"axes: {axis}"), options


def _options(values: Any, where: str, command: str) -> Options:
    """Known options by their own names, powers of two as numbers."""
    known = COMMANDS[command].config
    aliases, names = known.aliases(), {*known.options(), "config"}
    options: Options = {}
    for given, value in _mapping(values, where).items():
        name = aliases.get(given, given)
        if name not in names:
            # `from_dict` has the nearest name for its message.
            known.from_dict({name: value})
        power = _POWER.fullmatch(value) if isinstance(value, str) else None
        options[name] = 2.0 ** int(power[1]) if power else value
    return options


def _exclusions(content: Any, axes: Mapping[str, Mapping[str, Options]]) -> list[dict[str, list[str]]]:
    if not isinstance(content, list):
        raise ConfigError("exclude: must be a list of combinations, such as [{model: dvgo, schedule: remove_70}]")
    exclusions = []
    for entry in content:
        one = _mapping(entry, "exclude", known=tuple(axes))
        exclusions.append({axis: _names_of(axis, chosen, axes[axis]) for axis, chosen in one.items()})
    return exclusions


def _names_of(axis: str, chosen: Any, values: Mapping[str, Options]) -> list[str]:
    """The names of some values of an axis; a seed, or another number, may be written as the value itself."""
    names = []
    for one in chosen if isinstance(chosen, list) else [chosen]:
        name = str(one) if str(one) in values else f"{PREFIXES.get(axis, axis)}_{one}"
        if name not in values:
            raise ConfigError(f"exclude: {axis} has no {one!r}; it has {', '.join(values)}")
        names.append(name)
    return names


def _reductions(content: Any, axes: Mapping[str, Mapping[str, Options]]) -> dict[str, str]:
    best = _mapping(content, "best", known=tuple(axes))
    for axis, score in best.items():
        if score not in SCORES:
            raise ConfigError(f"best: {axis}: {score!r} is none of {', '.join(SCORES)}")
    return best


def _mapping(content: Any, where: str, known: Sequence[str] | None = None) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where}: must be a mapping of names to values, found {content!r}")
    for key in content:
        if known is not None and key not in known:
            raise ConfigError(f"{where}: has no {key!r}; there are {', '.join(known)}")
    return {str(key): value for key, value in content.items()}


def _name(value: Any, where: str) -> str:
    if not _NAME.fullmatch(str(value)):
        raise ConfigError(f"{where}: {value!r} cannot name a folder; give it a name without slashes and spaces")
    return str(value)


def _number(value: Any, where: str, *, above: float = -1) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < float("inf") or value < 0:
        raise ConfigError(f"{where}: {value!r} is not a number{' above 0' if above == 0 else ' of at least 0'}")
    return float(value)
