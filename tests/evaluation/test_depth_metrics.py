"""Depth of a render against the truth: along the optical axis, in scene units, over what is known."""

from __future__ import annotations

import json

import pytest
import torch

from nerf_ssim.datasets.scene import Views
from nerf_ssim.evaluation import metrics
from nerf_ssim.evaluation.protocol import RenderedView, score_views, write_results
from nerf_ssim.rays.cameras import camera_rays

HEIGHT, WIDTH, WALL = 12, 16, 2.0
K = torch.tensor([[11.0, 0, 8], [0, 9.0, 6], [0, 0, 1]])


def wall_views(depths: torch.Tensor | None) -> Views:
    """Two cameras that look straight at a wall."""
    images = torch.full((2, HEIGHT, WIDTH, 3), 128, dtype=torch.uint8)
    return Views(images, torch.eye(4)[:3].expand(2, 3, 4), K.expand(2, 3, 3), ("a.png", "b.png"), depths=depths)


def render_wall(distance: float, opacity: float = 1.0) -> RenderedView:
    """Depth as a field renders it: along the ray, summed over weights that add up to the opacity."""
    directions = camera_rays(torch.eye(4)[:3], K, HEIGHT, WIDTH).directions
    along_ray = (distance / directions[:, 2]).view(HEIGHT, WIDTH)
    alpha = torch.full((HEIGHT, WIDTH), opacity)
    return RenderedView(torch.full((HEIGHT, WIDTH, 3), 0.4), along_ray * alpha, alpha)


@pytest.mark.parametrize(
    ("distance", "opacity", "error", "share"),
    [(WALL, 1.0, 0.0, 1.0), (WALL, 0.3, 0.0, 1.0), (2.05, 0.9, 0.05, 1.0), (1.5, 1.0, 0.5, 0.0), (1.5, 0.0, 2.0, 0.0)],
)
def test_expected_depth_over_opacity_is_compared_along_the_axis(distance, opacity, error, share):
    views = wall_views(torch.full((2, HEIGHT, WIDTH), WALL))
    scores = score_views(lambda index: render_wall(distance, opacity), views, None, progress=False)
    assert scores.mean("depth_error") == pytest.approx(error, abs=1e-5)
    assert scores.mean("depth_within_5") == pytest.approx(share)


def test_only_pixels_with_known_depth_count():
    truth = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    depth = torch.tensor([[9.0, 1.04], [2.5, float("nan")]])
    assert metrics.depth_error(depth, truth) == pytest.approx(0.27)
    assert metrics.depth_within(depth, truth) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("depths", "note"),
    [(None, "the scene has no depth maps"), (torch.zeros(2, HEIGHT, WIDTH), "no pixel of its depth map is known")],
)
def test_without_depth_the_metric_is_null_with_its_reason(tmp_path, depths, note):
    scores = score_views(lambda index: render_wall(WALL), wall_views(depths), None, progress=False)
    schedule = {"weight": 1.0, "add_at": 0, "remove_at": 70, "removed_at": 70}
    write_results(
        tmp_path / "results.json", scores, scene="wall", model="m", label=None, iterations=1, stopped_at=1,
        schedule=schedule, seed=0, backend={}, decoder_precision=None, seconds_train=None,
    )  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["depth_error"] is None and note in results["depth_error_note"] and results["psnr"] is not None


def test_depth_that_is_not_finite_is_no_score():
    views = wall_views(torch.full((2, HEIGHT, WIDTH), WALL))
    spoilt = render_wall(WALL)
    spoilt.depth[3, 4] = float("nan")
    scores = score_views(lambda index: spoilt, views, None, progress=False)
    assert scores.mean("depth_error") is None and scores.mean("depth_within_5") is None
    assert "NaN" in scores.notes["depth_error"] and "NaN" in scores.notes["depth_within_5"]
