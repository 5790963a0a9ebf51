"""What happens at which iteration: the SSIM schedule that options describe, the last update, what is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from nerf_ssim.config.sections import CommonRunConfig, ScheduleConfig
from nerf_ssim.ops.ssim_window import SsimMix
from nerf_ssim.runs import schema
from nerf_ssim.ssim.parts import mix_of_part
from nerf_ssim.ssim.schedule import SsimSchedule

__all__ = ["is_due", "last_iteration", "make_mix", "make_schedule", "schedule_schema", "value_at"]

OF_AUTO = "ssim_auto_"


def make_schedule(ssim: ScheduleConfig, weight: float, n_iters: int, starts_at: int = 0) -> SsimSchedule:
    """The SSIM schedule that the options describe, of a term of this weight in a run of `n_iters` updates, counted
    from iteration `starts_at`.

    An option `ssim_auto_NAME` is the schedule's argument NAME, so that one more is declared and needs no line here.
    """
    names = [field.name for field in fields(ssim) if field.name.startswith(OF_AUTO)]
    return SsimSchedule(
        weight,
        ssim.ssim_add_at,
        ssim.ssim_remove_at,
        length=n_iters - starts_at,
        starts_at=starts_at,
        **{name.removeprefix(OF_AUTO): getattr(ssim, name) for name in names},
        part=ssim.ssim_part if ssim.ssim_part != "sum" else "sum {:g} {:g}".format(*make_mix(ssim)[1:]),
    )


def make_mix(ssim: ScheduleConfig) -> SsimMix:
    """What the options make the SSIM term of."""
    a, b = ssim.ssim_luminance_weight, ssim.ssim_structure_weight
    return mix_of_part(ssim.ssim_part, 1.0 if a is None else a, 1.0 if b is None else b)


def last_iteration(run: CommonRunConfig) -> int:
    """Updates after which a run stops and scores."""
    return run.n_iters if run.stop_at is None else min(run.stop_at, run.n_iters)


def value_at(steps: Sequence[tuple[int, float]], iteration: int) -> float:
    """The value that holds at an iteration, of (first iteration, value) pairs that ascend from 0."""
    return next(value for start, value in reversed(steps) if start <= iteration)


def is_due(count: int, every: int) -> bool:
    """Whether `count` is a multiple of `every`; never where `every` is 0."""
    return every > 0 and count % every == 0


def schedule_schema() -> schema.Schema:
    """What a schedule's `load_state_dict` takes."""
    value = schema.number(0)
    monitor = {
        "weighted": schema.number(),
        "weight": value,
        "peak": schema.number(),
        "recent": schema.list_of(schema.number()),
    }
    return schema.record({"removed_at": schema.either_none_or(schema.whole(0)), "convergence": schema.record(monitor)})
