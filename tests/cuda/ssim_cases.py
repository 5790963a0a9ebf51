"""Calls of the SSIM launchers, and what float64 autograd of the reference says they must write."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from simulator import Case, unwritten
from torch import Tensor

from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ops.ssim_window import SsimMix, SsimWindow

TOLERANCE = 3e-4  # of the largest entry: a gradient is a small difference of terms that C2 divides
TILE, DIRECT_THREADS, LARGEST_WINDOW = 32, 256, 11
TALL, FLAT = 32, 16  # rows of a tile
MAPS = ("mean_x", "mean_y", "square", "product")

SAME, VALID = SsimWindow(), SsimWindow(padding="valid")
# Taps that differ from their mirror image: an index with a window that no option gives, to tell one from the other.
LOPSIDED = SimpleNamespace(
    taps=tuple((k + 1) / 66 for k in range(11)), size=11, stride=1, padding_before=3, padding_after=7, c1=1e-4, c2=9e-4,
    clamp_variance=False, mix=SsimMix(),
)  # fmt: skip
OF_S3IM = SsimWindow(4, 1.5, 4, 1)
PARTS = SsimMix(0.0, 0.7, 1.6)
GENERAL = [
    SsimWindow(7, None, 2, 6),
    SsimWindow(2, 0.7, 5, 1),
    SsimWindow(5, 1.5, 1, 3),
    SsimWindow(11, 1.5, 3, "same"),
]


def images(planes: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two float32 images that are alike, `[planes, height, width]` each."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(planes, height, width, generator=generator)
    return x, 0.5 * x + 0.5 * torch.rand(planes, height, width, generator=generator)


def flat_images(planes: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Bright float32 images whose squares leave no digit for their variance, which is about as large as C2."""
    x, y = images(planes, height, width, seed=3)
    return 30 + 0.05 * x, 30 + 0.05 * y


def by_raw_moments(x: Tensor, y: Tensor, window: SsimWindow) -> tuple[Tensor, ...]:
    """Index, S1, S2 and mu_x - mu_y, and a leaf they depend on: the means of x, y, x^2 + y^2 and x y, for derivatives
    by each with the others held."""
    before, after = window.padding_before, window.padding_after
    u, v = (F.pad(each, (before, after, before, after)) for each in (x, y))
    quantities = torch.stack((u, v, u * u + v * v, u * v))
    raw = reference.window_means(quantities.flatten(0, 1), window).unflatten(0, quantities.shape[:2])
    if raw.requires_grad:
        raw.retain_grad()
    else:
        raw.requires_grad_()
    mean_x, mean_y, square, product = raw.unbind()
    moments = torch.stack((mean_x, mean_y, square - mean_x**2 - mean_y**2, product - mean_x * mean_y))
    luminance, structure, difference = reference.similarity(moments, window)
    return luminance * structure, luminance, structure, difference, raw


class Exact:
    """Index, derivatives and gradients of two images in double precision by autograd."""

    def __init__(self, x: Tensor, y: Tensor, window: SsimWindow, upstream: float) -> None:
        x, y = (image.double().requires_grad_() for image in (x, y))
        ssim, luminance, structure, difference, raw = by_raw_moments(x, y, window)
        index = window.mix.product * ssim + window.mix.luminance * luminance + window.mix.structure * structure
        index.sum().backward()
        self.moments = reference.ssim_moments(x, y, window).detach().numpy()
        self.by_moments = raw.grad.numpy()
        self.statistics = torch.stack(
            [each.mean() for each in (ssim, luminance, structure, difference, difference.abs())]
        ).detach().numpy()  # fmt: skip
        self.mean = index.mean()[None].detach().numpy()
        self.grad_x, self.grad_y = (upstream * image.grad.numpy() for image in (x, y))
        self.planes, self.rows, self.columns = ssim.shape


def geometry(size: tuple[int, int, int], map_size: tuple[int, int], window: SsimWindow) -> dict:
    """Planes, their maps and the windows over them as the launchers take them."""
    return {
        **dict(zip(("planes", "height", "width", "rows", "columns"), (*size, *map_size), strict=True)),
        "taps": window.size,
        "weights": (*map(float, window.taps), *[0.0] * (LARGEST_WINDOW - window.size)),
        "stride": window.stride,
        "before": window.padding_before,
        "c1": window.c1,
        "c2": window.c2,
        "mix": tuple(map(float, window.mix)),
    }


