"""The least memory of a training, by its options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nerf_ssim.models.config import read
from nerf_ssim.models.parts.grids import make_grid
from nerf_ssim.models.sizes import grid_numbers
from nerf_ssim.models.tensorf.field import resolution_for
from nerf_ssim.runs.generators import ShapesOnly

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.txt"))
BOXES = {"cube": (1.0, 1.0, 1.0), "room": (2.0, 1.6, 1.2), "corridor": (12.0, 1.0, 1.5)}
COMPONENTS = {"vm": (16, 16, 16), "cp": (96,), "dense": ()}


def numbers_made(kind, voxels, box, components):
    resolution = resolution_for(voxels, torch.tensor([[0.0, 0.0, 0.0], box]))
    grid = make_grid(kind, resolution, components, 12, ShapesOnly())
    return sum(parameter.numel() for parameter in grid.parameters())


def needed(*words):
    return {need.what: need for need in read(["--datadir", "bundled:room", *map(str, words)]).config().needs()}


def total(*words):
    return sum(need.size for need in needed(*words).values())


@pytest.mark.parametrize("kind", COMPONENTS)
@pytest.mark.parametrize("box", BOXES)
def test_no_grid_has_fewer_numbers_than_the_estimate(kind, box):
    made = numbers_made(kind, 300**3, BOXES[box], COMPONENTS[kind])
    least = grid_numbers(kind, 300**3, COMPONENTS[kind], 12)
    assert least <= 1.02 * made  # a grid's sides are rounded down
    assert box != "cube" or made <= 1.02 * least


def test_planes_of_different_components_are_not_overestimated():
    least = grid_numbers("vm", 300**3, (4, 16, 64), 1)
    assert least <= 1.02 * numbers_made("vm", 300**3, BOXES["corridor"], (4, 16, 64))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_bundled_configurations_need_little(config):
    if config.name.startswith("siren"):
        pytest.skip("of fit-image")
    assert total("--config", config) < 8 * 2**30


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--N_voxel_final", 2**36, "--upsamp_list", "[3]"), "N_voxel_final"),
        (("--N_voxel_init", 2**36, "--N_voxel_final", 2**36, "--upsamp_list", "[]"), "N_voxel_init"),
        (("--model", "dvgo", "--num_voxels", 2**34), "num_voxels"),
        (("--config", "dvgo_bounded.txt", "--coarse_num_voxels", 2**32), "coarse_num_voxels"),
        (("--batch_size", 2**24, "--s3im_patch_height", 4096, "--s3im_patch_width", 4096), "batch_size"),
        (("--s3im_repeat_time", 1000, "--batch_size", 2**22, "--s3im_patch_height", 2048, "--s3im_patch_width", 2048),
         "s3im_repeat_time"),
    ],
)  # fmt: skip
def test_the_largest_need_names_the_option_that_makes_it(words, option):
    needs = needed(*words)
    largest = max(needs.values(), key=lambda need: need.size)
    assert largest.size > 16 * 2**30 and largest.lower[0] == option


def test_a_size_that_the_run_ends_before_is_not_needed():
    small = "--N_voxel_init", 1000, "--N_voxel_final", 2**36, "--upsamp_list", "[30]", "--n_iters", 100
    assert total(*small) > 32 * 2**30
    assert total(*small, "--stop_at", 30) < 2**30  # the upsampling comes after the update of its number
    dvgo = "--model", "dvgo", "--num_voxels", 2**34, "--pg_scale", "[10,20,30,40,50,60]"
    assert total(*dvgo, "--stop_at", 19) * 15 < total(*dvgo, "--stop_at", 60)
