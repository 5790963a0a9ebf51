"""The figures of `make gpu-check`: time of an iteration, how busy it keeps the GPU, in how many launches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

WARM_UP, CALLS, PROFILED = 5, 20, 3
SMALL_TENSORF = (
    "--batch_size 256 --s3im_patch_height 16 --s3im_patch_width 16 --N_voxel_init 4096 --N_voxel_final 4096 "
    "--nSamples 24"
)
SMALL_DVGO = (
    "--batch_size 256 --s3im_patch_height 16 --s3im_patch_width 16 --num_voxels 4096 --num_voxels_base 4096 "
    "--pg_scale []"
)
SMALL_SIZE, SIZE = 24, 384  # of the synthetic views, in a rehearsal and in earnest


@dataclass(frozen=True)
class Figures:
    """Of a call: median time in ms; of it, how long the GPU computed, and in how many launches (None on a CPU)."""

    wall_ms: float
    busy_ms: float | None
    launches: float | None

    def __str__(self) -> str:
        line = f"{self.wall_ms:9.3f} ms {1e3 / self.wall_ms:7.1f}/s"
        if self.busy_ms is not None and self.launches is not None:
            share = self.busy_ms / self.wall_ms
            line += f"   GPU busy {self.busy_ms:8.3f} ms ({share:4.0%}), {self.launches:5.0f} launches"
        return line


def measured(call: Callable[[], object], device: str) -> Figures:
    """Times `call`, which waits for nothing, with a wait around each; then profiles a few."""
    is_gpu = device != "cpu"

    def wait() -> None:
        if is_gpu:
            torch.cuda.synchronize(device)

    warm_up, calls = (WARM_UP, CALLS) if is_gpu else (1, 3)
    for _ in range(warm_up):
        call()
    times = []
    for _ in range(calls):
        wait()
        started = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - started)
    busy, launches = profiled(call, wait) if is_gpu else (None, None)
    return Figures(1e3 * statistics.median(times), busy, launches)


def profiled(call: Callable[[], object], wait: Callable[[], None]) -> tuple[float, float]:
    """Milliseconds that the GPU computes in a call, and launches: kernels, fills and copies."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        for _ in range(PROFILED):
            call()
        wait()
    events = [event for event in record.events() if event.device_type == DeviceType.CUDA]
    return sum(event.device_time for event in events) / PROFILED / 1e3, len(events) / PROFILED


def tensorf_lines(device: str, *, states: Sequence[str], precisions: Sequence[str]) -> None:
    """Prints a line a state and precision, with SSIM and without."""
    from benchmarks.states import canonical_config, make_workload
    from nerf_ssim.training.step import take_step

    for state in states:
        for precision in precisions:
            small = SMALL_TENSORF.split() if device == "cpu" else []
            options = ["--device", device, "--decoder_precision", precision, *small]
            work = make_workload(state, canonical_config(options), size=SMALL_SIZE if device == "cpu" else SIZE)
            counts: list[tuple[int, int]] = []

            def step(weight: float, work=work, counts=counts) -> None:  # type: ignore[no-untyped-def]
                render = take_step(work.recipe, work.batches, work.s3im, weight, work.iteration).render
                counts.append((render.n_samples, render.n_coloured))

            for name, weight in (("with SSIM", 1.0), ("without", 0.0)):
                print(f"{state:8} {precision:8} {name:9} {measured(lambda w=weight: step(w), device)}", flush=True)
            print(f"{'':8} samples {counts[-1][0]}, of which coloured {counts[-1][1]}{peak_memory(device)}", flush=True)


def dvgo_lines(device: str, *, states: Sequence[str]) -> None:
    """Prints a line a state."""
    from benchmarks.dvgo import make_workload
    from nerf_ssim.models.config import parse
    from nerf_ssim.training.step import take_step

    small = SMALL_DVGO.split() if device == "cpu" else []
    words = ["--config", "dvgo_replica_scene1.txt", "--datadir", "synthetic", "--device", device, *small]
    for state in states:
        work = make_workload(state, parse(words), size=SMALL_SIZE if device == "cpu" else SIZE)
        figures = measured(lambda w=work: take_step(w.recipe, w.batches, w.s3im, 1.0, w.iteration), device)
        print(f"{state:8} {figures}{peak_memory(device)}", flush=True)


def peak_memory(device: str) -> str:
    """The most memory that the device has held since the last call, for the end of a line."""
    if device == "cpu":
        return ""
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return f", peak {peak:.2f} GiB"


def rivals() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """SSIM of other packages that are installed: (target, rendered) to the mean, all called in the same way."""
    import importlib

    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    for module in ("fused_ssim", "fussim"):
        try:
            their_ssim = importlib.import_module(module).fused_ssim
        except Exception as error:  # whatever a foreign package's import raises
            print(f"{module}: not measured ({type(error).__name__}: {error})")
            continue
        found[module] = lambda x, y, theirs=their_ssim: theirs(y, x)
    return found


def ssim_lines(device: str) -> None:
    """Prints forward alone, and forward with its gradient, of each way and size."""
    from nerf_ssim.ops.reference import ssim as reference
    from nerf_ssim.ops.ssim_window import SsimWindow
    from nerf_ssim.ssim import fused_ssim

    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "nerf_ssim": fused_ssim,
        "nerf_ssim recompute": lambda x, y: fused_ssim(x, y, recompute=True),
        **rivals(),
        "plain PyTorch": lambda x, y: reference.ssim_maps(x[0], y[0], SsimWindow())[0].mean(),
    }
    for height, width in ((32, 48),) if device == "cpu" else ((384, 384), (1080, 1920), (2160, 3840)):
        x = torch.rand(1, 3, height, width, device=device)
        y = torch.rand(1, 3, height, width, device=device, requires_grad=True)
        for name, way in ways.items():
            with torch.no_grad():
                forward = measured(partial(way, x, y), device)
            print(f"{height}x{width} {name:20} forward  {forward}", flush=True)
            both = measured(partial(there_and_back, way, x, y), device)
            print(f"{height}x{width} {name:20} and back {both}", flush=True)


def there_and_back(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> None:
    """A loss and its gradient."""
    y.grad = None
    loss(x, y).backward()