def inputs(
    size: tuple[int, int, int],
    window: SsimWindow,
    upstream: float = 1.0,
    make: Callable[[int, int, int], tuple[Tensor, Tensor]] = images,
) -> tuple[dict, Exact]:
    """The arguments that launchers begin with, and the exact results."""
    x, y = make(*size)
    exact = Exact(x, y, window, upstream)
    return {"g": geometry(size, (exact.rows, exact.columns), window), "x": x.numpy(), "y": y.numpy()}, exact


def forward_case(
    name: str, size: tuple[int, int, int], window: SsimWindow, saves: bool, rows: int = TALL, **report
) -> Case:
    arguments, exact = inputs(size, window)
    is_tiled = window.size == 11 and window.stride == 1
    windows = exact.planes * exact.rows * exact.columns
    tiles = exact.planes * -(-exact.rows // rows) * -(-exact.columns // TILE)
    arguments |= {"by": {each: unwritten(*exact.by_moments[0].shape) if saves else None for each in MAPS}}
    arguments |= {"block_sums": unwritten(5, tiles if is_tiled else -(-windows // DIRECT_THREADS))}
    arguments |= {"mean": unwritten(1), "statistics": unwritten(5), "tile_rows": rows}
    expected = {"mean": exact.mean, "statistics": exact.statistics}
    if saves:
        expected |= {"by": dict(zip(MAPS, exact.by_moments, strict=True))}
    return Case(name, "launch_ssim_forward", arguments, expected, TOLERANCE, **report)


def flat_case(name: str, size: tuple[int, int, int], window: SsimWindow) -> Case:
    """The index of flat images, right to far more digits than squares would leave."""
    arguments, exact = inputs(size, window, make=flat_images)
    case = forward_case(name, size, window, saves=False)
    case.arguments.update(arguments)
    return Case(name, case.launcher, case.arguments, {"mean": exact.mean, "statistics": exact.statistics}, 1e-6)


def moments_case(name: str, size: tuple[int, int, int], window: SsimWindow, rows: int = TALL, **report) -> Case:
    arguments, exact = inputs(size, window)
    arguments |= {"moments": unwritten(*exact.moments.shape), "tile_rows": rows}
    return Case(name, "launch_ssim_moments", arguments, {"moments": exact.moments}, TOLERANCE, **report)


def adjoint_case(
    name: str, size: tuple[int, int, int], window: SsimWindow, wants: str, rows: int = TALL, **report
) -> Case:
    scale, factor = 1.7, 0.3
    arguments, exact = inputs(size, window, upstream=scale * factor)
    maps = dict(zip(MAPS, exact.by_moments.astype(np.float32), strict=True))
    maps |= {f"mean_{each}": None for each in "xy" if each not in wants}
    arguments |= {
        "by": maps, "scale": np.array([scale], np.float32), "factor": factor,
        "grad_x": unwritten(*size) if "x" in wants else None, "grad_y": unwritten(*size) if "y" in wants else None,
        "tile_rows": rows,
    }  # fmt: skip
    expected = {f"grad_{each}": getattr(exact, f"grad_{each}") for each in wants}
    return Case(name, "launch_ssim_adjoint", arguments, expected, TOLERANCE, **report)


def recompute_case(name: str, size: tuple[int, int, int], window: SsimWindow, wants: str, **report) -> Case:
    scale, factor = -0.9, 0.5
    arguments, exact = inputs(size, window, upstream=scale * factor)
    arguments |= {
        "scale": np.array([scale], np.float32), "factor": factor,
        "grad_x": unwritten(*size) if "x" in wants else None, "grad_y": unwritten(*size) if "y" in wants else None,
    }  # fmt: skip
    expected = {f"grad_{each}": getattr(exact, f"grad_{each}") for each in wants}
    return Case(name, "launch_ssim_recompute", arguments, expected, TOLERANCE, **report)


def tile_forward_cases() -> list[Case]:
    return [
        forward_case("two odd planes, all maps", (2, 37, 41), SAME, saves=True),
        forward_case("two odd planes in flat tiles", (2, 37, 41), SAME, saves=True, rows=FLAT),
        forward_case("one pixel", (1, 1, 1), SAME, saves=True),
        forward_case("windows inside only, nothing saved", (1, 43, 21), VALID, saves=False),
        forward_case("lopsided taps", (1, 33, 20), LOPSIDED, saves=True),
        forward_case("parts of the index", (1, 20, 35), SsimWindow(mix=PARTS), saves=True),
        flat_case("flat images", (1, 43, 51), VALID),
        forward_case("64x96, nothing saved", (1, 64, 96), SAME, saves=False, elements=64 * 96, floor=(8, 0)),
        forward_case(
            "64x96 in flat tiles, nothing saved", (1, 64, 96), SAME, False, FLAT, elements=64 * 96, floor=(8, 0)
        ),
    ]


def tile_moments_cases() -> list[Case]:
    return [
        moments_case("two odd planes", (2, 37, 41), SAME),
        moments_case("windows inside only, flat tiles", (1, 43, 21), VALID, rows=FLAT),
        moments_case("lopsided taps", (1, 5, 70), LOPSIDED),
        moments_case("64x96", (1, 64, 96), SAME, elements=64 * 96, floor=(8, 16)),
    ]


def tile_adjoint_cases() -> list[Case]:
    return [
        adjoint_case("two odd planes, both gradients", (2, 37, 41), SAME, "xy"),
        adjoint_case("two odd planes in flat tiles", (2, 37, 41), SAME, "x", rows=FLAT),
        adjoint_case("one pixel", (1, 1, 1), SAME, "y", rows=FLAT),
        adjoint_case("windows inside only", (1, 43, 21), VALID, "x"),
        adjoint_case("lopsided taps", (1, 33, 20), LOPSIDED, "y"),
        adjoint_case("lopsided taps, both gradients", (1, 17, 35), LOPSIDED, "xy"),
        adjoint_case("64x96", (1, 64, 96), SAME, "y", elements=64 * 96, floor=(20, 4)),
    ]


def recompute_cases() -> list[Case]:
    return [
        recompute_case("two odd planes, both gradients", (2, 19, 37), SAME, "xy"),
        recompute_case("one pixel", (1, 1, 1), SAME, "y"),
        recompute_case("windows inside only", (1, 27, 21), VALID, "x"),
        recompute_case("lopsided taps", (1, 20, 33), LOPSIDED, "y"),
        recompute_case("parts of the index", (1, 20, 35), SsimWindow(mix=PARTS), "y"),
        recompute_case("64x96", (1, 64, 96), SAME, "y", elements=64 * 96, floor=(8, 4)),
    ]


def direct_forward_cases() -> list[Case]:
    return [
        forward_case("4 at stride 4, nothing saved", (3, 64, 64), OF_S3IM, False, elements=3 * 4096, floor=(8, 0)),
        forward_case("4 at stride 4, odd", (2, 13, 70), OF_S3IM, saves=True),
        moments_case("moments, 4 at stride 4", (1, 14, 9), OF_S3IM),
        flat_case("flat images, windows over the border", (1, 22, 22), OF_S3IM),
        *(forward_case(f"{w.size} at stride {w.stride}", (2, 19, 23), w, saves=True) for w in GENERAL),
        moments_case("moments, 7 at stride 2", (2, 10, 11), GENERAL[0]),
    ]


def direct_adjoint_cases() -> list[Case]:
    return [
        adjoint_case("4 at stride 4", (3, 64, 64), OF_S3IM, "y", elements=3 * 4096, floor=(8 + 12 / 16, 4)),
        adjoint_case("4 at stride 4, odd, both", (2, 13, 70), OF_S3IM, "xy"),
        *(adjoint_case(f"{w.size} at stride {w.stride}, both", (2, 19, 23), w, "xy") for w in GENERAL),
        adjoint_case("7 at stride 2, x only", (1, 9, 31), GENERAL[0], "x"),
    ]
