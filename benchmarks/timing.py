"""Native against reference in one process: interleaved runs, medians, one record."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from nerf_ssim.ops import backend


@contextmanager
def forced(implementation: str) -> Iterator[None]:
    """Run with `NERF_SSIM_BACKEND` set to `implementation`."""
    before = os.environ.get("NERF_SSIM_BACKEND")
    os.environ["NERF_SSIM_BACKEND"] = implementation
    try:
        yield
    finally:
        if before is None:
            del os.environ["NERF_SSIM_BACKEND"]
        else:
            os.environ["NERF_SSIM_BACKEND"] = before


def compare(op: str, run: Callable[[], object], repeats: int, **sizes: int) -> dict[str, object]:
    """Time `run` natively and by the reference, turn and turn about.

    Args:
        op: the op's name in `nerf_ssim.ops.backend`; it must have a native kernel.
        run: one measured call.
        repeats: timed calls of each; one more of each comes first, untimed.
        sizes: what was measured, copied into the record.
    Returns:
        `op, native_ms, reference_ms, ratio` (medians of wall time), the same of this process's CPU time, `threads`
        and the sizes. CPU time is the fairer one on a machine that others use too.
    """
    wall: dict[str, list[float]] = {"native": [], "reference": []}
    cpu: dict[str, list[float]] = {"native": [], "reference": []}
    for repeat in range(repeats + 1):
        for implementation in wall:
            with forced(implementation):
                assert backend.implementation(op) == implementation
                start, cpu_start = time.perf_counter(), time.process_time()
                run()
                elapsed, cpu_elapsed = time.perf_counter() - start, time.process_time() - cpu_start
            if repeat:
                wall[implementation].append(1e3 * elapsed)
                cpu[implementation].append(1e3 * cpu_elapsed)
    native, reference = statistics.median(wall["native"]), statistics.median(wall["reference"])
    cpu_native, cpu_reference = statistics.median(cpu["native"]), statistics.median(cpu["reference"])
    return {
        "op": op,
        "native_ms": round(native, 2),
        "reference_ms": round(reference, 2),
        "ratio": round(reference / native, 1),
        "cpu_native_ms": round(cpu_native, 2),
        "cpu_reference_ms": round(cpu_reference, 2),
        "cpu_ratio": round(cpu_reference / cpu_native, 1),
        "threads": torch.get_num_threads(),
        **sizes,
    }
