"""Options of the published TensoRF and S3IM parsers that have no place in a configuration here.

Some never had an effect in the published training of these scenes: they are taken with one warning. The others ask
for what another command does here, so a value that asks for it is an error; the inert one is taken in silence.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from nerf_ssim.config.options import FALSE_WORDS, NOTHING, shown, to_bool, to_float, to_int

_LOG = logging.getLogger("nerf_ssim.config")


@dataclass(frozen=True)
class _Served:
    """A published option whose effect is had in another way, and how."""

    instead: str


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
    "render_path": _Served("use nerf-ssim render RUN"),
    "export_mesh": _Served("no mesh is made here; nerf-ssim render RUN writes depth"),
    "ndc_ray": _Served("only bounded scenes are trained here, in world coordinates"),
}

NAMES = (*WITHOUT_EFFECT, *SERVED_ELSEWHERE)
FLAGS = tuple(name for name, read in WITHOUT_EFFECT.items() if read is to_bool)


def describe(name: str) -> str:
    """What the help says of a published option."""
    return "no effect" if name in WITHOUT_EFFECT else SERVED_ELSEWHERE[name].instead


def check(name: str, text: str) -> None:
    """Check one published option's text.

    Raises:
        ValueError: malformed, or it asks for what training does not do.
    """
    if name in WITHOUT_EFFECT:
        WITHOUT_EFFECT[name](text.strip())
    elif text.strip().lower() not in (*FALSE_WORDS, NOTHING, ""):
        raise ValueError(f"{shown(text)} asks for what training does not do; {SERVED_ELSEWHERE[name].instead}")


def warn_without_effect(given: Mapping[str, str]) -> None:
    """One warning that names those of the given options that do nothing."""
    names = [name for name in WITHOUT_EFFECT if name in given]
    if names:
        verb = "has" if len(names) == 1 else "have"
        hint = "; rayMarch_weight_thres is the threshold in use" if "rm_weight_mask_thre" in names else ""
        _LOG.warning("%s %s no effect, here as in the published code%s", ", ".join(names), verb, hint)
