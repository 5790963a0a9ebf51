"""`nerf-ssim doctor`: versions, devices, what each operation runs in and why, and LPIPS's weights."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

from nerf_ssim import __version__
from nerf_ssim.config.command_line import OneLineErrors
from nerf_ssim.errors import UserError

# distribution -> (module, the extra that installs it; empty for what the package cannot do without)
PACKAGES = {
    "torch": ("torch", ""),
    "numpy": ("numpy", ""),
    "imageio": ("imageio", ""),
    "opencv-python": ("cv2", ""),
    "ConfigArgParse": ("configargparse", ""),
    "tqdm": ("tqdm", ""),
    "torchvision": ("torchvision", "eval"),
    "lpips": ("lpips", "eval"),
    "scikit-image": ("skimage", "eval"),
    "matplotlib": ("matplotlib", "report"),
    "tensorboard": ("tensorboard", "log"),
    "wandb": ("wandb", "log"),
}


def run(argv: Sequence[str]) -> int:
    """Print the report. 0, or 1 where something needed is missing or, with `--check`, a kernel is not to be trusted."""
    parser = OneLineErrors(prog="nerf-ssim doctor", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--check", action="store_true", help="compare every kernel with plain PyTorch, forward and backward"
    )
    parser.add_argument("--lpips_weights", metavar="DIR", help="folder to look for LPIPS weights in first")
    arguments = parser.parse_args(list(argv))
    missing_core = [name for name, (module, extra) in PACKAGES.items() if not extra and not _is_there(module)]
    sections: list[tuple[str, Iterator[tuple[str, str]]]] = [("versions", _versions())]
    checks: list[Check] = []
    if not missing_core:
        checks = list(_checks()) if arguments.check else []  # first: the operations below keep to what it finds
        sections += [
            ("devices", _devices()),
            ("operations", _operations()),
            *[("kernels and plain PyTorch", check.rows()) for check in checks],
            ("LPIPS", _perceptual(arguments.lpips_weights)),
        ]
    for title, section in sections:
        rows = list(section)
        width = max((len(name) for name, _ in rows), default=0)
        print(title)
        for name, text in rows:
            print(f"  {name:<{width}}  {text}" if name else f"  {text}")
    if missing_core:
        print(f"missing: {', '.join(missing_core)}; in the checkout: pip install .")
    return 1 if missing_core or any(not check.is_passed for check in checks) else 0


@dataclass(frozen=True)
class Check:
    """What the comparison on a device found."""

    device: str
    compared: int
    faults: dict[str, str]

    @property
    def is_passed(self) -> bool:
        """Whether every kernel means what plain PyTorch means."""
        return not self.faults

    def rows(self) -> Iterator[tuple[str, str]]:
        """Name and text of each line to print."""
        disagreeing = len(self.faults.keys() - {self.device})
        if self.compared:
            yield self.device, f"{self.compared - disagreeing} of {self.compared} agree"
        elif not self.faults:
            yield self.device, "there are no kernels to compare"
        for name, fault in self.faults.items():
            yield (name if name == self.device else f"{name} on {self.device}"), fault


def _checks() -> Iterator[Check]:
    """Compare every kernel of every device, and let this process and later runs keep to the outcome."""
    from nerf_ssim.ops import verification

    for device in _device_names():
        verdict = verification.compare(device)
        if device != "cpu":
            verification.remember(verification.machine_of(device), verdict)
        verification.keep_to(verdict, device)
        whole = verdict.failure or verdict.part_failure
        yield Check(device, verdict.compared, verdict.disagreements | ({device: whole} if whole else {}))


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _versions() -> Iterator[tuple[str, str]]:
    yield "nerf_ssim", __version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for name, (module, extra) in PACKAGES.items():
        if _is_there(module):
            yield name, _version(name)
        else:
            yield name, f"missing; in the checkout: pip install '.[{extra}]'" if extra else "missing, and needed"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "present, installed under another name"


def _devices() -> Iterator[tuple[str, str]]:
    import torch

    from nerf_ssim.ops import nvidia

    threads = f"{torch.get_num_threads()} of {os.cpu_count()} processors in use by PyTorch"
    if value := os.environ.get("OMP_NUM_THREADS"):
        threads += f" (OMP_NUM_THREADS={value})"
    yield "cpu", f"{torch.backends.cpu.get_cpu_capability()}; {threads}"
    if not torch.cuda.is_available():
        if reason := nvidia.why_unusable():
            yield "cuda", reason
            return
        built = torch.version.cuda
        yield "cuda", f"no device found (PyTorch built for CUDA {built})" if built else "this PyTorch has none"
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        capability = f"compute capability {properties.major}.{properties.minor}"
        yield f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB, {capability}"


def _device_names() -> list[str]:
    import torch

    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]


def _operations() -> Iterator[tuple[str, str]]:
    from nerf_ssim.ops import backend, decoder, siren, verification

    try:
        for device in _device_names():
            if device != "cpu":
                verification.trusted(device)
            for op, (implementation, reason) in backend.describe(device).items():
                yield f"{op} on {device}" if device != "cpu" else op, f"{implementation} ({reason})"
            for option, (ran, reason) in {
                "--decoder_precision tf32": decoder.effective_precision("tf32", device),
                "--decoder_precision bf16": decoder.effective_precision("bf16", device),
                "fit-image --precision bf16x3": siren.effective_precision("bf16x3", device),
            }.items():
                yield f"{option} on {device}", f"runs in {ran} ({reason})"
    except UserError as error:
        yield "", str(error)


def _perceptual(lpips_weights: str | None) -> Iterator[tuple[str, str]]:
    from nerf_ssim.evaluation.perceptual import describe_weights

    try:
        yield "", describe_weights(lpips_weights)
    except UserError as error:
        yield "", str(error)
