"""A finished or stopped run, ready to render: what `evaluate`, `render` and other tools open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.scene import Scene, Views, data_difference
from nerf_ssim.datasets.scene_record import scene_of_record
from nerf_ssim.errors import CheckpointError, SceneError
from nerf_ssim.evaluation.protocol import RenderedView
from nerf_ssim.models.config import Config
from nerf_ssim.models.options import ModelOptions
from nerf_ssim.models.parts.rendering import Render
from nerf_ssim.models.recipe import continued_recipe
from nerf_ssim.rays.cameras import Rays, camera_rays
from nerf_ssim.runs.checkpoints import CheckpointFolder, load_checkpoint, refusing_unsound, saved_config
from nerf_ssim.runs.device import choose_device
from nerf_ssim.runs.manifest import read_manifest
from nerf_ssim.runs.schedule import make_schedule
from nerf_ssim.training.session import make_generators, scene_on
from nerf_ssim.training.state import refuse_unsound_run

__all__ = ["Trained", "load_trained", "read_state", "render_camera"]

RAYS_AT_ONCE = 8192
REQUIRED = ("config", "recipe", "schedule", "iteration", "seconds")


@dataclass(frozen=True)
class Trained:
    """A trained field with its scene.

    Attributes:
        iteration: updates the field has seen.
        schedule_summary: weight, add_at, remove_at and removed_at, as `results.json` records them.
        seconds: training time so far.
        difference: what tells the scene from the one that the field was trained on, in words; empty where it is that
            one, by its files or by its pixels, cameras and bounds.
    """

    config: Config
    scene: Scene
    field: nn.Module
    iteration: int
    seconds: float
    manifest: dict[str, Any]
    schedule_summary: dict[str, Any]
    render_rays: Callable[[Rays], Render]
    difference: str = ""

    @property
    def depth_range(self) -> tuple[float, float]:
        """One range of distances for all pictures, so that a colour means one throughout: the scene's, or its box's."""
        diagonal = float((self.scene.aabb[1] - self.scene.aabb[0]).norm())
        return self.scene.near, min(self.scene.far, diagonal)

    def render_camera(self, c2w: Tensor, K: Tensor, height: int, width: int) -> RenderedView:
        """The view of an OpenCV camera: `c2w [3, 4]`, `K [3, 3]` with pixel (0, 0) centred at (0.5, 0.5)."""
        return render_camera(self.render_rays, c2w, K, height, width)

    def render_view(self, views: Views, index: int) -> RenderedView:
        """The view of camera `index` of a split."""
        return self.render_camera(views.c2w[index], views.K[index], *views.size_of(index))


@torch.no_grad()
def render_camera(
    render_rays: Callable[[Rays], Render], c2w: Tensor, K: Tensor, height: int, width: int
) -> RenderedView:
    """Renders all pixels of a camera, a chunk of rays at a time, with `render_rays`."""
    renders = [render_rays(rays) for rays in camera_rays(c2w, K, height, width).split(RAYS_AT_ONCE)]
    return RenderedView(
        torch.cat([render.rgb for render in renders]).view(height, width, 3),
        torch.cat([render.depth for render in renders if render.depth is not None]).view(height, width),
        torch.cat([render.opacity for render in renders]).view(height, width),
    )


def find_state(folder: Path, checkpoint: str | Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Path and payload of the newest checkpoint of the run in `folder`, or of the one given.

    Raises:
        CheckpointError: no run there, or a checkpoint that cannot be read.
    """
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: there is no such run folder; give one that train.py has written (runs/<expname>)"
        )
    if checkpoint is not None:
        return Path(checkpoint), load_checkpoint(Path(checkpoint), required=REQUIRED)
    newest = CheckpointFolder(folder).load_latest(required=REQUIRED)
    if newest is None:
        raise CheckpointError(f"{folder}: holds no checkpoint; train first, or give a run folder that has checkpoints/")
    return newest


def read_state(folder: Path, checkpoint: str | Path | None = None) -> dict[str, Any]:
    """The payload that `find_state` finds."""
    return find_state(folder, checkpoint)[1]


def load_trained(
    folder: str | Path,
    *,
    datadir: str | None = None,
    checkpoint: str | Path | None = None,
    needs_images: bool = True,
) -> Trained:
    """Opens the run in `folder` at its newest checkpoint, or at the one given.

    Args:
        datadir: where the scene is now, if it has moved.
        needs_images: False where cameras and bounds are enough; then the checkpoint's own record of the scene serves,
            and the data need not be there (checkpoints of earlier versions have no such record).
    Raises:
        CheckpointError: no run there, or a checkpoint that cannot be read.
        SceneError: the data is gone or damaged.
    """
    folder = Path(folder)
    path, state = find_state(folder, checkpoint)
    saved: Config[ModelOptions] = saved_config(path, state, Config)
    refuse_unsound_run(path, state, saved)
    moved = {} if datadir is None else {"datadir": datadir}
    config = saved.replace(device=choose_device(saved.run.device), **moved)
    record = state.get("scene")
    if record is not None and datadir is None and not needs_images:
        scene = scene_of_record(record)
    elif record is not None and not config.data.datadir:
        raise SceneError(f"{folder}: was imported without its scene; give the scene's folder with --datadir")
    else:
        scene = load_scene(config.data)
    scene = scene_on(scene, config.run.device)
    # The field is of the scene that it was trained on, whatever is rendered or scored now.
    own = scene if record is None else scene_on(scene_of_record(record), config.run.device)
    with refusing_unsound(path):
        recipe = continued_recipe(config, own, make_generators(config), state["recipe"])
    schedule = make_schedule(config.ssim, config.ssim.s3im_weight, config.run.n_iters, config.model.schedule_starts_at)
    schedule.load_state_dict(state["schedule"])
    is_known = bool(state.get("scene_hash"))
    return Trained(
        config=config,
        scene=scene,
        difference=data_difference(own, scene) if is_known and state["scene_hash"] != scene.content_hash else "",
        field=recipe.field,
        iteration=state["iteration"],
        seconds=state["seconds"],
        manifest=read_manifest(folder),
        schedule_summary=schedule.summary(),
        render_rays=lambda rays: recipe.render_test(rays, final=True),
    )
