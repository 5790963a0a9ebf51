"""What `make gpu-check` prints: the machine, how many parity tests passed, and times, to be pasted as it is.

Times are medians of CUDA events over repeated calls after a warm-up, beside plain PyTorch's on the same GPU.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import nerf_ssim
from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ops.ssim_window import SsimWindow
from nerf_ssim.ssim import S3IM, fused_ssim

ROOT = Path(__file__).resolve().parents[2]
CALLS, WARM_UP = 50, 10


def milliseconds(call: Callable[[], object]) -> float:
    """Median of the GPU's time for one call."""
    for _ in range(WARM_UP):
        call()
    times = []
    for _ in range(CALLS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def there_and_back(loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """A loss and its gradient as one call."""
    return lambda: loss().backward()


def timings() -> list[str]:
    """A line a measurement."""
    lines = []
    for size in ((3, 384, 384), (3, 1080, 1920)):
        x, y = torch.rand(size, device="cuda"), torch.rand(size, device="cuda", requires_grad=True)
        ways = {
            "ssim forward": lambda x=x, y=y: fused_ssim(x, y.detach()),
            "ssim forward + backward": there_and_back(lambda x=x, y=y: fused_ssim(x, y)),
            "ssim forward + backward, recomputing": there_and_back(lambda x=x, y=y: fused_ssim(x, y, recompute=True)),
            "PyTorch forward + backward": there_and_back(
                lambda x=x, y=y: reference.ssim_maps(x, y, SsimWindow())[0].mean()
            ),
        }
        lines += [f"{'x'.join(map(str, size)):14} {name:40} {milliseconds(way):9.4f} ms" for name, way in ways.items()]
    rendered, target = torch.rand(4096, 3, device="cuda", requires_grad=True), torch.rand(4096, 3, device="cuda")
    loss = S3IM()
    lines.append(f"{'4096 rays':14} {'S3IM and its orders':40} {milliseconds(lambda: loss(rendered, target)):9.4f} ms")
    return lines


def parity() -> str:
    """The last line of the GPU tests."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/gpu"]  # quiet by pyproject.toml
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    failures = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return "\n".join([*failures, done.stdout.strip().splitlines()[-1]])


def main() -> int:
    """Print the report."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    print(f"nerf_ssim {nerf_ssim.__version__} {commit.strip()}, PyTorch {torch.__version__}, {platform.platform()}")
    if not torch.cuda.is_available():
        print(f"no GPU is visible to PyTorch; tests: {parity()}")
        return 1
    properties = torch.cuda.get_device_properties(0)
    print(f"{properties.name}, sm_{properties.major}{properties.minor}, CUDA {torch.version.cuda}")
    print(f"tests: {parity()}")
    print("\n".join(timings()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
