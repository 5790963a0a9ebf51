"""What this machine can do at most, and the time below which it cannot train: the arithmetic floor.

Ceilings are measured in the process that uses them: the rate of torch's float32 matrix product and of a plain copy. The
floor counts only what any implementation must do, so that the share reached says what is left to gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.timing import interleaved

_MATRIX = 1536  # side of the product's matrices, 28 MB in all
_COPIED = 1 << 25  # floats, 128 MiB: far beyond any cache

DENSITY_FLOPS, COLOUR_FLOPS = 2_100, 245_000
"""Of a sample, forward and backward (canonical decoder, 16 and 48 components). Forward alone is a third."""

_PACKED_BYTES = 28  # position 12, distance 4, length 4, ray 8
DENSITY_BYTES = 3 * _PACKED_BYTES + 4 * 2 * 4
"""Of a sample: packed sample written once and read forward and backward; density, weight and the gradient of each
written and read."""
COLOUR_BYTES = 2 * 2 * 12
"""Of a coloured sample: its colour and that colour's gradient, written and read."""
PARAMETER_BYTES = 28 + 4 + 4
"""Of a parameter: Adam's three reads and three writes and its read of the gradient, the gradient's write, and one read
for total variation."""


@dataclass(frozen=True)
class Ceilings:
    """Rates of this machine with the present number of threads: GFLOP/s, and GB/s read and written together."""

    gemm_gflops: float
    copy_gb_s: float


def measure_ceilings(repeats: int = 5) -> Ceilings:
    """Measures both rates, which takes about a second."""
    left, right = torch.rand(_MATRIX, _MATRIX), torch.rand(_MATRIX, _MATRIX)
    product = torch.empty_like(left)
    source, target = torch.zeros(_COPIED), torch.empty(_COPIED)
    calls = {"gemm": lambda: torch.mm(left, right, out=product), "copy": lambda: target.copy_(source)}
    timings = interleaved(calls, repeats)
    return Ceilings(
        2e-6 * _MATRIX**3 / timings["gemm"].wall_ms,
        8e-6 * _COPIED / timings["copy"].wall_ms,
    )


def floor(
    ceilings: Ceilings, *, density_samples: float, colour_samples: float, parameters: int, native_ms: float
) -> dict[str, float]:
    """The floor of an iteration, or of a render where `parameters` is 0, beside the time that it took.

    Samples cost the longer of their arithmetic at the product's rate and their memory at the copy's rate; updating the
    parameters is memory alone.
    """
    flops = DENSITY_FLOPS * density_samples + COLOUR_FLOPS * colour_samples
    sample_bytes = DENSITY_BYTES * density_samples + COLOUR_BYTES * colour_samples
    if parameters == 0:
        flops, sample_bytes = flops / 3, sample_bytes / 2
    parameter_bytes = PARAMETER_BYTES * parameters
    arithmetic_ms = 1e-6 * flops / ceilings.gemm_gflops
    samples_ms = 1e-6 * sample_bytes / ceilings.copy_gb_s
    parameters_ms = 1e-6 * parameter_bytes / ceilings.copy_gb_s
    floor_ms = max(arithmetic_ms, samples_ms) + parameters_ms
    return {
        "gemm_gflops": round(ceilings.gemm_gflops, 1),
        "copy_gb_s": round(ceilings.copy_gb_s, 1),
        "gflop": round(1e-9 * flops, 2),
        "gbyte": round(1e-9 * (sample_bytes + parameter_bytes), 3),
        "floor_ms": round(floor_ms, 2),
        "share_of_floor": round(floor_ms / native_ms, 3),
    }
