"""Marching cubes in slabs: the surface does not depend on how the grid is cut, and faces outwards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("skimage", reason="needs scikit-image: pip install nerf_ssim[export]")

from nerf_ssim.evaluation import isosurface as module  # noqa: E402
from nerf_ssim.evaluation.isosurface import isosurface, vertex_normals  # noqa: E402

MIDDLE, RADIUS, SHAPE = torch.tensor([9.3, 8.1, 10.7]), 6.13, (20, 18, 22)


def ball(nodes: torch.Tensor) -> torch.Tensor:
    """Positive inside."""
    return RADIUS - (nodes - MIDDLE).norm(dim=1)


@pytest.mark.parametrize("planes", [1, 4, 100])
def test_a_ball_cut_into_slabs_is_closed_and_has_its_volume(planes, monkeypatch):
    monkeypatch.setattr(module, "NODES_IN_A_SLAB", planes * SHAPE[1] * SHAPE[2])
    monkeypatch.setattr(module, "NODES_AT_ONCE", 100)
    vertices, faces = isosurface(ball, SHAPE, 0.0)
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).all(), "every edge is of two triangles"
    assert len(vertices) == len(np.unique(faces)) and len(vertices) - len(uses) + len(faces) == 2
    a, b, c = vertices[faces].astype(np.float64).transpose(1, 0, 2)
    volume = (a * np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.02), "positive: it turns outwards"


def test_normals_point_away_from_the_matter():
    vertices, faces = isosurface(ball, SHAPE, 0.0)
    outwards = torch.nn.functional.normalize(torch.from_numpy(vertices) - MIDDLE, dim=1).numpy()
    assert ((vertex_normals(vertices, faces) * outwards).sum(1) > 0.98).all()


def test_a_grid_without_the_level_has_no_surface():
    vertices, faces = isosurface(lambda nodes: torch.zeros(len(nodes)), SHAPE, 0.5)
    assert vertices.shape == (0, 3) and faces.shape == (0, 3)
