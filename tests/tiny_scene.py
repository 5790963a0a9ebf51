"""A scene of a few small pictures and a run on it that takes moments: what the training tests train on."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch

from nerf_ssim.models.config import Config
from nerf_ssim.runs.interrupts import GracefulStop
from nerf_ssim.runs.progress import Progress
from nerf_ssim.training.loop import train
from nerf_ssim.training.session import Session

HEIGHT, WIDTH, FRAMES = 12, 14, 12  # the 11-tap SSIM of the final scores still fits
LOW, HIGH = np.array([-1.0, -0.8, -0.6]), np.array([1.1, 0.9, 0.7])

# Milestones within a few iterations; density starts high enough, and the mask's threshold with it, that the mask is
# neither empty nor full and the box really shrinks.
OPTIONS = {
    "n_iters": 14,
    "batch_size": 64,
    "s3im_patch_height": 8,
    "s3im_patch_width": 8,
    "N_voxel_init": 1000,
    "N_voxel_final": 4000,
    "upsamp_list": [5, 9],
    "update_AlphaMask_list": [3, 7],
    "n_lamb_sigma": [2, 3, 4],
    "n_lamb_sh": [3, 2, 4],
    "data_dim_color": 9,
    "featureC": 16,
    "shadingMode": "MLP_Fea",
    "view_pe": 2,
    "fea_pe": 2,
    "lr_init": 0.1,
    "density_shift": -2.0,
    "box_about": "origin",
    "alpha_mask_thre": 0.02,
    "TV_weight_density": 0.1,
    "TV_weight_app": 0.01,
    "save_every": 1000,
    "vis_every": 0,
    "N_vis": 0,
    "seed": 7,
}

# Two scalings and a new threshold on the way; opacity starts high enough that weights differ. Total variation changes
# from dense to sparse.
DVGO_OPTIONS = {
    "model": "dvgo",
    "n_iters": 14,
    "batch_size": 64,
    "s3im_patch_height": 8,
    "s3im_patch_width": 8,
    "num_voxels": 1728,
    "num_voxels_base": 1728,
    "pg_scale": [6, 10],
    "alpha_init": 0.05,
    "fast_color_thres": "{0: 1e-4, 8: 2e-3}",
    "rgbnet_dim": 4,
    "rgbnet_width": 16,
    "viewbase_pe": 2,
    "weight_tv_density": 1e-3,
    "weight_tv_k0": 1e-4,
    "tv_dense_before": 12,
    "white_bg": True,
    "save_every": 1000,
    "vis_every": 0,
    "N_vis": 0,
    "seed": 7,
}

# The coarse stage ends after update 4; scalings come before the fine stage's updates 2 and 6, the run's 6 and 10.
BOUNDED_OPTIONS = DVGO_OPTIONS | {
    "unbounded_inward": False,
    "coarse_iters": 4,
    "coarse_num_voxels": 500,
    "coarse_alpha_init": 0.02,
    "coarse_fast_color_thres": 1e-4,
    "bbox_thres": 0.02,
    "mask_cache_thres": 0.02,
    "world_bound_scale": 1.05,
    "pg_scale": [2, 6],
    "weight_distortion": 0.0,
    "rand_bkgd": False,
    "white_bg": False,
}

COMPONENTS = {"grid": "vm", "n_lamb_sigma": [2, 3, 4], "n_lamb_sh": [3, 2, 4]}

MODELS = {
    "tensorf": OPTIONS,
    "dense tensorf": OPTIONS | {"grid": "dense", "alpha_mask_thre": 0.0175},
    "dvgo": DVGO_OPTIONS,
    "bounded dvgo": BOUNDED_OPTIONS,
    "vm dvgo": DVGO_OPTIONS | COMPONENTS,
    "bounded vm dvgo": BOUNDED_OPTIONS | COMPONENTS,
}
"""Options of a tiny run of each model, with its own grid and with the other's."""

NO_MILESTONES = {"tensorf": {"upsamp_list": [], "update_AlphaMask_list": []}, "dvgo": {"pg_scale": []}}
"""Options of a run of each model in which nothing happens but updates."""


