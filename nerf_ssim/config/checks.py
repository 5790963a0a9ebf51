"""What options of several kinds of run must agree on with each other, checked before any work."""

from __future__ import annotations

from nerf_ssim.config.sections import CommonRunConfig, RunConfig, ScheduleConfig, SsimConfig
from nerf_ssim.errors import ConfigError


def check_run(run: CommonRunConfig) -> None:
    """Refuse contradictions among the options that every kind of run has.

    Raises:
        ConfigError: names the options, their values and what to change; so do the checks below.
    """
    if run.resume and run.overwrite:
        raise ConfigError("resume and overwrite contradict each other; give one of them")
    if run.allow_changes and not run.resume:
        raise ConfigError("allow_changes: goes with resume, which is not given; a new run takes any options")
    if run.stop_at is not None and run.stop_at > run.n_iters:
        raise ConfigError(f"stop_at: {run.stop_at} is beyond n_iters {run.n_iters}; lower it or raise n_iters")


def check_moments(run: RunConfig) -> None:
    """Refuse scorings and checkpoints at moments that never come or are out of order."""
    for name in ("vis_at", "save_at"):
        updates = getattr(run, name)
        check_ascending(name, updates)
        if updates and updates[-1] > run.n_iters:
            raise ConfigError(f"{name}: {updates[-1]} is beyond n_iters {run.n_iters}; lower it or raise n_iters")


def check_schedule(ssim: ScheduleConfig, weight: tuple[str, float], n_iters: int) -> None:
    """Refuse a schedule that never has SSIM on, or that ends beyond the run; `weight` is its option and value."""
    name, value = weight
    if isinstance(ssim.ssim_remove_at, int):
        if ssim.ssim_remove_at <= ssim.ssim_add_at:
            raise ConfigError(
                f"ssim_remove_at: {ssim.ssim_remove_at} is not after ssim_add_at {ssim.ssim_add_at}, so SSIM would "
                f"never be on; for that, give {name} 0"
            )
        if ssim.ssim_remove_at > n_iters:
            raise ConfigError(f"ssim_remove_at: {ssim.ssim_remove_at} is beyond n_iters {n_iters}; for that, give end")
    if value > 0 and ssim.ssim_add_at >= n_iters:
        raise ConfigError(
            f"ssim_add_at: {ssim.ssim_add_at} would never come with n_iters {n_iters}; for a run without SSIM give "
            f"{name} 0"
        )


def check_part(ssim: ScheduleConfig) -> None:
    """Refuse weights of SSIM's parts where the term is not their sum, or a sum of nothing."""
    weights = {name: getattr(ssim, name) for name in ("ssim_luminance_weight", "ssim_structure_weight")}
    for name, value in weights.items():
        if value is not None and ssim.ssim_part != "sum":
            raise ConfigError(
                f"{name}: {value} has no effect with ssim_part {ssim.ssim_part}; give ssim_part sum, or no {name}"
            )
    if all(value == 0 for value in weights.values()):
        raise ConfigError(f"{' and '.join(weights)} are both 0; for a run without SSIM give its own weight as 0")


def check_patch(ssim: SsimConfig, batch_size: int) -> None:
    """Refuse a batch that is no patch of S3IM's, or a window that does not fit its image."""
    if ssim.s3im_weight == 0 and ssim.luminance_every == 0:
        return
    height, width = ssim.s3im_patch_height, ssim.s3im_patch_width
    if height * width != batch_size:
        raise ConfigError(
            f"batch_size: {batch_size} is not s3im_patch_height*s3im_patch_width = {height}*{width} = "
            f"{height * width}; make them equal, or do without SSIM and its measurement (s3im_weight 0 and "
            "luminance_every 0)"
        )
    if ssim.s3im_kernel > min(height, width * ssim.s3im_repeat_time):
        raise ConfigError(
            f"s3im_kernel: {ssim.s3im_kernel} does not fit an image of {height} x {width * ssim.s3im_repeat_time} "
            "(s3im_patch_height x s3im_patch_width*s3im_repeat_time); use a smaller one"
        )


def check_ascending(name: str, values: tuple[int, ...]) -> None:
    """Refuse a list in which a value is not above the one before."""
    for earlier, later in zip(values, values[1:], strict=False):
        if later <= earlier:
            raise ConfigError(f"{name}: {list(values)} is not ascending ({later} after {earlier})")
