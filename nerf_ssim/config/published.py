"""Options of the published TensoRF and S3IM parsers that have no place in a configuration here.

Some never had an effect in the published training of these scenes, and some ask for what another command does after
training: both are taken with a warning. The others would make another command of this one, so a value that asks for it
is an error. The inert value is taken in silence.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from nerf_ssim.config.options import FALSE_WORDS, NOTHING, shown, to_bool, to_float, to_int

_LOG = logging.getLogger("nerf_ssim.config")


@dataclass(frozen=True)
class FileSetting:
    """An option's name and value as a published file sets it, and where it stands (`file: group.name`)."""

    name: str
    value: object
    place: str


@dataclass(frozen=True)
class PublishedFile:
    """What a published file of another syntax sets, and remarks on it for people."""

    settings: list[FileSetting]
    remarks: list[str]


@dataclass(frozen=True)
class _Served:
    """A published option whose effect is had in another way, and how; `is_later`: once training is done."""

    instead: str
    is_later: bool = False


WITHOUT_EFFECT = {
    "with_depth": to_bool,
    "rm_weight_mask_thre": to_float,
    "lindisp": to_bool,
    "perturb": to_float,
    "accumulate_decay": to_float,
    "white_bkgd": to_bool,
    "idx_view": to_int,
}

SERVED_ELSEWHERE = {
    "add_timestamp": _Served("give each run its own --expname"),
    "ckpt": _Served("use --resume to continue a run, and nerf-ssim evaluate or render for a trained one"),
    "render_only": _Served("use nerf-ssim render RUN"),
    "render_path": _Served("nerf-ssim render RUN --path spiral", is_later=True),
    "export_mesh": _Served("nerf-ssim render RUN, which writes depth", is_later=True),
}

NAMES = (*WITHOUT_EFFECT, *SERVED_ELSEWHERE)
FLAGS = tuple(name for name, read in WITHOUT_EFFECT.items() if read is to_bool)


def describe(name: str) -> str:
    """What the help says of a published option."""
    if name in WITHOUT_EFFECT:
        return "no effect"
    served = SERVED_ELSEWHERE[name]
    return f"after training: {served.instead}" if served.is_later else served.instead


def check(name: str, text: str) -> None:
    """Check one published option's text.

    Raises:
        ValueError: malformed, or it asks for what training does not do.
    """
    if name in WITHOUT_EFFECT:
        WITHOUT_EFFECT[name](text.strip())
    elif _asks(text) and not SERVED_ELSEWHERE[name].is_later:
        raise ValueError(f"{shown(text)} asks for what training does not do; {SERVED_ELSEWHERE[name].instead}")


def warn(given: Mapping[str, str]) -> None:
    """One warning that names those of the given options that do nothing, and one for each that is done later."""
    names = [name for name in WITHOUT_EFFECT if name in given]
    if names:
        verb = "has" if len(names) == 1 else "have"
        hint = "; rayMarch_weight_thres is the threshold in use" if "rm_weight_mask_thre" in names else ""
        _LOG.warning("%s %s no effect, here as in the published code%s", ", ".join(names), verb, hint)
    for name, served in SERVED_ELSEWHERE.items():
        if served.is_later and _asks(given.get(name, "")):
            _LOG.warning("%s is not part of training; when it is done: %s", name, served.instead)


def as_text(value: object) -> str:
    """A value of a published file as a text configuration has it."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(as_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_text(item)}" for key, item in value.items()) + "}"
    return value if isinstance(value, str) else repr(value)


def _asks(text: str) -> bool:
    return text.strip().lower() not in (*FALSE_WORDS, NOTHING, "")
