"""Projection matrices of MonoSDF's layout come apart into the cameras that they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scene_files import load, pose, write_monosdf

from nerf_ssim.datasets.formats.monosdf import decompose_projection


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cameras_survive_the_round_trip_through_projection_matrices(tmp_path: Path, dtype: type) -> None:
    scene = load(write_monosdf(tmp_path / "scan", dtype=dtype), dataset_name="monosdf")
    c2w = torch.cat([scene.train.c2w, scene.test.c2w])
    expected = torch.from_numpy(np.stack([pose(i)[:3] for i in (1, 2, 4, 0, 3)])).float()
    assert torch.allclose(c2w, expected, atol=1e-5)
    expected_K = torch.tensor([[15.0, 0.3, 8.5], [0, 16.0, 6.5], [0, 0, 1]])
    assert torch.allclose(scene.train.K, expected_K.expand(3, 3, 3), atol=1e-4)


def test_bounds_are_those_that_sdfstudio_sets(tmp_path: Path) -> None:
    scene = load(write_monosdf(tmp_path / "scan"), dataset_name="monosdf")
    assert (scene.near, scene.far) == (0.05, 2.5)
    assert scene.aabb.tolist() == [[-1.0] * 3, [1.0] * 3]


def test_decomposition_reproduces_the_projection() -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        P = random.normal(size=(3, 4))
        K, c2w = decompose_projection(P, "here")
        again = K @ np.linalg.inv(np.vstack([c2w, [0, 0, 0, 1]]))[:3]
        assert np.allclose(again / again[2, 3], P / P[2, 3], rtol=1e-6, atol=1e-8)
        assert np.linalg.det(c2w[:, :3]) == pytest.approx(1)
        assert (np.diag(K) > 0).all() and np.allclose(np.tril(K, -1), 0)


def test_cameras_of_the_uncropped_image_move_to_its_centre_crop(tmp_path: Path) -> None:
    K = np.array([[600.0, 0, 599.5], [0, 600.0, 339.5], [0, 0, 1]])
    folder = write_monosdf(tmp_path / "scan", K, size=(384, 384))
    K = load(folder, dataset_name="monosdf").train.K[0]
    # The middle of 1200x680 is the middle of its square crop.
    assert torch.allclose(K[:2, 2], torch.tensor([192.0, 192.0]), atol=1e-3)
    assert torch.allclose(K.diagonal()[:2], torch.tensor([600 * 384 / 680] * 2), atol=1e-3)
    published = load(folder, dataset_name="monosdf", as_published=True).train.K[0]
    assert torch.allclose(published[:2, 2], torch.tensor([(599.5 - 260) * 384 / 680, 339.5 * 384 / 680]), atol=1e-3)
