"""Sessions of DVGO that its tests look into."""

from __future__ import annotations

import math

import torch
from explicit_dvgo import (
    Explicit,
    boxed_places,
    contracted_places,
    parameters_of,
)
from tiny_scene import tiny_config

from nerf_ssim.models.config import Config
from nerf_ssim.training.session import Session


def canonical(scene, tmp_path, **options: object) -> Session:
    """The canonical schedule (30000 iterations), with grids small enough to make at once."""
    small = {"model": "dvgo", "num_voxels": 128 * 64, "num_voxels_base": 128 * 64, "rgbnet_dim": 2, "rgbnet_width": 4}
    small |= {"batch_size": 64, "s3im_patch_height": 8, "s3im_patch_width": 8}
    return Session(Config().replace(datadir=str(scene), basedir=str(tmp_path / "never"), **(small | options)))


def random_session(scene, tmp_path, kind: str, **options: object) -> Session:
    """The tiny run's first stage with random grids, so that every part of the loss has a say."""
    session = Session(tiny_config(scene, tmp_path, kind, **options))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for grid, scale in ((session.recipe.field.density.values, 2.0), (session.recipe.field.k0.values, 1.0)):
            grid.copy_(scale * torch.randn(grid.shape, generator=generator))
    return session


def explicit(session: Session, threshold: float) -> Explicit:
    """The session's field by the formulas."""
    field, dvgo = session.recipe.field, session.config.model
    aabb, margins = field.aabb.double(), []
    if dvgo.unbounded_inward:
        side = int(field.num_voxels ** (1 / 3) + 1e-9)
        centre, radius = (aabb[0] + aabb[1]) / 2, float(aabb[1, 0] - aabb[0, 0]) / 2
        places = contracted_places(centre, radius, side, dvgo.bg_len, 0.5, margins)
        base, alpha = dvgo.num_voxels_base, dvgo.alpha_init
    else:
        step = 0.5 * float(((aabb[1] - aabb[0]).prod() / field.num_voxels) ** (1 / 3))
        places = boxed_places(aabb, session.scene.near, step, margins)
        base, alpha = dvgo.coarse_num_voxels, dvgo.coarse_alpha_init
    length = 0.5 * (base / field.num_voxels) ** (1 / 3)
    shift = math.log(1 / (1 - alpha) - 1)
    return Explicit(parameters_of(field), shift, length, threshold, field.mask, places, dvgo.viewbase_pe, margins)
