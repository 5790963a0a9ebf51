"""What happens at which iteration: the SSIM schedule that options describe, the last update, what is due."""

from __future__ import annotations

from nerf_ssim.config.sections import CommonRunConfig, ScheduleConfig
from nerf_ssim.runs import schema
from nerf_ssim.ssim.schedule import SsimSchedule

__all__ = ["is_due", "last_iteration", "make_schedule", "schedule_schema"]


def make_schedule(ssim: ScheduleConfig, weight: float, starts_at: int = 0) -> SsimSchedule:
    """The SSIM schedule that the options describe, of a term of this weight, counted from iteration `starts_at`."""
    return SsimSchedule(
        weight,
        ssim.ssim_add_at,
        ssim.ssim_remove_at,
        tolerance=ssim.ssim_auto_tolerance,
        patience=ssim.ssim_auto_patience,
        starts_at=starts_at,
    )


def last_iteration(run: CommonRunConfig) -> int:
    """Updates after which a run stops and scores."""
    return run.n_iters if run.stop_at is None else min(run.stop_at, run.n_iters)


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
