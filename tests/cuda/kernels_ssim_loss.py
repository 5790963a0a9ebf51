"""The SSIM kernels that take the pixels' error on the way, and the defects planted in them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from simulator import Case, Kernel, Mutation, unwritten
from ssim_cases import FLAT, LOPSIDED, MAPS, PARTS, SAME, TALL, TILE, TOLERANCE, VALID, inputs

from nerf_ssim.ops.ssim_window import SsimWindow

BY_ERROR, BY_INDEX = 0.8, 0.3
WIDE = SsimWindow(padding=10)  # windows that hold a single row or column of the image, and more of them than pixels


def loss_arguments(
    size: tuple[int, int, int], window: SsimWindow | SimpleNamespace, power: int, upstream: float = 1.0
) -> tuple[dict, dict, dict[str, np.ndarray]]:
    """The arguments that both launchers begin with, those of the loss, and the exact results."""
    windows = size[0] * np.prod([side + window.padding_before + window.padding_after - 10 for side in size[1:]])
    arguments, exact = inputs(size, window, upstream=-upstream * BY_INDEX / float(windows))
    difference = arguments["x"].astype(np.float64) - arguments["y"]
    slope = np.sign(difference) if power == 1 else 2 * difference
    of_error = upstream * BY_ERROR * slope / difference.size
    value = BY_ERROR * (np.abs(difference) ** power).mean() + BY_INDEX * (sum(window.mix) - exact.mean)
    results = {"value": value, "grad_x": exact.grad_x + of_error, "grad_y": exact.grad_y - of_error}
    maps = {each: exact.by_moments[place] for place, each in enumerate(MAPS)}
    return arguments | {"by": maps}, {"power": power, "by_error": BY_ERROR, "by_index": BY_INDEX}, results


def loss_case(
    name: str,
    size: tuple[int, int, int],
    window: SsimWindow | SimpleNamespace,
    power: int,
    saves: bool = False,
    rows: int = TALL,
    **report,
) -> Case:
    arguments, loss, exact = loss_arguments(size, window, power)
    by, g = arguments["by"], arguments["g"]
    tiles = g["planes"] * -(-g["rows"] // rows) * -(-g["columns"] // TILE)
    arguments["by"] = {each: unwritten(*by[each].shape) if saves else None for each in MAPS}
    arguments |= {"loss": loss, "block_sums": unwritten(6, tiles), "value": unwritten(1), "tile_rows": rows}
    expected = {"value": exact["value"]} | ({"by": by} if saves else {})
    return Case(name, "launch_ssim_loss", arguments, expected, TOLERANCE / 10, **report)


def loss_adjoint_case(
    name: str,
    size: tuple[int, int, int],
    window: SsimWindow | SimpleNamespace,
    power: int,
    wants: str,
    rows: int = TALL,
    **report,
) -> Case:
    scale = -1.7
    arguments, loss, exact = loss_arguments(size, window, power, scale)
    by = {each: values.astype(np.float32) for each, values in arguments["by"].items()}
    arguments["by"] = by | {f"mean_{each}": None for each in "xy" if each not in wants}
    arguments |= {
        "loss": loss, "scale": np.array([scale], np.float32),
        "grad_x": unwritten(*size) if "x" in wants else None, "grad_y": unwritten(*size) if "y" in wants else None,
        "tile_rows": rows,
    }  # fmt: skip
    expected = {f"grad_{each}": exact[f"grad_{each}"] for each in wants}
    return Case(name, "launch_ssim_loss_adjoint", arguments, expected, TOLERANCE, **report)


def loss_cases() -> list[Case]:
    return [
        loss_case("two odd planes, L1, all maps", (2, 37, 41), SAME, 1, saves=True),
        loss_case("two odd planes in flat tiles, squares", (2, 37, 41), SAME, 2, rows=FLAT),
        loss_case("windows inside only, pixels behind the last", (1, 42, 74), VALID, 1),
        loss_case("windows inside only, flat tiles", (2, 27, 42), VALID, 2, rows=FLAT),
        loss_case("more windows than pixels", (1, 25, 27), WIDE, 1),
        loss_case("lopsided taps", (1, 33, 20), LOPSIDED, 1, rows=FLAT),
        loss_case("parts of the index", (1, 20, 35), SsimWindow(mix=PARTS), 2),
        loss_case("64x96, nothing saved", (1, 64, 96), SAME, 1, elements=64 * 96, floor=(8, 0)),
    ]


def loss_adjoint_cases() -> list[Case]:
    return [
        loss_adjoint_case("two odd planes, L1, both gradients", (2, 37, 41), SAME, 1, "xy"),
        loss_adjoint_case("two odd planes in flat tiles, squares", (2, 37, 41), SAME, 2, "x", rows=FLAT),
        loss_adjoint_case("windows inside only, L1", (1, 43, 21), VALID, 1, "y"),
        loss_adjoint_case("lopsided taps, both gradients, squares", (1, 17, 35), LOPSIDED, 2, "xy"),
        loss_adjoint_case("64x96", (1, 64, 96), SAME, 1, "y", elements=64 * 96, floor=(20, 4)),
    ]


KERNELS = [
    Kernel(
        name="ssim_loss",
        source="ssim.cu",
        what="A pixel error (absolute or squared) and mean SSIM as one loss: ssim_forward, whose blocks add up, while "
        "they load, the error of the pixels that have the numbers of their windows; the last ones take those behind.",
        entries=("ssim_tile_forward<false, true, 32>", "ssim_tile_forward<false, true, 16>", "mean_of_blocks<6>"),
        cases=loss_cases,
        mutations=(
            Mutation("pixels behind the last windows forgotten", "bottom < g.rows ? bottom : g.height", "bottom",
                     "value", "ssim_tile.cuh"),
            Mutation("pixels of the halo counted too", "row < bottom && left <= column", "row < bottom && 0 <= column",
                     "value", "ssim_tile.cuh"),
            Mutation("squares taken for sizes", "power == 2 ? d * d : fabsf(d)", "d * d", "value", "ssim_index.cuh"),
            Mutation("error divided by windows", "sum / of.pixels", "sum / of.windows", "value", "ssim_index.cuh"),
            Mutation("no barrier before the sums of warps are added",
                     "  __syncthreads();\n  if (thread >= kSums)", "  if (thread >= kSums)", "race", "ssim_index.cuh"),
        ),
    ),
    Kernel(
        name="ssim_loss_adjoint",
        source="ssim.cu",
        what="The loss's gradient: ssim_adjoint, which adds the error's to each pixel's before it writes it.",
        entries=(
            "ssim_tile_adjoint<false, true, 32>",
            "ssim_tile_adjoint<false, true, 16>",
            "ssim_tile_adjoint<true, true, 16>",
        ),
        cases=loss_adjoint_cases,
        mutations=(
            Mutation("one sign for both images", "of_other -= by_error", "of_other += by_error", "value",
                     "ssim_tile.cuh"),
            Mutation("slope of the size for squares", "power == 2 ? 2.f * d :", "power == 3 ? 2.f * d :", "value",
                     "ssim_index.cuh"),
            Mutation("upstream gradient forgotten", "by_error = *scale * error_factor", "by_error = error_factor",
                     "value", "ssim_tile.cuh"),
        ),
    ),
]  # fmt: skip
