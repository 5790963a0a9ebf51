"""Depth as data."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from nerf_ssim.evaluation.depth_files import depth_unit, hit_distance, save_depth


def test_distance_is_the_mean_of_what_stopped_a_ray_and_0_where_nothing_did():
    depth, opacity = torch.tensor([[2.0, 1.5, 0.4, 0.0]]), torch.tensor([[1.0, 0.75, 0.4, 0.0]])
    assert hit_distance(depth, opacity).tolist() == [[2.0, 2.0, 0.0, 0.0]]


def test_both_files_hold_the_distances(tmp_path):
    distance = torch.tensor([[0.0, 1.23456], [6.5535, 100.0]])
    save_depth(tmp_path / "depth" / "0000", distance, 1e-4)
    values = np.load(tmp_path / "depth" / "0000.npy")
    assert values.dtype == np.float32 and (values == distance.numpy()).all()
    levels = cv2.imread(str(tmp_path / "depth" / "0000.png"), cv2.IMREAD_UNCHANGED)
    assert levels.dtype == np.uint16 and levels.tolist() == [[0, 12346], [65535, 65535]]


@pytest.mark.parametrize(("side", "unit"), [(1.0, 1e-4), (100.0, 1e-2), (0.01, 1e-6)])
def test_the_unit_is_a_power_of_ten_that_reaches_all_of_the_box(side, unit):
    c2w = torch.eye(4)[None, :3]
    box = torch.tensor([[-side, -side, -side], [side, side, 2 * side]])
    assert depth_unit(c2w, box) == pytest.approx(unit)
    assert 65535 * depth_unit(c2w, box) > side * 6**0.5
