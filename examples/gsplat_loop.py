"""3D Gaussian splatting with D-SSIM for part of the way, on one picture with gsplat.

    python examples/gsplat_loop.py data/room/000000_rgb.png --remove_at 500

It needs gsplat and an NVIDIA GPU. docs/splatting.md shows the same lines in gsplat's own trainer. Nobody has measured
yet what removing D-SSIM does to splats.
"""

from __future__ import annotations

import argparse

import imageio.v3 as imageio
import torch

from nerf_ssim import SsimSchedule, fused_l1_ssim

try:
    from gsplat import rasterization
except ImportError as error:
    raise SystemExit("this example needs gsplat and an NVIDIA GPU: pip install gsplat") from error

SSIM_WEIGHT = 0.2  # 3DGS: 0.8 L1 + 0.2 (1 - SSIM)


def random_splats(count: int, device: str) -> dict[str, torch.nn.Parameter]:
    """Gaussians in a box before the camera."""
    values = {
        "means": 2 * (torch.rand(count, 3) - 0.5),
        "quats": torch.nn.functional.normalize(torch.randn(count, 4), dim=-1),
        "scales": torch.full((count, 3), -4.0),
        "opacities": torch.zeros(count),
        "colors": torch.zeros(count, 3),
    }
    return {name: torch.nn.Parameter(value.to(device)) for name, value in values.items()}


def main() -> None:
    """Fit the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--remove_at", type=int, default=500)
    parser.add_argument("--splats", type=int, default=20_000)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()

    device = options.device
    picture = torch.from_numpy(imageio.imread(options.image)[..., :3]).to(device).float() / 255
    height, width = picture.shape[:2]
    camera = torch.eye(4, device=device)
    camera[2, 3] = 3.0  # the box is three units before the camera
    K = torch.tensor([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], device=device)
    splats = random_splats(options.splats, device)
    optimizer = torch.optim.Adam(splats.values(), lr=0.01)
    schedule = SsimSchedule(weight=SSIM_WEIGHT, remove_at=options.remove_at)
    for iteration in range(options.iterations):
        render, _, _ = rasterization(
            splats["means"],
            splats["quats"],
            splats["scales"].exp(),
            splats["opacities"].sigmoid(),
            splats["colors"].sigmoid(),
            camera[None],
            K[None],
            width,
            height,
        )
        images = render.permute(0, 3, 1, 2), picture.permute(2, 0, 1)[None]
        loss = fused_l1_ssim(*images, weight=schedule.weight_at(iteration), padding="valid")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if iteration % 100 == 0:
            print(f"iteration {iteration}: loss {loss.item():.4f}, weight of SSIM {schedule.weight_at(iteration)}")


if __name__ == "__main__":
    main()
