"""A training loop of one's own: MSE, and S3IM until it has converged.

    python examples/loop.py

The model learns a picture's colours from places in it, in batches of 1024. Anything that renders colours for batches of
rays goes in its place.
"""

import torch
from torch import nn

from nerf_ssim import S3IM, SsimSchedule


def truth(places: torch.Tensor) -> torch.Tensor:
    """The colours `[n, 3]` of a picture at `places [n, 2]` in [0, 1]."""
    waves = [7.0 * places[:, 0] + 2.0 * places[:, 1], 9.0 * places[:, 1], 5.0 * places.sum(1)]
    return 0.5 + 0.5 * torch.stack([wave.sin() for wave in waves], dim=1)


def main(iterations: int = 400) -> SsimSchedule:
    """Fits the picture and prints how it went; returns the schedule as it came out."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3), nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = SsimSchedule(weight=1.0, remove_at="auto", length=iterations)  # or remove_at=70
    s3im = S3IM(patch_height=32, patch_width=32)
    for iteration in range(iterations):
        places = torch.rand(1024, 2)
        rendered, target = model(places), truth(places)
        mse = loss = nn.functional.mse_loss(rendered, target)
        if schedule.is_active(iteration):
            ssim = s3im.evaluate(rendered, target)
            loss = mse + schedule.weight_at(iteration) * ssim.loss
            schedule.observe(iteration, ssim.statistics)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"MSE {mse.item():.5f} after {iterations} iterations; SSIM was removed at {schedule.removed_at}")
    return schedule


if __name__ == "__main__":
    main()
