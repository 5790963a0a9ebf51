"""Calls timed turn and turn about in one process: medians, page faults, peak memory; native against reference."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from nerf_ssim.ops import backend

_RESET_PEAK = "5"  # what Linux takes as: the peak of resident memory begins anew


@dataclass(frozen=True)
class Timing:
    """Medians over a call's timed runs.

    wall_ms, cpu_ms: elapsed time, and processor time over all threads. system_ms: the part of `cpu_ms` that the kernel
    spent, mostly on page faults. page_faults: minor ones, a run. peak_rss_mb: most resident memory of this process
    during a run, interpreter and everything else included, in MB of 10^6 bytes; None where the system cannot tell.
    """

    wall_ms: float
    cpu_ms: float
    system_ms: float
    page_faults: float
    peak_rss_mb: float | None


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


def interleaved(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """Times each call `repeats` times in turn, after one untimed round.

    Other jobs of the machine so disturb all calls alike; processor time is disturbed least.
    """
    runs: dict[str, list[Timing]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, call in calls.items():
            measured = measure(call)
            if number:
                runs[name].append(measured)
    return {name: _medians(timings) for name, timings in runs.items()}


def measure(call: Callable[[], object]) -> Timing:
    """One run of `call`."""
    has_peak = _reset_peak()
    used = resource.getrusage(resource.RUSAGE_SELF)
    start, cpu_start = time.perf_counter(), time.process_time()
    call()
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    now = resource.getrusage(resource.RUSAGE_SELF)
    return Timing(
        1e3 * wall,
        1e3 * cpu,
        1e3 * (now.ru_stime - used.ru_stime),
        now.ru_minflt - used.ru_minflt,
        peak_rss_mb() if has_peak else None,
    )


def peak_rss_mb() -> float | None:
    """Most resident memory of this process since it began or `measure` did, MB; None where `/proc` cannot tell.

    (`getrusage` would also count what the parent held when it started this process.)
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    kibibytes = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), None)
    return None if kibibytes is None else int(kibibytes) * 1024 / 1e6


def compare(
    op: str,
    run: Callable[[], object],
    repeats: int,
    *,
    has_reference: bool = True,
    ops: tuple[str, ...] = (),
    others: Mapping[str, Callable[[], object]] | None = None,
    runs_a_call: int = 1,
    **sizes: object,
) -> dict[str, object]:
    """Time `run` natively and by the reference, turn and turn about.

    Args:
        op: name of the record; where `ops` is empty also the op that must have a native kernel.
        run: one measured call.
        repeats: timed calls of each; one more of each comes first, untimed.
        has_reference: whether the reference is timed too; else its figures and the ratio are null.
        ops: the ops in `nerf_ssim.ops.backend` that must have native kernels.
        others: further calls to time in turn with these, as they are; each adds `NAME_ms` and `cpu_NAME_ms`.
        runs_a_call: how many repetitions of what is reported a call of `run` contains; times and faults are divided.
        sizes: what was measured, copied into the record.
    Returns:
        `op, native_ms, reference_ms, ratio` (medians of wall time), the same of this process's CPU time, then the
        native side's kernel time, page faults and peak memory (see `Timing`), `threads` and the sizes. CPU time is the
        fairer one on a machine that others use too.
    """

    def run_as(implementation: str) -> None:
        with forced(implementation):
            for name in ops or (op,):
                assert backend.implementation(name) == implementation
            run()

    implementations = ("native", "reference") if has_reference else ("native",)
    timings = interleaved({name: partial(run_as, name) for name in implementations} | dict(others or {}), repeats)
    record: dict[str, object] = {"op": op}
    for prefix, clock in (("", "wall_ms"), ("cpu_", "cpu_ms")):
        milliseconds = {name: round(getattr(timing, clock) / runs_a_call, 3) for name, timing in timings.items()}
        figures = {"native": None, "reference": None} | milliseconds
        record |= {f"{prefix}{name}_ms": value for name, value in figures.items()}
        record[f"{prefix}ratio"] = ratio(record, f"{prefix}reference_ms", f"{prefix}native_ms")
    native = timings["native"]
    return record | {
        "system_ms": round(native.system_ms / runs_a_call, 2),
        "page_faults": round(native.page_faults / runs_a_call),
        "peak_rss_mb": None if native.peak_rss_mb is None else round(native.peak_rss_mb),
        "threads": torch.get_num_threads(),
        **sizes,
    }


def ratio(record: Mapping[str, object], slower: str, faster: str) -> float | None:
    """How many times as long the one took as the other; None where it was not measured."""
    return None if record[slower] is None else round(float(record[slower]) / float(record[faster]), 2)


def _medians(timings: list[Timing]) -> Timing:
    peaks = [timing.peak_rss_mb for timing in timings if timing.peak_rss_mb is not None]
    return Timing(
        *(statistics.median(getattr(timing, name) for timing in timings) for name in
          ("wall_ms", "cpu_ms", "system_ms", "page_faults")),
        peak_rss_mb=statistics.median(peaks) if peaks else None,
    )  # fmt: skip


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True
