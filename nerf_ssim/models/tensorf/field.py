"""TensoRF (Chen et al. 2022): a density grid, an appearance grid, both factorised as a rule, and a colour decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nerf_ssim.models.parts.decoders import linear, make_decoder
from nerf_ssim.models.parts.grids import make_grid
from nerf_ssim.models.parts.occupancy import update_occupancy
from nerf_ssim.models.parts.rendering import ColorDraws, Render, in_recomputed_parts, render_samples
from nerf_ssim.models.tensorf.options import TensorfOptions
from nerf_ssim.ops.marching import OccupancyGrid, march_box
from nerf_ssim.ops.selection import Selected
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.rays.ndc import Ndc

__all__ = ["CellCrop", "TensoRF", "resolution_for", "samples_per_ray"]


class TensoRF(nn.Module):
    """A radiance field in a box.

    Args:
        settings: the model options (components, shading mode, thresholds …).
        aabb: the box `[2, 3]`, in world coordinates or, with `ndc`, in these.
        resolution: grid corners along x, y, z.
        near, far: the ray's entry into the box is clamped to this range (far does nothing else); unused with `ndc`.
        ndc: the coordinates of a forward-facing scene; None for those of the world.
        generator: draws the initial weights.

    Attributes:
        step_size: distance between samples, `step_ratio` of the mean cell size (float32 arithmetic, as published).
        full_samples_per_ray: samples that cover the box's diagonal; the final test uses this many.
    """

    name = "tensorf"
    aabb: Tensor
    ndc_frame: Tensor | None
    ndc_tangents: Tensor | None

    def __init__(
        self,
        settings: TensorfOptions,
        aabb: Tensor,
        resolution: Sequence[int],
        *,
        near: float,
        far: float,
        generator: torch.Generator,
        ndc: Ndc | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.near, self.far = near, far
        self.register_buffer("aabb", aabb.clone(), persistent=False)
        self.register_buffer("ndc_frame", None if ndc is None else ndc.frame.clone(), persistent=False)
        self.register_buffer("ndc_tangents", None if ndc is None else ndc.tangents.clone(), persistent=False)
        self._set_resolution(resolution)
        self.occupancy: OccupancyGrid | None = None
        kind, colors = settings.grid, settings.data_dim_color
        self.density_grid = make_grid(kind, resolution, settings.n_lamb_sigma, 1, generator)
        self.appearance_grid = make_grid(kind, resolution, settings.n_lamb_sh, colors, generator)
        self.basis = linear(self.appearance_grid.n_features, colors, generator, bias=False)
        self.decoder = make_decoder(
            settings.shadingMode,
            colors,
            hidden=settings.featureC,
            position_frequencies=settings.pos_pe,
            view_frequencies=settings.view_pe,
            feature_frequencies=settings.fea_pe,
            precision=settings.decoder_precision,
            generator=generator,
        )

    def render(
        self,
        rays: Rays,
        *,
        n_samples: int | None = None,
        jitter: Tensor | None = None,
        background: Tensor | float = 0.0,
        draws: ColorDraws | None = None,
        with_depth: bool = True,
    ) -> Render:
        """Colours of `rays`.

        Args:
            n_samples: steps a ray, None for `full_samples_per_ray`.
            jitter: one offset in [0, 1) a ray `[rays]`, in steps; None for none (test).
            background: grey level behind the scene, a number or a 0-dim tensor.
            draws: which of the samples that could have a colour get one; None for all.
            with_depth: whether the depth is wanted too.
        """
        settings = self.settings
        count, ndc_rays = n_samples or self.full_samples_per_ray, self.ndc.rays(rays) if self.ndc else None
        if ndc_rays is None:
            march = self.near, self.far, self.step_size, count, jitter, self.occupancy
            samples, directions = march_box(rays.origins, rays.directions, self.aabb, *march), rays.directions
        else:
            samples = ndc_rays.march(self.aabb, count, jitter, self.occupancy)
            directions = ndc_rays.unit_directions

        def color_of(some: Selected) -> Tensor:
            return self._decoded(some.coords, some.directions)

        render = render_samples(
            samples,
            self.density(samples.coords),
            directions,
            in_recomputed_parts(color_of) if settings.recompute else color_of,
            distance_scale=settings.distance_scale,
            weight_threshold=settings.rayMarch_weight_thres,
            background=background,
            draws=draws,
            with_depth=with_depth,
        )
        if ndc_rays is None or render.depth is None:
            return render
        # The mean distance would be infinity's: what is hit on average in NDC has a distance.
        hit = ndc_rays.distance(render.depth / render.opacity.clamp_min(1e-10))
        return replace(render, depth=hit * render.opacity)

    @property
    def ndc(self) -> Ndc | None:
        """The coordinates of the box; None for those of the world."""
        if self.ndc_frame is None or self.ndc_tangents is None:
            return None
        return Ndc(self.ndc_frame, self.ndc_tangents)

    def density(self, coords: Tensor) -> Tensor:
        """Density sigma `[samples]` at `coords [samples, 3]` in [-1, 1] of the box."""
        feature = self.density_grid.density(coords)
        if self.settings.fea2denseAct == "relu":
            return torch.relu(feature)
        return nn.functional.softplus(feature + self.settings.density_shift)

    def color(self, coords: Tensor, directions: Tensor) -> Tensor:
        """Colour `[n, 3]` at `coords [n, 3]` in [-1, 1] of the box, seen along the world's unit `directions [n, 3]`."""
        if self.ndc is not None:
            directions = self.ndc.directions_at(self._of_box(coords), directions)
        return self._decoded(coords, directions)

    @property
    def sides(self) -> Tensor:
        """The box's sides `[3]`, scene units or lengths in NDC."""
        return self.aabb[1] - self.aabb[0]

    def to_world(self, coords: Tensor) -> Tensor:
        """`coords [n, 3]` in [-1, 1] of the box as world points."""
        points = self._of_box(coords)
        return points if self.ndc is None else self.ndc.to_world(points)

    def from_world(self, points: Tensor) -> Tensor:
        """World `points [n, 3]` in [-1, 1] of the box."""
        return self._in_box(points if self.ndc is None else self.ndc.of_world(points))

    def extinction(self, coords: Tensor) -> Tensor:
        """Optical thickness `[n]` of a scene unit at `coords [n, 3]`; 0 where the mask is closed, as in a render."""
        thickness = self.density(coords) * self.settings.distance_scale
        return thickness if self.occupancy is None else thickness * self.occupancy.occupied(self._of_box(coords))

    def alpha(self, points: Tensor) -> Tensor:
        """Opacity of one step at `points [n, 3]`, in the box's coordinates: 1 - exp(-sigma * step_size), unscaled."""
        return 1.0 - torch.exp(-self.density(self._in_box(points)) * self.step_size)

    def refresh_occupancy(self, resolution: Sequence[int]) -> OccupancyGrid:
        """Replaces the occupancy mask by one at `resolution` made from the present density."""
        threshold = self.settings.alpha_mask_thre
        self.occupancy = update_occupancy(self.alpha, resolution, self.aabb, threshold, self.occupancy)
        return self.occupancy

    @torch.no_grad()
    def shrink(self, box: Tensor) -> CellCrop:
        """Crops the grids to the cells around `box [2, 3]`; the field's box becomes it.

        Where mask and grid resolutions differ the new box snaps to the grid's cells, as published. Returns what was
        kept of each parameter, so that an optimiser can crop its moments likewise.
        """
        size = torch.tensor(self.resolution, device=self.aabb.device)
        units = (self.aabb[1] - self.aabb[0]) / (size - 1)
        start = ((box[0] - self.aabb[0]) / units).round().long()
        stop = torch.minimum(((box[1] - self.aabb[0]) / units).round().long() + 1, size)
        if self.occupancy is not None and list(self.occupancy.volume.shape) != self.resolution:
            low, high = start / (size - 1), (stop - 1) / (size - 1)
            box = torch.stack([share_of_box(self.aabb, low), share_of_box(self.aabb, high)])
        crop = CellCrop({}, {})
        for grid in (self.density_grid, self.appearance_grid):
            for name, old in list(grid.named_parameters()):
                part = grid.crop_slices(start.tolist(), stop.tolist())[old]
                new = nn.Parameter(old[part].clone())
                replace_parameter(grid, name, new)
                crop.replaced[old], crop.kept[old] = new, part
        self.aabb = box.clone()
        self._set_resolution((stop - start).tolist())
        return crop

    def upsample(self, resolution: Sequence[int]) -> None:
        """Resamples both grids to `resolution`; parameters are replaced, so the optimiser must be rebuilt."""
        self.density_grid.resize(resolution)
        self.appearance_grid.resize(resolution)
        self._set_resolution(resolution)

    def state(self) -> dict:
        """Everything that `restore` needs, as tensors and plain values."""
        occupancy = None
        if self.occupancy is not None:
            occupancy = {"volume": self.occupancy.volume.bool(), "aabb": self.occupancy.aabb}
        ndc = {} if self.ndc is None else {"ndc": {"frame": self.ndc.frame, "tangents": self.ndc.tangents}}
        return {
            **ndc,
            "aabb": self.aabb,
            "resolution": self.resolution,
            "step_size": self.step_size,
            "full_samples_per_ray": self.full_samples_per_ray,
            "near": self.near,
            "far": self.far,
            "weights": self.state_dict(),
            "occupancy": occupancy,
        }

    @classmethod
    def restore(cls, settings: TensorfOptions, state: dict, device: str = "cpu") -> TensoRF:
        """The field that `state` was taken of, on `device`."""
        unused = torch.Generator().manual_seed(0)
        ndc = Ndc(**state["ndc"]) if "ndc" in state else None
        bounds = {"near": state["near"], "far": state["far"]}
        field = cls(settings, state["aabb"], state["resolution"], **bounds, generator=unused, ndc=ndc)
        # Another machine may round these otherwise; states of before 0.2.0 do not have them.
        field.step_size = state.get("step_size", field.step_size)
        field.full_samples_per_ray = state.get("full_samples_per_ray", field.full_samples_per_ray)
        field.load_state_dict(state["weights"])
        occupancy = state["occupancy"]
        if occupancy is not None:
            field.occupancy = OccupancyGrid(occupancy["volume"].to(device), occupancy["aabb"].to(device))
        return field.to(device)

    def _decoded(self, coords: Tensor, directions: Tensor) -> Tensor:
        """Colour `[n, 3]` at `coords [n, 3]`, seen along unit `directions [n, 3]` in the box's coordinates."""
        return self.decoder(coords, directions, self.appearance_grid.features_in(self.basis.weight, coords))

    def _of_box(self, coords: Tensor) -> Tensor:
        """`coords [n, 3]` in [-1, 1] of the box as points in its coordinates, those of the world or NDC."""
        return self.aabb[0] + (coords + 1) * (self.sides / 2)

    def _in_box(self, points: Tensor) -> Tensor:
        """`points [n, 3]` in the box's coordinates in [-1, 1] of the box."""
        return (points - self.aabb[0]) * (2.0 / self.sides) - 1.0

    def _set_resolution(self, resolution: Sequence[int]) -> None:
        """Takes over a resolution of the present box, and what follows, on the CPU: a GPU would round otherwise."""
        self.resolution = list(resolution)
        aabb = self.aabb.cpu()
        extent = aabb[1] - aabb[0]
        cells = torch.tensor([n - 1 for n in self.resolution])
        self.step_size = (extent / cells).mean().item() * self.settings.step_ratio
        self.full_samples_per_ray = int(extent.norm().item() / self.step_size) + 1


