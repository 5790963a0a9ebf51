"""The stages of a DVGO run as plain values: one for contracted scenes, a coarse and a fine one for bounded scenes."""

from __future__ import annotations

from dataclasses import dataclass

from nerf_ssim.config import Config
from nerf_ssim.fields.dvgo import VoxelSettings

__all__ = ["Stage", "stages_of"]


@dataclass(frozen=True)
class Stage:
    """A part of a run with a field of its own. Its steps are counted from 1, as DVGO counts them.

    Attributes:
        starts_at: updates before it.
        settings: of its field.
        num_voxels: of its grid, after the last scaling.
        scalings: the steps before which the number of voxels doubles.
        thresholds: (step, fast_color_thres from then on), ascending.
        entropy_weight, point_weight, distortion_weight: of its losses.
        skip_zero: whether voxels without a gradient are left as they are.
    """

    starts_at: int
    settings: VoxelSettings
    num_voxels: int
    scalings: tuple[int, ...]
    thresholds: tuple[tuple[int, float], ...]
    entropy_weight: float
    point_weight: float
    distortion_weight: float
    skip_zero: bool

    def step_of(self, iteration: int) -> int:
        """The stage's own number of an update, from 1."""
        return iteration - self.starts_at + 1

    def threshold_at(self, step: int) -> float:
        """Opacity and weight above which a sample counts at a step."""
        return next(value for start, value in reversed(self.thresholds) if start <= step)

    def voxels_from(self, scalings_done: int) -> int:
        """Number of voxels after so many scalings."""
        return self.num_voxels >> (len(self.scalings) - scalings_done)


def stages_of(config: Config) -> tuple[Stage, ...]:
    """The stages that the options describe, in order."""
    dvgo, model = config.dvgo, config.model
    fine = Stage(
        starts_at=config.schedule_starts_at,
        settings=VoxelSettings(
            dvgo.num_voxels_base,
            dvgo.alpha_init,
            dvgo.stepsize,
            dvgo.rgbnet_dim,
            dvgo.rgbnet_depth,
            dvgo.rgbnet_width,
            dvgo.viewbase_pe,
            model.decoder_precision,
            model.grid,
            model.n_lamb_sigma,
            model.n_lamb_sh,
        ),
        num_voxels=dvgo.num_voxels,
        scalings=dvgo.pg_scale,
        thresholds=dvgo.fast_color_thres,
        entropy_weight=dvgo.weight_entropy_last,
        point_weight=dvgo.weight_rgbper,
        distortion_weight=dvgo.weight_distortion,
        skip_zero=True,
    )
    if dvgo.unbounded_inward:
        return (fine,)
    coarse = Stage(
        starts_at=0,
        settings=VoxelSettings(
            dvgo.coarse_num_voxels, dvgo.coarse_alpha_init, dvgo.stepsize, 0, dvgo.rgbnet_depth, dvgo.rgbnet_width, 0
        ),
        num_voxels=dvgo.coarse_num_voxels,
        scalings=(),
        thresholds=((0, dvgo.coarse_fast_color_thres),),
        entropy_weight=dvgo.coarse_weight_entropy_last,
        point_weight=dvgo.coarse_weight_rgbper,
        distortion_weight=0.0,
        skip_zero=False,
    )
    return coarse, fine
