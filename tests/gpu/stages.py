"""The stages of `make gpu-check`, each a function that prints its lines and raises `Problem` where it does not pass.

python -m tests.gpu.stages NAME DEVICE
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {  # by module: what pip calls it
    "torch": "torch", "numpy": "numpy", "imageio": "imageio", "PIL": "pillow", "cv2": "opencv-python",
    "configargparse": "ConfigArgParse", "tqdm": "tqdm", "pytest": "pytest",
}  # fmt: skip
MOST_FAILURES = 12  # of tests that are named


class Problem(Exception):
    """Why a stage has not passed, in one line."""


def machine(device: str) -> None:
    """What all figures belong to, and what is missing."""
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    print(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} processors")
    if missing:
        raise Problem(
            f"this Python lacks {' '.join(missing)}; without a network, bring them: pip download -d wheels "
            f"{' '.join(missing)} elsewhere, then pip install --no-index --find-links wheels {' '.join(missing)}"
        )
    import torch

    import nerf_ssim

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    print(f"nerf_ssim {nerf_ssim.__version__} {commit.strip()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    if device == "cpu":
        print("a rehearsal on the processor: small sizes, and no figure means anything")
        return
    if not torch.cuda.is_available():
        from nerf_ssim.ops import nvidia

        raise Problem(f"no GPU that PyTorch can use ({nvidia.why_unusable() or 'no driver'})")
    from nerf_ssim.ops import nvidia

    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        memory = gpu.total_memory / 2**30
        print(f"cuda:{index} {gpu.name}, sm_{gpu.major}{gpu.minor}, {memory:.0f} GiB, driver {nvidia.driver_version()}")


def extension(device: str) -> None:
    """Loads the kernels, or builds them for the GPU that is there."""
    if reason := why_no_kernels(device):
        print(f"not there ({reason}); building")
        build(device)
        if reason := why_no_kernels(device):
            raise Problem(f"there are no kernels after the build: {reason}")
    from nerf_ssim.runs.device import start_line

    print(start_line(device))


def why_no_kernels(device: str) -> str:
    """Why a fresh process has no kernel for the device, or ""."""
    program = (
        "import sys; from nerf_ssim.ops import backend; table = backend.describe(sys.argv[1]);"
        "print('' if any(how == 'native' for how, _ in table.values()) else next(iter(table.values()))[1])"
    )
    done = subprocess.run([sys.executable, "-c", program, device], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it crashes"])[-1]


def build(device: str) -> None:
    """The extension, for this one GPU so that it is quick; what the build says goes to the page."""
    environment = {**os.environ, "MAX_JOBS": os.environ.get("MAX_JOBS") or str(os.cpu_count() or 1)}
    if device != "cpu":
        import torch

        major, minor = torch.cuda.get_device_capability(device)
        environment |= {"NERF_SSIM_CUDA": "1", "TORCH_CUDA_ARCH_LIST": f"{major}.{minor}"}
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("nerf_ssim:"):
            print(line)
    if done.returncode:
        raise Problem((done.stderr.strip().splitlines() or [f"setup.py ended with {done.returncode}"])[-1])


def kernels(device: str) -> None:
    """Every kernel, forward and backward, against plain PyTorch in float64."""
    command = [sys.executable, "-m", "nerf_ssim.ops.verification", device]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    import json

    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    compared = [record for record in records if "op" in record]
    wrong = [f"{record['op']} {record['reason']}" for record in compared if record["reason"]]
    print(f"{len(compared) - len(wrong)} of {len(compared)} kernels agree")
    for line in wrong:
        print(line)
    if not any("finished" in record for record in records):
        last = next((record["begins"] for record in reversed(records) if "begins" in record), "the start")
        error = next((record["error"] for record in records if "error" in record), f"status {done.returncode}")
        raise Problem(f"the comparison ends at {last}: {error}")
    if wrong:
        raise Problem(f"{len(wrong)} kernels disagree")


def tests(device: str) -> None:
    """tests/gpu: parity, a training step of each model, checkpoint and resume, evaluation, determinism."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfE", "--tb=line", "tests/gpu"]
    environment = {**os.environ, "NERF_SSIM_TEST_DEVICE": device}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or ["pytest said nothing"]
    failures = [line for line in lines if re.match(r"(FAILED|ERROR) ", line)]
    for line in failures[:MOST_FAILURES]:
        print(line[:200])
    if len(failures) > MOST_FAILURES:
        print(f"… and {len(failures) - MOST_FAILURES} more")
    print(lines[-1])
    if done.returncode:
        raise Problem(lines[-1] if failures else (done.stderr.strip().splitlines() or lines)[-1])


def tensorf(device: str) -> None:
    """Iterations of the canonical TensoRF at its start and trained, float32."""
    from tests.gpu.figures import tensorf_lines

    tensorf_lines(device, states=("start", "trained"), precisions=("float32",))


def precisions(device: str) -> None:
    """The trained state with the decoder's other precisions."""
    from tests.gpu.figures import tensorf_lines

    tensorf_lines(device, states=("trained",), precisions=other_precisions())


def other_precisions() -> tuple[str, ...]:
    """The decoder's precisions beside float32, as the option has them."""
    import dataclasses

    from nerf_ssim.models.tensorf.options import TensorfOptions

    (field,) = (each for each in dataclasses.fields(TensorfOptions) if each.name == "decoder_precision")
    choices = next(value for value in field.metadata.values() if getattr(value, "choices", None)).choices
    return tuple(choice for choice in choices if choice != "float32")


def dvgo(device: str) -> None:
    """Iterations of the canonical DVGO: the first, dense and sparse ones."""
    from tests.gpu.figures import dvgo_lines

    dvgo_lines(device, states=("step0",) if device == "cpu" else ("step0", "dense", "sparse"))


def ssim(device: str) -> None:
    """SSIM and its gradient against other packages and plain PyTorch."""
    from tests.gpu.figures import ssim_lines

    ssim_lines(device)


STAGES: dict[str, Callable[[str], None]] = {
    each.__name__: each for each in (machine, extension, kernels, tests, tensorf, dvgo, ssim, precisions)
}


def main() -> int:
    """Run the stage that the command line names."""
    name, device = sys.argv[1:]
    try:
        STAGES[name](device)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
