"""TensoRF's options, under the names that its users know, with the canonical defaults on Replica."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nerf_ssim.config.checks import check_ascending
from nerf_ssim.config.options import option
from nerf_ssim.datasets.options import BOX_CENTRES
from nerf_ssim.errors import ConfigError
from nerf_ssim.memory import Need
from nerf_ssim.models.options import ModelOptions
from nerf_ssim.models.sizes import batch_need, grid_numbers, grids_need

if TYPE_CHECKING:
    from nerf_ssim.models.tensorf.recipe import TensorfRecipe

SHALLOWEST, USUAL_DEPTH = 5.0, 60.0  # far times distance_scale: below the one, unit density is hardly seen
_FEATURES_OF_MODE = {"SH": 27, "RGB": 3}


@dataclass(frozen=True)
class TensorfOptions(ModelOptions):
    """TensoRF: factorised grids, decoder, sampling, occupancy and its optimiser."""

    learning_rates = ("lr_init", "lr_basis")

    N_voxel_init: int = option(100**3, "voxels at the start", at_least=8, at_most=2**40)
    N_voxel_final: int = option(300**3, "voxels after the last upsampling", at_least=8, at_most=2**40)
    upsamp_list: tuple[int, ...] = option(
        (2000, 3000, 4000, 5500, 7000), "iterations after which the grids are upsampled", at_least=0
    )
    update_AlphaMask_list: tuple[int, ...] = option(
        (2000, 4000),
        "iterations after which the occupancy mask is made anew; the first also shrinks the box, the second drops the "
        "rays that meet nothing",
        at_least=0,
    )
    data_dim_color: int = option(27, "features that the decoder gets", at_least=1, at_most=1024)
    density_shift: float = option(-10.0, "added to the density feature before softplus")
    distance_scale: float = option(25.0, "factor on distances in compositing", above=0)
    alpha_mask_thre: float = option(
        1e-4, "opacity from which a cell counts as occupied", at_least=0, below=1, adjustable=True
    )
    rayMarch_weight_thres: float = option(
        1e-4, "weight above which a sample's colour is computed", at_least=0, below=1, adjustable=True
    )
    fea2denseAct: str = option("softplus", "density activation", choices=("softplus", "relu"))
    shadingMode: str = option("MLP_PE", "colour decoder", choices=("MLP_PE", "MLP_Fea", "MLP", "SH", "RGB"))
    pos_pe: int = option(6, "frequencies of the position's encoding (MLP_PE)", at_least=0, at_most=16)
    view_pe: int = option(6, "frequencies of the view direction's encoding", at_least=0, at_most=16)
    fea_pe: int = option(6, "frequencies of the features' encoding (MLP_Fea)", at_least=0, at_most=16)
    featureC: int = option(128, "hidden width of the decoder", at_least=1, at_most=4096)
    step_ratio: float = option(0.5, "distance between samples, in voxels", at_least=0.05, at_most=16)
    nSamples: int = option(1000000, "most samples along a ray", at_least=1, at_most=10**9)
    color_samples: int = option(
        0,
        "in training, samples a ray that get a colour, drawn in proportion to their weight from those above "
        "rayMarch_weight_thres so that colours and gradients are unbiased; 0 for all of them, as published",
        at_least=0,
        at_most=10**6,
    )
    test_color_samples: int = option(
        0,
        "the same in tests, evenly spread over the weights instead of drawn; 0 for all of them, as published",
        at_least=0,
        at_most=10**6,
        may_change=True,
    )
    recompute: bool = option(
        False, "less memory: colours are computed again for their gradient, instead of keeping what they were made of"
    )
    ndc_ray: bool = option(
        False,
        "for forward-facing scenes: train in normalised device coordinates, from a near plane before the cameras to "
        "infinity; the scene's box and its scale have no say then",
    )
    aabb_scale: float = option(1.2, "factor on the scene's box", above=0, at_most=100)
    box_about: str = option(
        "centre",
        "point that the scene's box is scaled about: its own centre, or the origin, as published, which moves a box "
        "that is not centred there off its scene",
        choices=BOX_CENTRES,
    )

    lr_init: float = option(0.02, "learning rate of the grids", above=0, at_most=1e37, adjustable=True)
    lr_basis: float = option(1e-3, "learning rate of the basis and the decoder", above=0, at_most=1e37, adjustable=True)
    lr_decay_iters: int = option(
        -1, "iterations over which the rates fall by lr_decay_target_ratio; -1 for n_iters", at_least=-1
    )
    lr_decay_target_ratio: float = option(0.1, "factor of that fall", above=0, at_most=1, adjustable=True)
    lr_upsample_reset: bool = option(True, "rates go back to the initial ones at each upsampling")
    L1_weight_inital: float = option(0.0, "weight of density's L1 until the first mask", at_least=0, adjustable=True)
    L1_weight_rest: float = option(0.0, "weight of density's L1 from the first mask on", at_least=0, adjustable=True)
    Ortho_weight: float = option(0.0, "weight of the components' orthogonality", at_least=0, adjustable=True)
    TV_weight_density: float = option(0.0, "weight of the density grids' total variation", at_least=0, adjustable=True)
    TV_weight_app: float = option(0.0, "weight of the appearance grids' total variation", at_least=0, adjustable=True)

    @property
    def streams(self) -> tuple[str, ...]:
        """The jitter of samples, the coin for the background, initial weights and, where they are drawn, colours."""
        names = ("jitter", "background", "init")
        return (*names, "colors") if self.color_samples else names

    def lengthened(self, n_iters: int, iteration: int) -> tuple[dict[str, Any], list[str]]:
        """The rates go on falling at the pace that they had."""
        pending = [at for at in self.upsamp_list if iteration <= at < n_iters]
        if not self.lr_upsample_reset and pending:
            raise ConfigError(
                f"n_iters: the rates after the upsampling at {pending[-1]} depend on it (lr_upsample_reset 0); let the "
                "run come past that with the n_iters that it has"
            )
        if self.lr_decay_iters > 0:
            return {}, []
        return {"lr_decay_iters": n_iters}, [f"learning rates go on falling at their pace (lr_decay_iters {n_iters})"]

    def scale_warning(self, far: float) -> str:
        """Density counts per unit of length: in a scene that is tiny in its units, all that there is stays clear."""
        if self.ndc_ray or far * self.distance_scale >= SHALLOWEST:
            return ""
        suited = self.distance_scale * 10.0 ** round(math.log10(USUAL_DEPTH / (far * self.distance_scale)))
        return (
            f"warning: the scene is small in its own units (far is {far:.3g}): with distance_scale "
            f"{self.distance_scale:g} hardly any density is seen in it; start anew with --distance_scale {suited:g}"
        )

    def recipe(self) -> type[TensorfRecipe]:
        """Coarse to fine, with an occupancy mask."""
        from nerf_ssim.models.tensorf.recipe import TensorfRecipe

        return TensorfRecipe

    def check(self, n_iters: int) -> None:
        """Refuse TensoRF's options that contradict each other; raises `ConfigError`."""
        super().check(n_iters)
        self._check_field()
        for name in ("upsamp_list", "update_AlphaMask_list"):
            check_ascending(name, getattr(self, name))

    def needs(self, updates: int) -> list[Need]:
        """The grids after the last upsampling that comes, and a batch's samples before the first mask."""
        due = sum(at < updates for at in self.upsamp_list)
        growth = self.N_voxel_final / self.N_voxel_init
        voxels = self.N_voxel_init * growth ** (due / max(1, len(self.upsamp_list)))
        numbers = grid_numbers(self.grid, voxels, self.n_lamb_sigma, 1)
        numbers += grid_numbers(self.grid, voxels, self.n_lamb_sh, self.data_dim_color)
        places = min(self.nSamples, 3**0.5 * self.N_voxel_init ** (1 / 3) / self.step_ratio)
        return [
            grids_need(voxels, numbers, ["N_voxel_final"] if due else ["N_voxel_init"]),
            batch_need(self.batch_size, places, ["batch_size", "nSamples"]),
        ]

    def milestones(self, n_iters: int) -> list[tuple[str, tuple[int, ...], int]]:
        """Upsamplings and masks, which come after the update of their number: the last is that of n_iters - 1."""
        return [(name, getattr(self, name), n_iters - 1) for name in ("upsamp_list", "update_AlphaMask_list")]

    def _check_field(self) -> None:
        if self.lr_decay_iters == 0:
            raise ConfigError("lr_decay_iters: 0 is out of range; it must be at least 1, or -1 for n_iters")
        if self.N_voxel_final < self.N_voxel_init:
            raise ConfigError(
                f"N_voxel_final: {self.N_voxel_final} is less than N_voxel_init {self.N_voxel_init}; "
                "upsampling cannot make a grid coarser"
            )
        if self.grid == "dense" and self.Ortho_weight > 0:
            raise ConfigError(
                f"Ortho_weight: {self.Ortho_weight} is of components, which grid dense does not have; give 0"
            )
        needed = _FEATURES_OF_MODE.get(self.shadingMode)
        if needed is not None and self.data_dim_color != needed:
            raise ConfigError(
                f"data_dim_color: {self.data_dim_color} does not go with shadingMode {self.shadingMode}, "
                f"which takes {needed}"
            )
        if self.decoder_precision != "float32" and self.shadingMode != "MLP_Fea":
            raise ConfigError(
                f"decoder_precision: {self.decoder_precision} is there for shadingMode MLP_Fea only, not "
                f"{self.shadingMode}; use float32"
            )