@dataclass(frozen=True)
class CellCrop:
    """What a shrink did: old parameter -> new parameter, and old parameter -> the part of it that was kept."""

    replaced: dict[nn.Parameter, nn.Parameter]
    kept: dict[nn.Parameter, tuple[slice, ...]]


def resolution_for(n_voxels: int, aabb: Tensor) -> list[int]:
    """Cells along x, y, z such that cubes fill `aabb [2, 3]` with about `n_voxels` (float32 as published)."""
    aabb = aabb.cpu()  # a GPU would round otherwise
    extent = (aabb[1] - aabb[0]).float()
    voxel = (extent.prod() / n_voxels).pow(1 / 3)
    return (extent / voxel).long().tolist()


def samples_per_ray(resolution: Sequence[int], step_ratio: float, limit: float) -> int:
    """Training samples a ray: the grid's diagonal in steps, at most `limit`."""
    return int(min(limit, sum(n * n for n in resolution) ** 0.5 / step_ratio))


def share_of_box(aabb: Tensor, share: Tensor) -> Tensor:
    """The point at `share [3]` of the way through `aabb [2, 3]`."""
    return (1 - share) * aabb[0] + share * aabb[1]


def replace_parameter(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Puts `parameter` where `name` (dotted) is in `module`."""
    *path, leaf = name.split(".")
    for part in path:
        module = getattr(module, part)
    module.register_parameter(leaf, parameter)
