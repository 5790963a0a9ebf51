"""What DVGO's own `default.py` sets, by group: every published configuration of DVGO builds on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DEFAULTS"]

_STAGE_TRAIN = {
    "lrate_density": 0.1,
    "lrate_k0": 0.1,
    "lrate_rgbnet": 1e-3,
    "lrate_decay": 20,
    "pervoxel_lr_downrate": 1,
    "weight_main": 1.0,
    "weight_nearclip": 0,
    "weight_distortion": 0,
    "tv_every": 1,
    "tv_after": 0,
    "tv_before": 0,
    "tv_dense_before": 0,
    "weight_tv_density": 0.0,
    "weight_tv_k0": 0.0,
    "decay_after_scale": 1.0,
    "maskout_lt_nviews": 0,
    "N_rand": 8192,
}
_STAGE_MODEL = {
    "density_type": "DenseGrid",
    "k0_type": "DenseGrid",
    "density_config": {},
    "k0_config": {},
    "mpi_depth": 128,
    "nearest": False,
    "pre_act_density": False,
    "in_act_density": False,
    "bbox_thres": 1e-3,
    "mask_cache_thres": 1e-3,
    "rgbnet_full_implicit": False,
    "rgbnet_direct": True,
    "rgbnet_depth": 3,
    "rgbnet_width": 128,
    "stepsize": 0.5,
}
DEFAULTS: Mapping[str, Any] = {
    "expname": None,
    "basedir": "./logs/",
    "data": {
        "datadir": None,
        "dataset_type": None,
        "inverse_y": False,
        "flip_x": False,
        "flip_y": False,
        "annot_path": "",
        "split_path": "",
        "sequence_name": "",
        "load2gpu_on_the_fly": False,
        "testskip": 1,
        "white_bkgd": False,
        "rand_bkgd": False,
        "half_res": False,
        "bd_factor": 0.75,
        "movie_render_kwargs": {},
        "ndc": False,
        "spherify": False,
        "factor": 4,
        "width": None,
        "height": None,
        "llffhold": 8,
        "load_depths": False,
        "unbounded_inward": False,
        "unbounded_inner_r": 1.0,
    },
    "coarse_train": _STAGE_TRAIN
    | {
        "N_iters": 5000,
        "pervoxel_lr": True,
        "ray_sampler": "random",
        "weight_entropy_last": 0.01,
        "weight_rgbper": 0.1,
        "pg_scale": [],
        "skip_zero_grad_fields": [],
    },
    "fine_train": _STAGE_TRAIN
    | {
        "N_iters": 20000,
        "pervoxel_lr": False,
        "ray_sampler": "in_maskcache",
        "weight_entropy_last": 1e-3,
        "weight_rgbper": 0.01,
        "pg_scale": [1000, 2000, 3000, 4000],
        "skip_zero_grad_fields": ["density", "k0"],
    },
    "coarse_model_and_render": _STAGE_MODEL
    | {
        "num_voxels": 1024000,
        "num_voxels_base": 1024000,
        "rgbnet_dim": 0,
        "alpha_init": 1e-6,
        "fast_color_thres": 1e-7,
        "maskout_near_cam_vox": True,
        "world_bound_scale": 1,
    },
    "fine_model_and_render": _STAGE_MODEL
    | {
        "num_voxels": 160**3,
        "num_voxels_base": 160**3,
        "rgbnet_dim": 12,
        "alpha_init": 1e-2,
        "fast_color_thres": 1e-4,
        "maskout_near_cam_vox": False,
        "world_bound_scale": 1.05,
    },
}
