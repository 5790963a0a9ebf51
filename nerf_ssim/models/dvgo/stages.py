"""The stages of a DVGO run as plain values: one for contracted scenes, a coarse and a fine one for bounded scenes."""

from __future__ import annotations

from dataclasses import dataclass

from nerf_ssim.models.dvgo.field import VoxelSettings
from nerf_ssim.models.dvgo.options import DvgoOptions
from nerf_ssim.runs.schedule import value_at

__all__ = ["Stage", "coarse_stage", "fine_stage"]


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
        rates: learning rates of the density and the colour grid.
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
    rates: tuple[float, float]

    def step_of(self, iteration: int) -> int:
        """The stage's own number of an update, from 1."""
        return iteration - self.starts_at + 1

    def threshold_at(self, step: int) -> float:
        """Opacity and weight above which a sample counts at a step."""
        return value_at(self.thresholds, step)

    def voxels_from(self, scalings_done: int) -> int:
        """Number of voxels after so many scalings."""
        return self.num_voxels >> (len(self.scalings) - scalings_done)


def fine_stage(dvgo: DvgoOptions) -> Stage:
    """The stage that the options describe: the only one of a contracted scene, the second one of a bounded scene."""
    return Stage(
        starts_at=dvgo.schedule_starts_at,
        settings=VoxelSettings(
            dvgo.num_voxels_base,
            dvgo.alpha_init,
            dvgo.stepsize,
            dvgo.rgbnet_dim,
            dvgo.rgbnet_depth,
            dvgo.rgbnet_width,
            dvgo.viewbase_pe,
            dvgo.decoder_precision,
            dvgo.grid,
            dvgo.n_lamb_sigma,
            dvgo.n_lamb_sh,
            dvgo.rgbnet_direct,
        ),
        num_voxels=dvgo.num_voxels,
        scalings=dvgo.pg_scale,
        thresholds=dvgo.fast_color_thres,
        entropy_weight=dvgo.weight_entropy_last,
        point_weight=dvgo.weight_rgbper,
        distortion_weight=dvgo.weight_distortion,
        skip_zero=True,
        rates=(dvgo.lrate_density, dvgo.lrate_k0),
    )


def coarse_stage(dvgo: DvgoOptions) -> Stage:
    """A bounded scene's first stage: a dense grid of colours, without a network."""
    return Stage(
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
        rates=(
            dvgo.lrate_density if dvgo.coarse_lrate_density is None else dvgo.coarse_lrate_density,
            dvgo.lrate_k0 if dvgo.coarse_lrate_k0 is None else dvgo.coarse_lrate_k0,
        ),
    )
