"""TensoRF at two moments of the canonical Replica run, made without training and the same each time.

`start` is the first iteration: 128^3 noise, nothing has a colour. `trained` is a foggy field after the last
upsampling: 300^3, a room with walls and haze in it, of which about 1.45 million samples a batch of 4096 rays have their
density evaluated and 571 thousand their colour, as in a really trained run on Replica office_0.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import torch
from torch import Tensor

from nerf_ssim.datasets.formats.replica import METADATA
from nerf_ssim.datasets.room import HALF_ROOM, build_room, intrinsics, place_cameras
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.models.config import Config, parse
from nerf_ssim.models.tensorf.field import TensoRF
from nerf_ssim.models.tensorf.recipe import TensorfRecipe
from nerf_ssim.ops.marching import OccupancyGrid
from nerf_ssim.ops.resize import resize_line, resize_plane
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.runs.device import choose_device
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.training.session import make_generators, make_s3im, scene_on

STATES = ("start", "trained")
_SEED = 0
_VIEWS, _TEST_EVERY = 81, 10  # as the canonical scene is split
_STILL = 1e-9  # learning rates at which Adam does all its work and the field stays what it is

# The trained state, set so that its counts are those above.
_HAZE_NODES = 8  # along an axis: haze varies over some 30 cells of the trained grid
_HAZE_MEAN, _HAZE_SPREAD = 3.38, 1.5  # of the density feature; a sample gets a colour from about 3.3
_WALL = 40.0  # density feature beyond the room's surface: opaque within a sample or two
_OCCUPIED = 0.95  # half size of the occupied box, as a share of the field's


@dataclass
class Workload:
    """All that an iteration needs."""

    config: Config
    scene: Scene
    recipe: TensorfRecipe
    batches: PixelBatches
    s3im: S3IM
    iteration: int


def canonical_config(options: Sequence[str]) -> Config:
    """The canonical run's configuration with training options of the command line in its place, `--name value`.

    Raises:
        ConfigError: an unknown or malformed option.
    """
    return parse(["--config", "replica_scene1.txt", "--datadir", "synthetic", *options])


def make_workload(state: str, config: Config, *, size: int = 384) -> Workload:
    """The canonical recipe in `state`, on a synthetic scene of `size` x `size` views; its learning rates are tiny."""
    device = choose_device(config.run.device)
    config = config.replace(device=device, lr_init=_STILL, lr_basis=_STILL)
    scene = scene_on(room_scene(size), device)
    generators = make_generators(config)
    recipe = TensorfRecipe(config, scene, generators)
    batches = PixelBatches(scene.train, config.model.batch_size, generators["pixels"])
    recipe.prepare(batches)
    iteration = 0
    if state == "trained":
        iteration = become_trained(recipe, batches)
    return Workload(config, scene, recipe, batches, make_s3im(config), iteration)


def room_scene(size: int) -> Scene:
    """The cameras of the procedural room, with noise for pictures: what is in them does not change the work."""
    generator = torch.Generator().manual_seed(_SEED)
    cameras = place_cameras(build_room(_SEED), _VIEWS, _SEED)
    c2w = torch.stack([torch.from_numpy(camera).float() for camera in cameras])
    is_test = torch.arange(_VIEWS) % _TEST_EVERY == 0

    def views(chosen: Tensor) -> Views:
        count = int(chosen.sum())
        images = torch.randint(256, (count, size, size, 3), dtype=torch.uint8, generator=generator)
        K = torch.from_numpy(intrinsics(size)).float().expand(count, 3, 3).contiguous()
        return Views(images, c2w[chosen], K, tuple(f"{index:06d}" for index in range(count)))

    half = torch.from_numpy(HALF_ROOM).float()
    aabb = torch.stack([-half, half])
    return Scene("room", "synthetic", views(~is_test), views(is_test), aabb, near=0.05, far=3.0, content_hash="")


def write_scene(scene: Scene, folder: Path) -> Path:
    """Writes `scene` into a new `folder` in sdfstudio's layout, in an order that the canonical split undoes."""
    folder.mkdir()
    frames, placed = [], {False: 0, True: 0}
    for index in range(_VIEWS):
        is_test = index % _TEST_EVERY == 0
        views, place = scene.test if is_test else scene.train, placed[is_test]
        placed[is_test] += 1
        name = f"{index:06d}_rgb.png"
        imageio.imwrite(folder / name, views.images[place].numpy())
        pose, K = torch.eye(4), torch.eye(4)
        pose[:3], K[:3, :3] = views.c2w[place], views.K[place]
        K[:2, 2] -= 0.5  # the layout counts pixel centres at integers
        frames.append({"rgb_path": name, "camtoworld": pose.tolist(), "intrinsics": K.tolist()})
    box = {"aabb": scene.aabb.tolist(), "near": scene.near, "far": scene.far}
    metadata = {"height": scene.train.height, "width": scene.train.width, "scene_box": box, "frames": frames}
    (folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    return folder


@torch.no_grad()
def become_trained(recipe: TensorfRecipe, batches: PixelBatches) -> int:
    """Fills the recipe's field with haze and walls and takes the last upsampling; returns the next iteration."""
    field = recipe.field
    fill_with_room(field)
    field.occupancy = occupied_middle(field)
    last = max(recipe.config.model.upsamp_list)
    recipe.after_step(last, batches)
    return last + 1


def fill_with_room(field: TensoRF) -> None:
    """Density: smooth haze inside the room, opaque beyond its surface. Appearance: smooth noise."""
    generator = torch.Generator().manual_seed(_SEED)

    def noise(shape: Sequence[int], deviation: float) -> Tensor:
        *nodes, channels = shape
        coarse = deviation * torch.randn(*[_HAZE_NODES] * len(nodes), channels, generator=generator)
        return resize_plane(coarse, tuple(nodes)) if len(nodes) == 2 else resize_line(coarse, nodes[0])

    for grid, total in ((field.density_grid, _HAZE_SPREAD), (field.appearance_grid, 1.0)):
        deviation = math.sqrt(total / math.sqrt(grid.n_features))  # of each factor, so that products add up to total
        for plane, line in zip(grid.planes, grid.lines, strict=True):
            plane.copy_(noise(plane.shape, deviation))
            line.copy_(noise(line.shape, deviation))
    half_box = field.aabb[1]
    for plane, line, axis in zip(field.density_grid.planes, field.density_grid.lines, (2, 1, 0), strict=True):
        place = torch.linspace(-1, 1, len(line)).abs() * float(half_box[axis])
        plane[:, :, 0] = 1.0
        line[:, 0] = _HAZE_MEAN / 3 + _WALL * (place > float(HALF_ROOM[axis]))


def occupied_middle(field: TensoRF) -> OccupancyGrid:
    """A mask at the field's resolution, occupied in the middle of the box."""
    inside = [torch.linspace(-1, 1, n).abs() <= _OCCUPIED for n in field.resolution]
    volume = inside[0][:, None, None] & inside[1][None, :, None] & inside[2][None, None, :]
    return OccupancyGrid(volume.to(field.aabb.device), field.aabb)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which state, and how it is measured."""
    parser.add_argument("--state", choices=STATES, default="trained", help="moment of training (default %(default)s)")