def write_tiny_scene(folder: Path, *, outside: bool = False) -> Path:
    """The inside of a box with a pattern, in sdfstudio's layout; with `outside`, cameras that partly miss it."""
    folder.mkdir(parents=True)
    focal = 0.7 * WIDTH
    stored = np.eye(4)
    stored[0, 0], stored[1, 1], stored[0, 2], stored[1, 2] = focal, 1.1 * focal, WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5
    frames = []
    for i in range(FRAMES):
        azimuth, elevation = 2.4 * i, 0.3 * np.sin(1.7 * i)
        forward = np.array(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        )
        right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
        position = np.array([0.3 * np.sin(3.1 * i), 0.3 * np.cos(2.3 * i), 0.15 * np.sin(i)])
        if outside:
            position = position - 3.0 * forward
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(forward, right), forward, position], axis=1)
        x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
        camera = np.stack([(x - WIDTH / 2) / focal, (y - HEIGHT / 2) / (1.1 * focal), np.ones_like(x)], -1)
        rays = camera @ pose[:3, :3].T
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.maximum((LOW - position) / rays, (HIGH - position) / rays).min(-1)
        hit = position + rays * np.clip(t, 0, 10)[..., None]
        colour = 0.5 + 0.45 * np.sin(4 * hit + np.array([0.0, 1.0, 2.0]) + 2 * hit[..., [1, 2, 0]])
        name = f"{i:03d}.png"
        imageio.imwrite(folder / name, np.round(colour * 255).astype(np.uint8))
        frames.append({"rgb_path": name, "camtoworld": pose.tolist(), "intrinsics": stored.tolist()})
    box = {"aabb": [LOW.tolist(), HIGH.tolist()], "near": 0.05, "far": 6.0}
    metadata = {"height": HEIGHT, "width": WIDTH, "scene_box": box, "frames": frames}
    (folder / "meta_data.json").write_text(json.dumps(metadata))
    return folder


def tiny_config(scene: Path, basedir: Path, kind: str = "tensorf", **options: object) -> Config:
    """`MODELS[kind]` with changes, on the scene in `scene`; the run's folder is `basedir/tiny`."""
    place = {"datadir": str(scene), "basedir": str(basedir), "expname": "tiny"}
    return Config().replace(**{**place, **MODELS[kind], **options})


def folder_of(config: Config) -> Path:
    """The run's folder."""
    return Path(config.run.basedir) / config.run.expname


def rows_of(config: Config) -> list[dict[str, str]]:
    """The rows of the run's `metrics.csv`."""
    with open(folder_of(config) / "metrics.csv") as file:
        return list(csv.DictReader(file))


def command_line(config: Config) -> list[str]:
    """`train` with a file that holds this configuration."""
    path = f"{config.run.basedir}/options.txt"
    config.write(path)
    return ["train", "--config", path]


def first_grid(session: Session) -> torch.Tensor:
    """A part of the field that every update changes."""
    return next(session.recipe.field.parameters()).detach()


def train_session(config: Config) -> Session:
    """Trains as the `train` command does, without the final scores, and returns the session; nothing is printed."""
    session = Session(config)
    with GracefulStop() as stop, session.open_log() as log:
        with Progress(session.last_iteration, session.iteration, file=io.StringIO()) as progress:
            train(session, log, progress, stop)
    return session


def weights_of(session: Session) -> dict[str, torch.Tensor]:
    """Everything the next update depends on that is a tensor, by name: weights, box, mask, moments."""
    state = session.recipe.state_dict()
    tensors = dict(state["field"]["weights"]) | {"aabb": state["field"]["aabb"]}
    if state["field"]["occupancy"] is not None:
        tensors["mask"] = state["field"]["occupancy"]["volume"]
    for index, moments in state["optimizer"]["state"].items():
        tensors |= {f"moment {index} {name}": value for name, value in moments.items()}
    return tensors


def differing(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> list[str]:
    """Names of tensors that are not bit for bit the same, or that only one side has."""
    names = sorted(set(ours) | set(theirs))
    return [
        name for name in names if name not in ours or name not in theirs or not torch.equal(ours[name], theirs[name])
    ]
