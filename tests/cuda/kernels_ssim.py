"""The SSIM kernels and the defects planted in them."""

from __future__ import annotations

from simulator import Kernel, Mutation
from ssim_cases import (
    direct_adjoint_cases,
    direct_forward_cases,
    recompute_cases,
    tile_adjoint_cases,
    tile_forward_cases,
    tile_moments_cases,
)

KERNELS = [
    Kernel(
        name="ssim_forward",
        source="ssim.cu",
        what="Mean SSIM and its parts under the 11x11 window. A block of 512 threads owns 32x32 windows of one plane: "
        "it loads the 42x42 pixels under them once, less the one in their middle, filters x, y, x^2 + y^2 and "
        "(x - y)^2 along x and then along y in shared memory, two windows a thread, and adds up the index. Where a "
        "multiprocessor has less than 114 kB of shared memory, tiles are 32x16, one window a thread. The "
        "derivatives that the backward pass needs are written only if asked for; a second kernel adds the blocks' "
        "sums in a fixed order, so there are no atomics.",
        entries=("ssim_tile_forward<false, false, 32>", "ssim_tile_forward<false, false, 16>", "mean_of_blocks<5>"),
        cases=tile_forward_cases,
        mutations=(
            Mutation("no barrier after loading", "  __syncthreads();\n\n  // 2. Filter along x.",
                     "\n  // 2. Filter along x.", "race", "ssim_tile.cuh"),
            Mutation("no barrier between the filters", "  __syncthreads();\n\n  // 3. Filter along y:",
                     "\n  // 3. Filter along y:", "value", "ssim_tile.cuh"),
            Mutation("no barrier before the sums of warps are added",
                     "  __syncthreads();\n  if (thread >= kSums)", "  if (thread >= kSums)", "race",
                     "ssim_index.cuh"),
            Mutation("early return of threads outside the map", "tile.left + column >= g.columns) continue",
                     "tile.left + column >= g.columns) return", "named", "ssim_tile.cuh"),
            Mutation("halo one pixel short",
                     "kColumns; i += kTileThreads) {\n    const int row = tile.top - g.before +",
                     "kColumns - 1; i += kTileThreads) {\n    const int row = tile.top - g.before +", "value",
                     "ssim_tile.cuh"),
            Mutation("a row below the image is read", "row < g.height && 0 <= at", "row <= g.height && 0 <= at",
                     "bounds", "ssim_tile.cuh"),
            Mutation("wrong stride between planes", "tile.plane * g.height * g.width;",
                     "tile.plane * g.width * g.width;", "value", "ssim_tile.cuh"),
            Mutation("vertical tap off by one", "means[q][e] += taps.weights[k - e]",
                     "means[q][e] += taps.weights[k - e == 0 ? 0 : k - e - 1]", "value", "ssim_tile.cuh"),
            Mutation("pixels taken as they are", "is_finite ? make_float2(u, v) : make_float2(0.f, 0.f)",
                     "make_float2(0.f, 0.f)", "value", "ssim_index.cuh"),
            Mutation("last warp left out of the sum", "warp < kWarps; ++warp", "warp < kWarps - 1; ++warp", "value",
                     "ssim_index.cuh"),
        ),
    ),
    Kernel(
        name="ssim_moments",
        source="ssim.cu",
        what="The four moments themselves, for maps of the index: the same tiles and filters as ssim_forward, "
        "whose last step writes the moments instead of the index.",
        entries=("ssim_tile_forward<true, false, 32>", "ssim_tile_forward<true, false, 16>"),
        cases=tile_moments_cases,
        mutations=(
            Mutation("maps overlap", "moments[2 * windows + window] = m.variances",
                     "moments[windows + window] = m.variances", "value", "ssim_index.cuh"),
            Mutation("no barrier between the filters", "  __syncthreads();\n\n  // 3. Filter along y:",
                     "\n  // 3. Filter along y:", "race", "ssim_tile.cuh"),
            Mutation("windows beyond the last column are written", "tile.left + column >= g.columns) continue",
                     "tile.left + column > g.columns) continue", "bounds", "ssim_tile.cuh"),
        ),
    ),
    Kernel(
        name="ssim_adjoint",
        source="ssim.cu",
        what="The gradient from saved derivatives under the 11x11 window. A block owns 32x32 pixels (32x16 where both "
        "images want one, or with less shared memory), loads the 42 columns and rows of windows over them, and "
        "spreads three or four maps along x and along y with the taps mirrored. The upstream gradient is read from "
        "the device.",
        entries=(
            "ssim_tile_adjoint<false, false, 32>",
            "ssim_tile_adjoint<false, false, 16>",
            "ssim_tile_adjoint<true, false, 16>",
        ),
        cases=tile_adjoint_cases,
        mutations=(
            Mutation("no barrier after loading", "  __syncthreads();\n\n  // 2. Spread along x:",
                     "\n  // 2. Spread along x:", "race", "ssim_tile.cuh"),
            Mutation("no barrier between the filters", "  __syncthreads();\n\n  // 3. Spread along y.",
                     "\n  // 3. Spread along y.", "value", "ssim_tile.cuh"),
            Mutation("taps not mirrored", "taps.weights[kHalo - k] * windows", "taps.weights[k] * windows", "value",
                     "ssim_tile.cuh"),
            Mutation("windows shifted by one", "tile.top + g.before - kHalo + i",
                     "tile.top + g.before - kHalo + 1 + i", "value", "ssim_tile.cuh"),
            Mutation("a row below the map is read", "row < g.rows && 0 <= at", "row <= g.rows && 0 <= at", "bounds",
                     "ssim_tile.cuh"),
            Mutation("square counted once", "2.f * u * sums[0][e]", "u * sums[0][e]", "value", "ssim_tile.cuh"),
        ),
    ),
    Kernel(
        name="ssim_recompute",
        source="ssim.cu",
        what="The same gradient with nothing saved by the forward pass. A block owns 32x16 pixels, loads the 52x36 "
        "pixels that reach them through windows, filters them to the 42x26 windows, computes their derivatives in "
        "shared memory and spreads those; two pairs of tiles share one place, because never both are alive.",
        entries=("ssim_tile_recompute<false>", "ssim_tile_recompute<true>"),
        cases=recompute_cases,
        mutations=(
            Mutation("no barrier before pixels are overwritten", "  __syncthreads();\n\n  // 3. Filter along y: the",
                     "\n  // 3. Filter along y: the", "race", "ssim_recompute.cuh"),
            Mutation("no barrier before filtered rows are overwritten",
                     "  __syncthreads();\n\n  // 4. Spread along x.", "\n  // 4. Spread along x.", "value",
                     "ssim_recompute.cuh"),
            Mutation("windows outside the map count", "is_window ? by_square(s) : 0.f", "by_square(s)", "value",
                     "ssim_recompute.cuh"),
            Mutation("halo of one window, not two", "block.top - kHalo + i", "block.top - kTaps / 2 + i", "value",
                     "ssim_recompute.cuh"),
            Mutation("early return before a barrier", "  // 4. Spread along x.\n",
                     "  if (block.left + column >= g.width) return;\n", "named", "ssim_recompute.cuh"),
        ),
    ),
    Kernel(
        name="ssim_forward_direct",
        source="ssim.cu",
        what="Mean SSIM or moments under any other window and stride: one thread a window, straight from global "
        "memory, with a grid-stride loop. The 4 at stride 4 of S3IM is compiled for itself; its windows share no "
        "pixel, so nothing is read twice.",
        entries=(
            "ssim_direct_forward<4, 4, false>",
            "ssim_direct_forward<0, 0, false>",
            "ssim_direct_forward<4, 4, true>",
            "ssim_direct_forward<0, 0, true>",
        ),
        cases=direct_forward_cases,
        mutations=(
            Mutation("a row below the image is read", "top + i >= g.height", "top + i > g.height", "bounds",
                     "ssim_direct.cuh"),
            Mutation("size taken for stride", "column * g.stride - g.before;", "column * g.size - g.before;", "value",
                     "ssim_direct.cuh"),
            Mutation("padding forgotten", "row * g.stride - g.before, left", "row * g.stride, left", "value",
                     "ssim_direct.cuh"),
            Mutation("wrong stride between planes", "plane * g.height + top + i", "plane * g.width + top + i",
                     "bounds", "ssim_direct.cuh"),
        ),
    ),
    Kernel(
        name="ssim_adjoint_direct",
        source="ssim.cu",
        what="The gradient under any other window and stride: one thread a pixel adds up the windows over it (at most "
        "one each way for 4 at stride 4), so that no two threads write one address.",
        entries=(
            "ssim_direct_adjoint<4, 4, false>",
            "ssim_direct_adjoint<0, 0, false>",
            "ssim_direct_adjoint<4, 4, true>",
            "ssim_direct_adjoint<0, 0, true>",
        ),
        cases=direct_adjoint_cases,
        mutations=(
            Mutation("windows below the map are read", "bottom = min(down / g.stride, g.rows - 1)",
                     "bottom = down / g.stride", "bounds", "ssim_direct.cuh"),
            Mutation("first window left out", "along < g.size ? 0 :", "along < g.size ? 1 :", "value",
                     "ssim_direct.cuh"),
            Mutation("one plane serves all", "(plane * g.rows + row) * g.columns", "row * g.columns", "value",
                     "ssim_direct.cuh"),
            Mutation("tap of the next window", "along - column * g.stride]", "along - column * g.stride + 1]", "value",
                     "ssim_direct.cuh"),
        ),
    ),
]  # fmt: skip
