"""What `nerf-ssim data check` says of a scene."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nerf_ssim.cli.data.pair_picture import draw_worst_pair
from nerf_ssim.cli.data.picture import draw_scene, write_picture
from nerf_ssim.datasets.boxes import inside_box, scaled_box, share_inside, share_kept
from nerf_ssim.datasets.corrections import correction_of
from nerf_ssim.datasets.listed_views import ListedViews
from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.posecheck.verdict import Verdict, check_poses
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.datasets.surfaces import feature_points
from nerf_ssim.errors import SceneError
from nerf_ssim.models.tensorf.options import TensorfOptions
from nerf_ssim.rays.cameras import Rays, camera_rays
from nerf_ssim.rays.ndc import NDC_BOX, Ndc

PICTURE, PAIR_PICTURE = "data_check.png", "data_check_pair.png"
_FEWEST_POINTS = 60  # on surfaces, for a share that means something
_MISPLACED = 0.8  # of the surfaces' points, or of samples: with fewer in the box it is not the scene's
_SAMPLES_PER_RAY = 16
_RAYS_PER_VIEW = 4096  # enough for a share to a tenth of a percent over a scene's views


def check_scene(data: DataConfig, out: Path, *, aabb_scale: float = 1.2, box_about: str = "centre") -> str:
    """Load a scene, write pictures to the folder `out` and report in lines of text.

    `data_check.png` shows cameras, box and surfaces, `data_check_pair.png` the two images that the cameras explain
    worst.

    Args:
        data: the scene and how it is read.
        out: folder of the pictures; made where missing.
        aabb_scale, box_about: the field's box is the scene's, scaled by the one about the other, as in training.
    Raises:
        SceneError: a scene that cannot be used, or a picture that cannot be written.
    """
    scene = load_scene(data)
    box = scaled_box(scene.aabb, aabb_scale, box_about)
    kept = share_kept(scene.aabb, box)
    scaling = f"scaled by {aabb_scale:g} about the {box_about}"
    points = scene.points if scene.points is not None else torch.from_numpy(feature_points(scene.train)).float()
    picture = write_picture(draw_scene(scene, box, f"box {scaling}", points), out / PICTURE)
    verdict = check_poses(scene, data)
    splits = (scene.train, scene.test)
    hits, rays = (sum(counts) for counts in zip(*(count_hits(views, box) for views in splits), strict=True))
    positions = torch.cat([views.c2w[:, :, 3] for views in splits])
    inside = int(inside_box(positions, box).sum())
    lines = [
        f"scene       {scene.name} ({scene.layout}), label: {scene.label or 'none'}",
        f"views       {len(scene.train)} training, {len(scene.test)} test ({scene.split})",
        f"size        {_sizes(scene)} pixels (width x height)",
        f"cameras     {_intrinsics(scene)}",
        f"pixels      centres {scene.pixel_centres}",
        f"poses       {_poses(scene, data)}",
        f"agreement   {_agreement(verdict)}",
        f"brightness  mean {_mean(splits):.3f} of 1",
        f"box         {_corner(scene.aabb[0])} to {_corner(scene.aabb[1])}; in training {scaling}",
        f"kept        {100 * kept:.1f}% of the box are inside the scaled one",
        _surfaces(points, box),
        f"near, far   {scene.near:.4g}, {scene.far:.4g}",
        f"bounds      {scene.bounds_source}",
        f"rays        {100 * hits / rays:.1f}% hit the scaled box ({rays} looked at)",
        f"inside      {inside} of {len(positions)} cameras are in the scaled box",
        f"ndc         {_ndc(scene)}",
        f"content     sha256 {scene.content_hash}",
        f"picture     {picture}",
    ]
    if verdict.given is not None and np.isfinite(verdict.given.by_pair).any():
        worst = write_picture(draw_worst_pair(ListedViews(scene), verdict.given), out / PAIR_PICTURE)
        lines.append(f"worst pair  {worst}")
    notes = (*scene.notes, *([verdict.note] if verdict.note else []))
    lines += [note if note.startswith("warning") else f"note: {note}" for note in notes]
    if verdict.warning:
        lines.append(verdict.warning)
    if warning := TensorfOptions().scale_warning(scene.far):
        lines.append(warning)
    has_surfaces = len(points) >= _FEWEST_POINTS
    if hits < 0.9 * rays and not (has_surfaces and share_inside(points, box) >= _MISPLACED):
        lines.append("warning: many rays miss the box; scene_box is perhaps of another scene or in other units")
    if has_surfaces and share_inside(points, box) < _MISPLACED:
        outside = 100 * (1 - share_inside(points, box))
        lines.append(
            f"warning: the scaled box leaves {outside:.0f}% of the surfaces outside, where no field can be; give "
            "the scene's own with --scene_box, or check the poses' units"
        )
    if kept < 0.999 and aabb_scale >= 1:
        lines.append(
            f"warning: scaled about the origin, the box leaves {100 * (1 - kept):.1f}% of itself outside, because its "
            f"centre is {_corner(scene.aabb.mean(dim=0))}; train with --box_about centre"
        )
    return "\n".join(lines)


def count_hits(views: Views, box: Tensor) -> tuple[int, int]:
    """Rays of a grid over each view that meet `box` `[2, 3]` ahead of the camera, and how many were looked at."""
    hits = looked_at = 0
    for rays in _spread_rays(views):
        directions = torch.where(rays.directions == 0, torch.full_like(rays.directions, 1e-6), rays.directions)
        first, second = ((corner - rays.origins) / directions for corner in box)
        entry, leave = torch.minimum(first, second).amax(dim=1), torch.maximum(first, second).amin(dim=1)
        hits, looked_at = hits + int((leave > entry.clamp(min=0)).sum()), looked_at + len(rays)
    return hits, looked_at


def _spread_rays(views: Views) -> Iterator[Rays]:
    """For each view, rays of a grid over it."""
    stride = max(1, math.ceil(math.sqrt(views.height * views.width / _RAYS_PER_VIEW)))
    height, width = math.ceil(views.height / stride), math.ceil(views.width / stride)
    # A view of every stride-th pixel has the same rays' spread: its pixel's side is `stride` old ones.
    scale = torch.tensor([width / views.width, height / views.height, 1.0])[:, None]
    for c2w, K in zip(views.c2w, views.K * scale, strict=True):
        yield camera_rays(c2w, K, height, width)


def _ndc(scene: Scene) -> str:
    """Whether the scene can be trained in normalised device coordinates."""
    try:
        ndc = Ndc.of_scene(scene)
    except SceneError as error:
        return f"no; {str(error).removeprefix(f'{scene.name}: ')}"
    box, inside, samples = torch.tensor(NDC_BOX), 0, 0
    for views in (scene.train, scene.test):
        for rays in _spread_rays(views):
            inside += ndc.rays(rays).march(box, _SAMPLES_PER_RAY).t.numel()
            samples += len(rays) * _SAMPLES_PER_RAY
    share = inside / samples
    fits = "forward-facing" if share >= _MISPLACED else "hardly, the cameras stand too far apart"
    return f"{fits}: with --ndc_ray 1 {100 * share:.1f}% of the samples lie in TensoRF's box"


def _poses(scene: Scene, data: DataConfig) -> str:
    axes = {"opencv": "OpenCV's axes", "opengl": "OpenGL's axes"}[scene.pose_axes]
    asked = correction_of(data).options
    return f"camera to world with {axes}, the layout's convention" + (f"; corrected: {asked}" if asked else "")


def _agreement(verdict: Verdict) -> str:
    if verdict.matches is None:
        return f"{verdict.state}: {verdict.reason}"
    counts = f"{len(verdict.matches.pairs)} pairs of images, {verdict.matches.count} points"
    return f"{verdict.state}: {verdict.reason} ({counts})"


def _mean(splits: tuple[Views, ...]) -> float:
    """Mean of all samples in [0, 1], an image at a time: a float copy of all of them could fill the memory."""
    return float(np.mean([float(image.float().mean()) for views in splits for image in views.images])) / 255


def _surfaces(points: Tensor, box: Tensor) -> str:
    if len(points) < _FEWEST_POINTS:
        return "surfaces    cannot tell: the images have too few features in common"
    return (
        f"surfaces    {100 * share_inside(points, box):.1f}% of {len(points)} points on surfaces are in the scaled box"
    )


def _sizes(scene: Scene) -> str:
    sizes = sorted({views.size_of(index) for views in (scene.train, scene.test) for index in range(len(views))})
    smallest, largest = (f"{width}x{height}" for height, width in (sizes[0], sizes[-1]))
    return largest if len(sizes) == 1 else f"{smallest} to {largest}, {len(sizes)} sizes,"


def _intrinsics(scene: Scene) -> str:
    K = torch.cat([scene.train.K, scene.test.K])
    focal, width = K[:, 0, 0], scene.train.width
    angle = torch.rad2deg(torch.atan((width - K[:, 0, 2]) / focal) + torch.atan(K[:, 0, 2] / focal))
    shared = "one for all" if bool((K == K[0]).all()) else "differing by frame"
    return f"fx {_range(focal)}, fy {_range(K[:, 1, 1])} pixels, {_range(angle)} degrees wide, {shared}"


def _range(values: Tensor) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.1f}" if high - low < 0.05 else f"{low:.1f} to {high:.1f}"


def _corner(corner: Tensor) -> str:
    return f"({', '.join(f'{value:.4g}' for value in corner.tolist())})"
