"""Index arithmetic past 2^31 elements: a huge launch's last blocks alone, in memory that is mostly not there."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from simulated_call import Run, call
from simulator import library_of, missing_tool
from ssim_cases import MAPS, OF_S3IM, SAME, geometry

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())]

NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux
SIDE, PLANES, SMALL = 32768, 3, 64  # 3.2 billion pixels; their last 32x32 are those of one 64x64 plane


def zeros(count: int) -> np.ndarray:
    """float32 zeros that take no memory until they are touched."""
    return np.frombuffer(mmap.mmap(-1, 4 * count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE), np.float32)


def corner(size: int, planes: int, values: np.ndarray) -> np.ndarray:
    """A view of the last 32x32 pixels of `[planes, size, size]`."""
    return values.reshape(planes, size, size)[-1, -32:, -32:]


def forward(side: int, planes: int, only_blocks: tuple[int, int] | None) -> np.ndarray:
    """The sums of the last tile."""
    tiles = planes * (side // 32) ** 2
    x, y, sums = zeros(planes * side**2), zeros(planes * side**2), zeros(5 * tiles)
    pattern = np.random.default_rng(3).random((32, 32), dtype=np.float32)
    corner(side, planes, x)[...], corner(side, planes, y)[...] = pattern, pattern.T
    outputs = {"by": dict.fromkeys(MAPS), "block_sums": sums, "mean": zeros(1), "statistics": zeros(5), "tile_rows": 32}
    places = geometry((planes, side, side), SAME.map_size(side, side), SAME)
    arguments = {"g": places, "x": x, "y": y, **outputs}
    library = str(library_of("ssim.cu", "plain"))
    assert call(Run(library, "launch_ssim_forward", arguments, only_blocks=only_blocks)).failure == ""
    return sums.reshape(5, tiles)[:, -1].copy()


def adjoint(window, side: int, planes: int, only_blocks: tuple[int, int] | None) -> np.ndarray:
    """The gradient of the last two rows' last pixels, from derivatives that are not zero in the last windows only."""
    places = geometry((planes, side, side), window.map_size(side, side), window)
    generator = np.random.default_rng(4)
    x, y, gradient = (zeros(planes * side**2) for _ in range(3))
    corner(side, planes, x)[...], corner(side, planes, y)[...] = generator.random((2, 32, 32), dtype=np.float32)
    maps = dict.fromkeys(MAPS)
    for name in MAPS[1:]:
        maps[name] = zeros(planes * places["rows"] * places["columns"])
        maps[name].reshape(planes, places["rows"], -1)[-1, -5:, -5:] = generator.random((5, 5), dtype=np.float32)
    arguments = {"g": places, "x": x, "y": y, "by": maps}
    arguments |= {"scale": np.ones(1, np.float32), "factor": 1.0, "grad_x": None, "grad_y": gradient, "tile_rows": 32}
    library = str(library_of("ssim.cu", "plain"))
    assert call(Run(library, "launch_ssim_adjoint", arguments, only_blocks=only_blocks)).failure == ""
    return corner(side, planes, gradient)[-2:].copy()


def test_the_last_tile_of_three_billion_pixels_is_that_of_a_small_image():
    tiles = PLANES * (SIDE // 32) ** 2
    expected = forward(SMALL, 1, None)
    assert np.array_equal(forward(SIDE, PLANES, (tiles - 1, 1)), expected) and expected[0] < 1000


@pytest.mark.parametrize(
    ("window", "pixels_of_block", "last"),
    [(SAME, 32 * 32, 1), (OF_S3IM, 256, 2 * SIDE // 256)],
    ids=["tiled", "direct"],
)
def test_the_last_gradients_of_three_billion_pixels_are_those_of_a_small_image(window, pixels_of_block, last):
    blocks = PLANES * SIDE**2 // pixels_of_block
    expected = adjoint(window, SMALL, 1, None)
    assert np.array_equal(adjoint(window, SIDE, PLANES, (blocks - last, last)), expected)
    assert np.abs(expected).max() > 0
