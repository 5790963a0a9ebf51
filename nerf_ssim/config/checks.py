"""What options must agree on with each other, checked before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nerf_ssim.errors import ConfigError

if TYPE_CHECKING:
    from .config import Config
    from .sections import CommonRunConfig, ModelConfig, ScheduleConfig


def cross_check(config: Config) -> None:
    """Refuse options that contradict each other.

    Raises:
        ConfigError: names the options, their values and what to change.
    """
    _check_run(config)
    _check_components(config.model)
    if config.model_kind == "dvgo":
        check_dvgo(config)
    else:
        _check_model(config)
        _check_events(config)
    _check_ssim(config)


def check_run(run: CommonRunConfig) -> None:
    """Refuse contradictions among the options that every kind of run has."""
    if run.resume and run.overwrite:
        raise ConfigError("resume and overwrite contradict each other; give one of them")
    if run.stop_at is not None and run.stop_at > run.n_iters:
        raise ConfigError(f"stop_at: {run.stop_at} is beyond n_iters {run.n_iters}; lower it or raise n_iters")


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


def _check_run(config: Config) -> None:
    run = config.run
    check_run(run)
    for name in ("vis_at", "save_at"):
        updates = getattr(run, name)
        check_ascending(name, updates)
        if updates and updates[-1] > run.n_iters:
            raise ConfigError(f"{name}: {updates[-1]} is beyond n_iters {run.n_iters}; lower it or raise n_iters")


def _check_components(model: ModelConfig) -> None:
    canonical = {"vm": ("[16,16,16]", "[48,48,48]"), "cp": ("[96]", "[288]")}
    for name, example in zip(("n_lamb_sigma", "n_lamb_sh"), canonical.get(model.grid, ()), strict=False):
        value, count = getattr(model, name), 3 if model.grid == "vm" else 1
        if len(value) != count:
            raise ConfigError(
                f"{name}: {list(value)} has {len(value)} numbers where grid {model.grid} takes {count}; "
                f"canonical is {example}"
            )


def _check_model(config: Config) -> None:
    model = config.model
    if config.optim.lr_decay_iters == 0:
        raise ConfigError("lr_decay_iters: 0 is out of range; it must be at least 1, or -1 for n_iters")
    if model.N_voxel_final < model.N_voxel_init:
        raise ConfigError(
            f"N_voxel_final: {model.N_voxel_final} is less than N_voxel_init {model.N_voxel_init}; "
            "upsampling cannot make a grid coarser"
        )
    if model.grid == "dense" and config.optim.Ortho_weight > 0:
        raise ConfigError(
            f"Ortho_weight: {config.optim.Ortho_weight} is of components, which grid dense does not have; give 0"
        )
    needed = {"SH": 27, "RGB": 3}.get(model.shadingMode)
    if needed is not None and model.data_dim_color != needed:
        raise ConfigError(
            f"data_dim_color: {model.data_dim_color} does not go with shadingMode {model.shadingMode}, "
            f"which takes {needed}"
        )
    if model.decoder_precision != "float32" and model.shadingMode != "MLP_Fea":
        raise ConfigError(
            f"decoder_precision: {model.decoder_precision} is there for shadingMode MLP_Fea only, not "
            f"{model.shadingMode}; use float32"
        )


def _check_events(config: Config) -> None:
    n_iters = config.run.n_iters
    for name in ("upsamp_list", "update_AlphaMask_list"):
        iterations = getattr(config.model, name)
        check_ascending(name, iterations)
        if iterations and iterations[-1] >= n_iters:
            raise ConfigError(
                f"{name}: {iterations[-1]} would never come with n_iters {n_iters}; shorten the list, or keep n_iters "
                "and end early with stop_at"
            )


def _check_ssim(config: Config) -> None:
    ssim = config.ssim
    after_coarse = config.run.n_iters - config.schedule_starts_at  # the schedule counts from there
    check_schedule(ssim, ("s3im_weight", ssim.s3im_weight), after_coarse)
    if ssim.s3im_weight == 0 and ssim.luminance_every == 0:
        return
    height, width, batch = ssim.s3im_patch_height, ssim.s3im_patch_width, config.optim.batch_size
    if height * width != batch:
        raise ConfigError(
            f"batch_size: {batch} is not s3im_patch_height*s3im_patch_width = {height}*{width} = {height * width}; "
            "make them equal, or do without SSIM and its measurement (s3im_weight 0 and luminance_every 0)"
        )
    if ssim.s3im_kernel > min(height, width * ssim.s3im_repeat_time):
        raise ConfigError(
            f"s3im_kernel: {ssim.s3im_kernel} does not fit an image of {height} x {width * ssim.s3im_repeat_time} "
            "(s3im_patch_height x s3im_patch_width*s3im_repeat_time); use a smaller one"
        )


def check_dvgo(config: Config) -> None:
    """Refuse DVGO's options that contradict each other; raises `ConfigError`."""
    dvgo, n_iters = config.dvgo, config.run.n_iters
    fine_iters = n_iters - config.schedule_starts_at
    if fine_iters < 1:
        raise ConfigError(
            f"n_iters: {n_iters} leaves no update after the {dvgo.coarse_iters} of the coarse stage (coarse_iters), "
            "which it includes; raise it, or contract the scene with unbounded_inward 1"
        )
    check_ascending("pg_scale", dvgo.pg_scale)
    if dvgo.pg_scale and dvgo.pg_scale[-1] > fine_iters:
        raise ConfigError(
            f"pg_scale: {dvgo.pg_scale[-1]} would never come with {fine_iters} updates (n_iters); shorten the list, or "
            "keep n_iters and end early with stop_at"
        )
    if dvgo.num_voxels >> len(dvgo.pg_scale) < 8:
        raise ConfigError(
            f"num_voxels: {dvgo.num_voxels} halved for each of the {len(dvgo.pg_scale)} scalings of pg_scale leaves "
            "fewer than 8 to start with; raise it or shorten the list"
        )
    precision = config.model.decoder_precision
    if precision != "float32" and (dvgo.rgbnet_dim == 0 or dvgo.rgbnet_depth != 3):
        raise ConfigError(
            f"decoder_precision: {precision} is there for a colour network of three layers only (rgbnet_depth 3 and "
            "rgbnet_dim above 0); use float32"
        )
    if not dvgo.unbounded_inward and dvgo.weight_distortion > 0:
        raise ConfigError(
            f"weight_distortion: {dvgo.weight_distortion} is a loss of the contracted model; with unbounded_inward 0 "
            "give 0 (the bundled dvgo_bounded.txt has the bounded model's values)"
        )


def check_ascending(name: str, values: tuple[int, ...]) -> None:
    """Raises `ConfigError` unless each value is above the one before."""
    for earlier, later in zip(values, values[1:], strict=False):
        if later <= earlier:
            raise ConfigError(f"{name}: {list(values)} is not ascending ({later} after {earlier})")
