"""What a browser looks at becomes a picture of the right camera and channel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nerf_ssim.evaluation.protocol import RenderedView
from nerf_ssim.viewer.looks import CHANNELS, Look, Photograph, picture_of

POSE = torch.eye(4)[:3]


def view_of(rgb: torch.Tensor) -> RenderedView:
    return RenderedView(rgb, torch.full(rgb.shape[:2], 2.0), torch.full(rgb.shape[:2], 0.5))


def test_the_lens_has_the_browsers_field_of_view():
    lens = Look(POSE, math.radians(60), 1.5).lens((300, 200))
    assert lens[0, 0] == lens[1, 1] == pytest.approx(100 / math.tan(math.radians(30)))
    assert lens[:2, 2].tolist() == [150, 100]


def test_at_a_photograph_its_own_lens_counts_and_nothing_of_it_is_cut_off():
    K = torch.tensor([[50.0, 0, 33], [0, 60, 18], [0, 0, 1]])
    lens = Look(POSE, 1.0, 2.0, Photograph("test", 0, K, (64, 40))).lens((200, 100))
    assert lens[0, 0] == pytest.approx(125) and lens[1, 1] == pytest.approx(150)  # 100 / 40 times as large
    assert lens[0, 2] == pytest.approx(33 * 2.5 + 20) and lens[1, 2] == pytest.approx(18 * 2.5)


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_channel_is_a_picture_of_the_views_size(channel):
    rgb = torch.rand(6, 9, 3)
    picture = picture_of(view_of(rgb), channel, (0.0, 4.0), np.zeros((6, 9, 3), np.uint8))
    assert picture.shape == (6, 9, 3) and picture.dtype == np.uint8
    assert picture.any()


def test_error_is_black_where_the_render_is_right_and_dim_beside_the_photograph():
    rgb = torch.full((10, 20, 3), 0.6)
    truth = np.full((20, 20, 3), 153, np.uint8)
    truth[:, 10:] = 0
    picture = picture_of(view_of(rgb), "error", (0.0, 4.0), truth)
    assert (picture[:, :5] == round(0.15 * 255)).all() and (picture[:, 15:] == round(0.15 * 255)).all()
    assert picture[:, 5:9].max() <= 5 and picture[:, 11:15].min(axis=(0, 1)).max() > 100


def test_error_without_a_photograph_is_the_render():
    rgb = torch.rand(4, 4, 3)
    assert (picture_of(view_of(rgb), "error", (0, 1)) == picture_of(view_of(rgb), "rgb", (0, 1))).all()
