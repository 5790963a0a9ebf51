"""Kernels beyond 2^31 elements: arrays of address space that nobody fills, of which a few entries at the end count."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from kernels_adam import as_struct
from simulated_call import Run, call
from simulator import library_of, missing_tool

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())]

BEYOND = (1 << 31) + 5
MAP_NORESERVE = 0x4000  # Linux's; Python names it from 3.13 on
ONLY_FIRST_BLOCK = (0, 1)
FACTORS = dict(beta1=0.9, beta2=0.99, first_weight=0.1, second_weight=0.01, root_correction=1.0, eps=1e-8)


def vast(*shape: int, dtype: type = np.float32) -> np.ndarray:
    """Zeros that take memory only where they are touched."""
    count = int(np.prod(shape, dtype=np.int64))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    memory = mmap.mmap(-1, count * np.dtype(dtype).itemsize, flags=flags)
    return np.frombuffer(memory, dtype=dtype).reshape(shape)


def launch(source: str, launcher: str, arguments: dict, blocks: tuple[int, int] | None = ONLY_FIRST_BLOCK) -> dict:
    """The arguments after the launch of some blocks."""
    outcome = call(Run(str(library_of(source, "plain")), launcher, arguments, only_blocks=blocks))
    assert outcome.failure == ""
    return outcome.arguments


def vm_arguments(samples: int) -> dict:
    """A VM grid whose first plane has 2.3e9 values, all zero but for its last node, and samples on that node."""
    x, y, z, channels = 8192, 4096, 1, 68
    planes = (vast(y, x, channels), np.zeros((z, x, 4), np.float32), np.zeros((z, y, 4), np.float32))
    lines = (np.ones((z, channels), np.float32), np.zeros((y, 4), np.float32), np.zeros((x, 4), np.float32))
    assert planes[0].size > BEYOND
    planes[0][-1, -1] = 0.5
    grid = {"planes": planes, "lines": lines, "nodes": (x, y, z), "channels": (channels, 4, 4)}
    return {"grid": grid, "coords": np.ones((samples, 3), np.float32), "samples": samples}


def test_last_node_of_a_vast_plane_is_read_and_its_gradient_written():
    arguments = vm_arguments(samples=3)
    out = launch("vm.cu", "launch_vm", {**arguments, "is_features": False, "out": np.zeros(3, np.float32)})["out"]
    np.testing.assert_allclose(out, 0.5 * 68)
    gradient = {part: tuple(vast(*each.shape) for each in arguments["grid"][part]) for part in ("planes", "lines")}
    upstream = {"grad": np.ones(3, np.float32), "is_features": False}
    launch("vm.cu", "launch_vm_backward", {**arguments, **upstream, "gradient": gradient})
    np.testing.assert_allclose(gradient["planes"][0][-1, -1], 3.0)


def test_last_node_of_a_vast_voxel_grid_is_sampled_and_updated():
    side, samples = 1300, 3
    shape = {"shape": {"nodes": (side, side, side), "channels": 1}}
    grid, gradient = vast(side, side, side, 1), vast(side, side, side, 1)
    assert grid.size > BEYOND
    grid[-1, -1, -1] = 0.5
    points = {"coords": np.ones((samples, 3), np.float32), "samples": samples}
    out = {"out": np.zeros((samples, 1), np.float32)}
    launch("voxels.cu", "launch_voxel_features", {**shape, "grid": grid, **points, **out})
    np.testing.assert_allclose(out["out"], 0.5)
    upstream = np.ones((samples, 1), np.float32)
    launch(
        "voxels.cu",
        "launch_add_voxel_gradient",
        {**shape, **points, "grad": upstream, "gradient": gradient, "touched": None},
    )
    np.testing.assert_allclose(gradient[-1, -1, -1], 3.0)
    tv = {"tv": {"weights": (1.0, 2.0, 3.0), "is_dense": True}}
    runs_of_line = -(-side // 64)
    last_block = (side * side * runs_of_line // 4 - 1, 1)  # a block owns four runs of single floats
    launch(
        "voxel_adam.cu",
        "launch_add_voxel_tv",
        {**tv, **shape, "grid": grid, "grad": gradient, "touched": None},
        last_block,
    )
    np.testing.assert_allclose(gradient[-1, -1, -1], 3.0 + 0.5 * (1 + 2 + 3))
    moments = {"exp_avg": vast(*grid.shape), "exp_avg_sq": vast(*grid.shape), "rates": None, "touched": None}
    state = {"param": grid, "grad": gradient, **moments}
    update = {"step": {**FACTORS, "step_size": 0.1}, "skip_zero": True, **shape, "state": state}
    last_block = (-(-grid.size // 64 // 16) - 1, 1)  # sixteen runs of 64, as one line where nothing is touched
    launch("voxel_adam.cu", "launch_voxel_adam", update, last_block)
    np.testing.assert_allclose(grid[-1, -1, -1], 0.5 - 0.1 * 0.1 / 0.01**0.5, rtol=1e-6)
    assert gradient[-1, -1, -1] == 0


def test_last_elements_of_a_vast_parameter_are_updated():
    arrays = {name: vast(BEYOND) for name in ("param", "grad", "exp_avg", "exp_avg_sq")}
    arrays["grad"][-5:] = 1.0
    arguments = {
        "shared": FACTORS,
        "corrects_root": True,
        "all": as_struct([arrays], [(FACTORS["root_correction"], 0.5)]),
    }
    launch("adam.cu", "launch_adam_steps", arguments)  # rows of blocks stride: the first one comes round to the end
    np.testing.assert_allclose(arrays["param"][-5:], -0.5, rtol=1e-5)


def test_last_row_of_a_vast_plane_is_resampled_and_regularised():
    n_v, n_u, channels = 1 << 15, 1 << 14, 5
    plane = vast(n_v, n_u, channels)
    assert plane.size > BEYOND
    plane[-1, -1] = 2.0
    values = {"plane": {"values": plane, "n_v": n_v, "n_u": n_u, "channels": channels}}
    out = vast(n_v, n_u, channels)
    last_row = (n_v - 1, 1)
    launch("planes.cu", "launch_resize_plane", {**values, "n_v": n_v, "n_u": n_u, "out": out}, last_row)
    np.testing.assert_allclose(out[-1, -2:, 0], [0.0, 2.0])
    gradient = vast(n_v, n_u, channels)
    scale = np.array([1e9], np.float32)
    planes = {
        "values": (plane, None, None),
        "n_v": (n_v, 0, 0),
        "n_u": (n_u, 0, 0),
        "channels": (channels, 0, 0),
        "count": 1,
        "first_factor": 1.0,
        "second_factor": 1.0,
    }
    arguments = {"planes": planes, "scale": scale, "gradients": {"values": (gradient, None, None)}}
    launch("planes.cu", "launch_planes_tv_backward", arguments, last_row)
    exact = 4e9 * 2.0 * (1 / ((n_v - 1) * n_u * channels) + 1 / (n_v * (n_u - 1) * channels))
    np.testing.assert_allclose(gradient[-1, -1], exact, rtol=1e-5)


def test_samples_beyond_2_31_are_composited_and_added_up():
    sigma, delta, index = vast(BEYOND), vast(BEYOND), vast(BEYOND, dtype=np.int64)
    sigma[-5:], delta[-5:] = 1.0, 0.5
    outputs = {"weights": vast(BEYOND), "opacity": np.zeros(1, np.float32), "transmittance": vast(BEYOND)}
    offsets = np.array([BEYOND - 5, BEYOND], np.int64)
    samples = {"sigma": sigma, "delta": delta, "offsets": offsets, "rays": 1, "samples": BEYOND, "distance_scale": 1.0}
    launch("compositing.cu", "launch_composite", {"samples": samples, **outputs})
    np.testing.assert_allclose(outputs["transmittance"][-5:], np.exp(-0.5 * np.arange(5)), rtol=1e-6)
    np.testing.assert_allclose(outputs["opacity"], 1 - np.exp(-2.5), rtol=1e-6)

    out = np.zeros((1, 3), np.float32)
    sums = {"weights": outputs["weights"], "values": vast(BEYOND, 3), "ray_index": index, "samples": BEYOND}
    sums["values"][-5:] = 1.0
    sums |= {"channels": 3, "rays": 1}
    launch("compositing.cu", "launch_accumulate", {"sums": sums, "out": out}, (BEYOND // 256, 1))
    np.testing.assert_allclose(out, 1 - np.exp(-2.5), rtol=1e-6)


def test_samples_beyond_2_31_are_written_by_the_marcher():
    box = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    rays = {"origins": np.full((1, 3), 0.5, np.float32), "directions": np.array([[1, 0, 0]], np.float32), "rays": 1}
    march = {**rays, "aabb": box, "near": 0.0, "far": 1.0, "step": 0.25, "places": 5, "jitter": None, "bits": None}
    march |= {"cells": (0, 0, 0), "bits_aabb": None}
    outputs = {
        "coords": vast(BEYOND, 3),
        "t": vast(BEYOND),
        "delta": vast(BEYOND),
        "ray_index": vast(BEYOND, dtype=np.int64),
    }
    outputs["ray_index"][-3:] = -1
    offsets = np.array([BEYOND - 3, BEYOND])
    launch("marching.cu", "launch_fill_samples", {"march": march, "offsets": offsets, "out": outputs})
    np.testing.assert_allclose(outputs["coords"][-3:, 0], [0.0, 0.5, 1.0])
    assert outputs["ray_index"][-3:].tolist() == [0, 0, 0]
