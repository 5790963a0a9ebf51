from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from nerf_ssim.evaluation import pictures


def test_levels_are_rounded_not_truncated():
    levels = torch.tensor([0.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.0, 1.7, -0.3, math.nan])
    image = levels.view(1, 8, 1).repeat(1, 1, 3)
    assert pictures.to_bytes(image)[0, :, 0].tolist() == [0, 0, 1, 255, 255, 255, 0, 0]


def test_a_saved_picture_is_read_back_with_its_colours_in_order(tmp_path):
    image = torch.zeros(2, 3, 3)
    image[..., 0] = 1.0
    image[0, 0] = torch.tensor([0.2, 0.4, 0.6])
    pictures.save_png(tmp_path / "red.png", image)
    found = cv2.imread(str(tmp_path / "red.png"))[..., ::-1]
    assert np.array_equal(found, pictures.to_bytes(image))
    assert [path.name for path in tmp_path.iterdir()] == ["red.png"]


def test_error_maps_share_one_scale_and_saturate_there():
    truth = torch.full((1, 4, 3), 0.5)
    rendered = truth + torch.tensor([0.0, 0.05, 0.2, 0.4]).view(1, 4, 1)
    brightness = pictures.error_map(rendered, truth).astype(int).sum(-1)[0].tolist()
    assert brightness[0] < 20
    assert brightness[0] < brightness[1] < brightness[2] == brightness[3]


def test_an_unfinished_pixel_shows_as_the_largest_error():
    truth = torch.full((1, 1, 3), 0.5)
    largest = pictures.error_map(truth + 0.5, truth)
    assert np.array_equal(pictures.error_map(truth * math.nan, truth), largest)


def test_depth_is_red_near_blue_far_and_black_where_the_ray_passed():
    depth = torch.tensor([[1.0, 3.0, 2.0, math.nan]])
    opacity = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    near, far, passed, undefined = pictures.depth_map(depth, (1.0, 3.0), opacity)[0].astype(int)
    assert near[0] > near[2]
    assert far[2] > far[0]
    assert passed.tolist() == undefined.tolist() == [0, 0, 0]


def test_the_depth_extent_ignores_what_nothing_stopped():
    depth = torch.cat((torch.linspace(1.0, 2.0, 1001), torch.full((500,), 99.0))).view(1, -1)
    opacity = torch.cat((torch.ones(1001), torch.zeros(500))).view(1, -1)
    assert pictures.depth_extent(depth, opacity) == pytest.approx((1.01, 1.99), abs=1e-3)
    assert pictures.depth_extent(depth, torch.zeros_like(depth)) == (0.0, 1.0)


@pytest.mark.parametrize("size", [(24, 40), (300, 200), (2, 2)])
def test_the_contact_sheet_has_a_row_a_view_and_the_render_in_it(size):
    truth = torch.zeros(*size, 3)
    rendered = torch.zeros(*size, 3)
    rendered[..., 1] = 1.0
    depth = torch.ones(size)
    rows = [pictures.sheet_row(f"view {k}", 12.345, truth, rendered, depth, depth) for k in range(3)]
    one, three = pictures.contact_sheet(rows[:1], "one"), pictures.contact_sheet(rows, "three")
    assert three.shape[1] == one.shape[1]
    assert three.shape[0] - one.shape[0] == 2 * (rows[0].tiles[0].shape[0] + pictures.CAPTION + pictures.MARGIN)
    is_green = (three == np.array([0, 255, 0])).all(-1)
    assert is_green.sum() == 3 * rows[0].tiles[1].shape[0] * rows[0].tiles[1].shape[1]
    assert rows[0].captions[:2] == ("truth view 0", "render 12.35 dB")
    with pytest.raises(ValueError, match="at least one row"):
        pictures.contact_sheet([], "none")


def test_a_folder_that_cannot_be_written_is_an_error_and_not_silence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        pictures.save_png(tmp_path / "file" / "a.png", torch.zeros(2, 2, 3))
