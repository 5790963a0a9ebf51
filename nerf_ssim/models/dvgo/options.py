"""DVGO's options, under the names that its users know.

Defaults are the canonical ones of the contracted model on Replica; a bounded run takes other values of many of them,
which the bundled `dvgo_bounded.txt` sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nerf_ssim.config.checks import check_ascending
from nerf_ssim.config.options import option
from nerf_ssim.errors import ConfigError
from nerf_ssim.memory import Need
from nerf_ssim.models.options import ModelOptions, with_default
from nerf_ssim.models.sizes import batch_need, grid_numbers, grids_need

if TYPE_CHECKING:
    from nerf_ssim.models.dvgo.recipe import DvgoRecipe

_FROM_ONE = "updates counted from 1, in the bounded model from the fine stage's first"


@dataclass(frozen=True)
class DvgoOptions(ModelOptions):
    """DVGO: voxel grids, its losses and its optimiser."""

    defaults = {"seed": 777, "white_bg": True}
    learning_rates = ("lrate_density", "lrate_k0", "lrate_rgbnet")
    counterparts = {
        "N_voxel_init": "num_voxels and pg_scale",
        "N_voxel_final": "num_voxels",
        "upsamp_list": "pg_scale",
        "density_shift": "alpha_init",
        "rayMarch_weight_thres": "fast_color_thres",
        "data_dim_color": "rgbnet_dim",
        "featureC": "rgbnet_width",
        "view_pe": "viewbase_pe",
        "step_ratio": "stepsize",
        "lr_init": "lrate_density and lrate_k0",
        "lr_basis": "lrate_rgbnet",
        "lr_decay_iters": "lrate_decay",
        "TV_weight_density": "weight_tv_density",
        "TV_weight_app": "weight_tv_k0",
    }

    model: str = with_default("model", "dvgo")
    grid: str = with_default("grid", "dense")

    unbounded_inward: bool = option(
        True, "contract the space around the cameras; 0, bounded: a coarse stage finds the box and a fine one fills it"
    )
    num_voxels: int = option(320**3, "voxels after the last scaling", at_least=8, at_most=2**36)
    num_voxels_base: int = option(320**3, "voxels whose size is the unit of a step's length", at_least=8, at_most=2**36)
    pg_scale: tuple[int, ...] = option(
        (1000, 2000, 3000, 4000, 5000, 6000, 7000),
        f"before these updates the number of voxels doubles ({_FROM_ONE})",
        at_least=1,
    )
    decay_after_scale: float = option(1.0, "what the density's shift loses at each scaling", at_least=0)
    alpha_init: float = option(1e-4, "opacity of a base voxel at the start", above=0, below=1)
    stepsize: float = option(0.5, "distance between samples, in voxels", at_least=0.05, at_most=16)
    fast_color_thres: tuple[tuple[int, float], ...] = option(
        ((0, 5e-6), (1500, 1e-5), (2500, 2.5e-5), (3500, 1e-4 / 3), (4500, 5e-5), (5500, 1e-4)),
        f"opacity and weight above which a sample counts, one number or {{update: number, ...}} ({_FROM_ONE})",
        at_least=0,
        below=1,
        adjustable=True,
    )
    bg_len: float = option(0.2, "thickness of the shell that holds all outside the unit ball", above=0, at_most=16)
    rgbnet_dim: int = option(12, "colour features of a voxel; 0 for colours and no network", at_least=0, at_most=1024)
    rgbnet_depth: int = option(3, "layers of the colour network", at_least=2, at_most=16)
    rgbnet_width: int = option(128, "its hidden width", at_least=1, at_most=4096)
    rgbnet_direct: bool = option(
        True, "the network makes the colour; 0: it adds to a colour that the first three features are (before sigmoid)"
    )
    viewbase_pe: int = option(4, "frequencies of the view direction's encoding", at_least=0, at_most=16)
    rand_bkgd: bool = option(True, "a random colour behind each ray in training; 0 for the test background")

    lrate_density: float = option(0.1, "learning rate of the density grid", above=0, adjustable=True)
    lrate_k0: float = option(0.1, "learning rate of the colour grid", above=0, adjustable=True)
    lrate_rgbnet: float = option(1e-3, "learning rate of the colour network", above=0, adjustable=True)
    lrate_decay: float = option(
        20.0, "thousands of updates in which the rates fall to a tenth", above=0, adjustable=True
    )
    weight_distortion: float = option(0.01, "weight of the distortion loss", at_least=0, adjustable=True)
    weight_entropy_last: float = option(1e-3, "weight of the background's entropy", at_least=0, adjustable=True)
    weight_rgbper: float = option(0.01, "weight of the colour error of single samples", at_least=0, adjustable=True)
    weight_tv_density: float = option(1e-6, "weight of the density grid's total variation", at_least=0, adjustable=True)
    weight_tv_k0: float = option(1e-7, "weight of the colour grid's total variation", at_least=0, adjustable=True)
    tv_every: int = option(1, "updates between those with total variation", at_least=1)
    tv_after: int = option(0, f"total variation comes after this update ({_FROM_ONE})", at_least=0)
    tv_before: int = option(10**9, "and before this one", at_least=0)
    tv_dense_before: int = option(10000, "until this update it reaches voxels without a gradient too", at_least=0)

    coarse_iters: int = option(5000, "bounded: updates of the coarse stage, which n_iters includes", at_least=1)
    coarse_num_voxels: int = option(1024000, "bounded: voxels of the coarse stage", at_least=8, at_most=2**36)
    coarse_alpha_init: float = option(1e-6, "bounded: opacity of a coarse voxel at the start", above=0, below=1)
    coarse_fast_color_thres: float = option(
        1e-7, "bounded: the coarse stage's threshold", at_least=0, below=1, adjustable=True
    )
    coarse_lrate_density: float | None = option(
        None, "bounded: lrate_density in the coarse stage; none for the same", above=0
    )
    coarse_lrate_k0: float | None = option(None, "bounded: lrate_k0 in the coarse stage; none for the same", above=0)
    coarse_weight_entropy_last: float = option(
        0.01, "bounded: weight_entropy_last in the coarse stage", at_least=0, adjustable=True
    )
    coarse_weight_rgbper: float = option(0.1, "bounded: weight_rgbper in the coarse stage", at_least=0, adjustable=True)
    pervoxel_lr: bool = option(True, "bounded: coarse density learns at a rate that grows with the views of a voxel")
    pervoxel_lr_downrate: int = option(
        1, "bounded: views are counted by every so many-th row and column of their pixels", at_least=1, at_most=1024
    )
    maskout_near_cam_vox: bool = option(True, "bounded: coarse voxels nearer than near to a camera start empty")
    bbox_thres: float = option(
        1e-3, "bounded: the fine box holds all coarse opacity above this", at_least=0, below=1, adjustable=True
    )
    mask_cache_thres: float = option(
        1e-3, "bounded: the fine mask, coarse opacity from this on", at_least=0, below=1, adjustable=True
    )
    world_bound_scale: float = option(1.0, "bounded: factor on the fine box, about its centre", at_least=1, at_most=100)

    @property
    def schedule_starts_at(self) -> int:
        """The fine stage's first update; 0 where there is no coarse stage."""
        return 0 if self.unbounded_inward else self.coarse_iters

    @property
    def streams(self) -> tuple[str, ...]:
        """The random backgrounds and the initial weights."""
        return ("background", "init")

    def recipe(self) -> type[DvgoRecipe]:
        """In one stage where space is contracted, else in a coarse and a fine one."""
        if self.unbounded_inward:
            from nerf_ssim.models.dvgo.recipe import ContractedRecipe

            return ContractedRecipe
        from nerf_ssim.models.dvgo.bounded_recipe import BoundedRecipe

        return BoundedRecipe

    def needs(self, updates: int) -> list[Need]:
        """The grids at their largest, and a batch's samples at the start of the run."""
        fine_updates, scalings = updates - self.schedule_starts_at, len(self.pg_scale)
        due = sum(at <= fine_updates for at in self.pg_scale)
        fine = self.num_voxels >> (scalings - due) if fine_updates > 0 else 0
        numbers = grid_numbers(self.grid, fine, self.n_lamb_sigma, 1)
        numbers += grid_numbers(self.grid, fine, self.n_lamb_sh, self.rgbnet_dim or 3)
        largest = grids_need(fine, numbers, ["num_voxels"])
        if self.unbounded_inward:
            side = (self.num_voxels >> scalings) ** (1 / 3)
            places = 2 * side / (1 + self.bg_len) / self.stepsize
        else:
            voxels = self.coarse_num_voxels
            coarse = grids_need(voxels, 4 * voxels, ["coarse_num_voxels"])  # density and three colours
            largest = max(largest, coarse, key=lambda need: need.size)
            places = 3**0.5 * voxels ** (1 / 3) / self.stepsize
        return [largest, batch_need(self.batch_size, places, ["batch_size"])]

    def milestones(self, n_iters: int) -> list[tuple[str, tuple[int, ...], int]]:
        """Scalings, before updates that are counted from the fine stage's first."""
        return [("pg_scale", self.pg_scale, n_iters - self.schedule_starts_at)]

    def check(self, n_iters: int) -> None:
        """Refuse DVGO's options that contradict each other; raises `ConfigError`."""
        super().check(n_iters)
        fine_iters = n_iters - self.schedule_starts_at
        if fine_iters < 1:
            raise ConfigError(
                f"n_iters: {n_iters} leaves no update after the {self.coarse_iters} of the coarse stage "
                "(coarse_iters), which it includes; raise it, or contract the scene with unbounded_inward 1"
            )
        check_ascending("pg_scale", self.pg_scale)
        if self.num_voxels >> len(self.pg_scale) < 8:
            raise ConfigError(
                f"num_voxels: {self.num_voxels} halved for each of the {len(self.pg_scale)} scalings of pg_scale "
                "leaves fewer than 8 to start with; raise it or shorten the list"
            )
        has_kernel = self.rgbnet_dim > 0 and self.rgbnet_depth == 3 and self.rgbnet_direct
        if self.decoder_precision != "float32" and not has_kernel:
            raise ConfigError(
                f"decoder_precision: {self.decoder_precision} is there for a colour network of three layers only "
                "(rgbnet_depth 3, rgbnet_dim above 0 and rgbnet_direct 1); use float32"
            )
        if not self.rgbnet_direct and self.rgbnet_dim < 4:
            raise ConfigError(
                f"rgbnet_direct: 0 wants at least four colour features, three of them a colour, and rgbnet_dim is "
                f"{self.rgbnet_dim}; raise it"
            )
        if not self.unbounded_inward and self.weight_distortion > 0:
            raise ConfigError(
                f"weight_distortion: {self.weight_distortion} is a loss of the contracted model; with "
                "unbounded_inward 0 give 0 (the bundled dvgo_bounded.txt has the bounded model's values)"
            )
