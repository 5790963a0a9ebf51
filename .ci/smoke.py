"""What an installed package must do at once, whatever it was installed from. Run it outside the checkout.

python smoke.py [--kernels native]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import nerf_ssim
from nerf_ssim.ops import backend

SIZES = ["--n_iters", "20", "--batch_size", "256", "--s3im_patch_height", "16", "--s3im_patch_width", "16"]


def run(folder: str, *words: str) -> str:
    """What a command prints; it must succeed."""
    command = [sys.executable, "-m", "nerf_ssim.cli.main", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-2000:]}"
    return done.stdout


def main() -> None:
    """The pieces, then a run on a small room from the bundled configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", choices=("any", "native"), default="any")
    kernels = {op: how for op, (how, _) in backend.describe().items()}
    if parser.parse_args().kernels == "native":
        assert set(kernels.values()) == {"native"}, backend.describe()

    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert abs(nerf_ssim.fused_ssim(image, image.detach()).item() - 1) < 1e-6
    colours = torch.rand(2, 1024, 3)
    assert nerf_ssim.S3IM(patch_height=32, patch_width=32)(*colours).isfinite()
    assert nerf_ssim.SsimSchedule(remove_at=70).weight_at(70) == 0
    nerf_ssim.fused_l1_ssim(image, 1 - image.detach()).backward()
    assert image.grad is not None and bool(image.grad.isfinite().all())

    with tempfile.TemporaryDirectory() as folder:
        assert nerf_ssim.__version__ in run(folder, "--version")
        run(folder, "data", "room", "room", "--size", "32")
        run(folder, "train", "--config", "room.txt", "--datadir", "room", "--expname", "smoke", *SIZES)
        assert (Path(folder) / "runs/smoke/results.json").is_file()
    native = sum(how == "native" for how in kernels.values())
    where = Path(nerf_ssim.__file__).parent
    print(f"nerf_ssim {nerf_ssim.__version__}, {native} of {len(kernels)} operations native, torch {torch.__version__}")
    print(f"Python {sys.version.split()[0]}, {where}: the pieces and a run of 20 updates work")


if __name__ == "__main__":
    main()
