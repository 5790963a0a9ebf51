"""Pictures as targets: order of the published steps, sizes, colour spaces."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from nerf_ssim.errors import SceneError
from nerf_ssim.images.target import (
    coordinates,
    linear_to_srgb,
    list_images,
    load_target,
    srgb_to_linear,
)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])
    return tmp_path / "a.png", pixels


def test_grey_is_reduced_in_8_bits_then_made_linear(picture):
    path, pixels = picture
    target = load_target(path, size=(13, 17), grey=True, linear=True)  # halves would be the same when interpolated
    grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (17, 13), interpolation=cv2.INTER_AREA)
    assert grey.dtype == np.uint8
    expected = srgb_to_linear(torch.from_numpy(grey).double() / 255)
    torch.testing.assert_close(target.values[..., 0], expected, rtol=0, atol=0)
    assert target.values.dtype == torch.float64 and (target.height, target.width, target.channels) == (13, 17, 1)


def test_colours_in_srgb_are_the_files_own(picture):
    path, pixels = picture
    target = load_target(path, size=(0,), grey=False, linear=False)
    assert torch.equal(target.values, torch.from_numpy(pixels).double() / 255)
    assert torch.equal(target.shown(target.values), target.values.float())


def test_one_number_is_a_square(picture):
    assert load_target(picture[0], size=(16,), grey=True, linear=True).values.shape == (16, 16, 1)


def test_other_values_have_another_hash(picture):
    hashes = {load_target(picture[0], size=(16,), grey=grey, linear=linear).content_hash
              for grey in (True, False) for linear in (True, False)}  # fmt: skip
    assert len(hashes) == 4


def test_enlarging_is_refused(picture):
    with pytest.raises(SceneError, match="smaller than the 64x64"):
        load_target(picture[0], size=(64,), grey=True, linear=True)


def test_srgb_and_linear_are_inverse_and_meet_at_the_threshold():
    values = torch.linspace(0, 1, 1001, dtype=torch.float64)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(values)), values, rtol=0, atol=1e-7)
    assert srgb_to_linear(torch.tensor(0.04045, dtype=torch.float64)).item() == pytest.approx(0.04045 / 12.92)
    assert srgb_to_linear(torch.tensor(0.5, dtype=torch.float64)).item() == pytest.approx(0.21404114)


def test_coordinates_go_by_rows_from_minus_one_to_one():
    points = coordinates(3, 2)
    assert points.tolist() == [[-1, -1], [-1, 1], [0, -1], [0, 1], [1, -1], [1, 1]]


def test_a_folder_without_pictures_and_two_of_one_name_are_refused(tmp_path):
    with pytest.raises(SceneError, match="holds no picture"):
        list_images(tmp_path)
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(SceneError, match="share one run folder"):
        list_images(tmp_path)
