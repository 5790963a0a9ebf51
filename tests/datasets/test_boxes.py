"""How a scene's box is scaled, and what stays inside it."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.datasets.boxes import inside_box, scaled_box, share_kept

OFF_CENTRE = torch.tensor([[1.98, 1.1636, 0.388], [4.02, 2.8364, 1.612]])


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (3.0, 2.0, 1.0), (10.0, -8.0, 4.0)])
def test_a_grown_box_keeps_all_of_the_scene_wherever_it_lies(shift: tuple[float, float, float]) -> None:
    box = torch.tensor([[-1.02, -0.84, -0.61], [1.02, 0.84, 0.61]]) + torch.tensor(shift)
    grown = scaled_box(box, 1.2)
    assert (grown[0] < box[0]).all() and (grown[1] > box[1]).all()
    assert torch.allclose((grown[1] - grown[0]) / (box[1] - box[0]), torch.full((3,), 1.2))
    assert share_kept(box, grown) == 1.0


def test_about_the_origin_the_coordinates_are_multiplied_as_published() -> None:
    grown = scaled_box(OFF_CENTRE, 1.2, "origin")
    assert torch.equal(grown, OFF_CENTRE * 1.2)
    # Along x the box [1.98, 4.02] becomes [2.376, 4.824], and so on: two of its faces are cut off.
    expected = (4.02 - 2.376) / 2.04 * (2.8364 - 1.39632) / 1.6728 * (1.612 - 0.4656) / 1.224
    assert share_kept(OFF_CENTRE, grown) == pytest.approx(expected, abs=1e-5)


def test_both_ways_agree_bit_for_bit_on_a_box_about_the_origin() -> None:
    box = torch.tensor(
        [[-1.0, -0.8484468511752851, -0.6227634862989485], [1.0, 0.8484468511752851, 0.6227634862989485]]
    )
    assert torch.equal(scaled_box(box, 1.2), scaled_box(box, 1.2, "origin"))


def test_points_on_the_faces_are_inside() -> None:
    box = torch.tensor([[0.0, 0, 0], [1, 2, 3]])
    points = torch.tensor([[0.0, 0, 0], [1, 2, 3], [0.5, 1, 3.01], [-0.1, 1, 1]])
    assert inside_box(points, box).tolist() == [True, True, False, False]
