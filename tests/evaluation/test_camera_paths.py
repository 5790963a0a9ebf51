from __future__ import annotations

import math

import pytest
import torch

from nerf_ssim.evaluation.camera_paths import PATHS, camera_path, resize_intrinsics


def rotation(axis: int, degrees: float) -> torch.Tensor:
    angle, (first, second) = math.radians(degrees), [other for other in range(3) if other != axis]
    turn = torch.eye(3)
    turn[first, first] = turn[second, second] = math.cos(angle)
    turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
    return turn


def room_cameras(count: int = 7) -> torch.Tensor:
    """Cameras inside a room (y down in the world as in the cameras), each looking outwards from near the middle."""
    generator = torch.Generator().manual_seed(0)
    positions = 0.4 * torch.rand(count, 3, generator=generator) - 0.2
    turns = torch.stack([rotation(1, 360.0 * k / count) @ rotation(0, 5.0) for k in range(count)])
    return torch.cat((turns, positions[..., None]), dim=-1)


def object_cameras(count: int = 9, radius: float = 2.0) -> torch.Tensor:
    """Cameras on a circle that look at (1, 0, 0) from a little above it."""
    poses = []
    for k in range(count):
        turn = rotation(1, 360.0 * k / count) @ rotation(0, 15.0)
        poses.append(torch.cat((turn, (torch.tensor([1.0, 0.0, 0.0]) - radius * turn[:, 2])[:, None]), dim=1))
    return torch.stack(poses)


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("cameras", [room_cameras(), object_cameras(), room_cameras(1)], ids=["room", "object", "one"])
@pytest.mark.parametrize("frames", [1, 2, 17])
def test_every_frame_is_a_rigid_camera(kind, cameras, frames):
    path = camera_path(kind, cameras, frames, near=0.1, far=3.0)
    turns = path[:, :, :3]
    assert path.shape == (frames, 3, 4) and path.dtype == torch.float32
    assert torch.isfinite(path).all()
    assert torch.allclose(turns @ turns.mT, torch.eye(3).expand(frames, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turns), torch.ones(frames), atol=1e-5)


def test_interpolation_passes_through_every_camera_in_order():
    cameras = room_cameras(5)
    path = camera_path("interpolate", cameras, 4 * 6 + 1, near=0.1, far=3.0)
    assert torch.allclose(path[::6], cameras, atol=1e-5)


def test_interpolation_turns_half_way_between_two_cameras():
    still = torch.zeros(2, 3, 1)
    cameras = torch.cat((torch.stack((rotation(1, 10.0), rotation(1, 70.0))), still), dim=-1)
    middle = camera_path("interpolate", cameras, 3, near=0.1, far=3.0)[1]
    assert torch.allclose(middle[:, :3], rotation(1, 40.0), atol=1e-5)


def test_interpolation_survives_a_half_turn():
    cameras = torch.cat((torch.stack((torch.eye(3), rotation(1, 180.0))), torch.zeros(2, 3, 1)), dim=-1)
    middle = camera_path("interpolate", cameras, 3, near=0.1, far=3.0)[1]
    assert torch.allclose(middle[:, 1], torch.tensor([0.0, 1.0, 0.0]), atol=1e-5)
    assert abs(middle[2, 2]) < 1e-5


@pytest.mark.parametrize("kind", PATHS)
def test_a_path_in_a_room_stays_where_photographs_were_taken(kind):
    cameras = room_cameras()
    positions = camera_path(kind, cameras, 40, near=0.1, far=3.0)[:, :, 3]
    lowest, highest = cameras[:, :, 3].amin(0), cameras[:, :, 3].amax(0)
    assert (positions >= lowest - 1e-6).all() and (positions <= highest + 1e-6).all()


def test_an_orbit_in_a_room_turns_once_about_on_the_spot():
    path = camera_path("orbit", room_cameras(), 8, near=0.1, far=3.0)
    forwards = path[:, :, 2]
    assert torch.allclose(path[:, :, 3], path[:1, :, 3].expand(8, 3), atol=1e-6)
    assert torch.allclose(forwards.mean(0), torch.zeros(3), atol=1e-5)
    steps = (forwards * forwards.roll(-1, 0)).sum(1)
    assert torch.allclose(steps, torch.full((8,), math.cos(math.pi / 4)), atol=1e-5)


def test_an_orbit_about_an_object_looks_at_it_from_the_cameras_distance():
    path = camera_path("orbit", object_cameras(radius=2.0), 12, near=0.1, far=3.0)
    towards = torch.tensor([1.0, 0.0, 0.0]) - path[:, :, 3]
    assert torch.allclose(towards.norm(dim=1), torch.full((12,), 2.0), atol=1e-4)
    assert torch.allclose(torch.nn.functional.normalize(towards, dim=1), path[:, :, 2], atol=1e-4)


@pytest.mark.parametrize("kind", ["orbit", "spiral"])
def test_pictures_stay_upright(kind):
    down = camera_path(kind, object_cameras(), 12, near=0.1, far=3.0)[:, :, 1]
    assert (down[:, 1] > 0.7).all()  # the world's y points down here


def test_bad_requests_are_refused():
    cameras = room_cameras()
    for arguments in (("figure-eight", cameras, 3), ("orbit", cameras[:0], 3), ("orbit", cameras, 0)):
        with pytest.raises(ValueError):
            camera_path(*arguments, near=0.1, far=3.0)


def test_doubling_the_size_doubles_the_intrinsics():
    K = torch.tensor([[50.0, 0.0, 31.0], [0.0, 51.0, 22.0], [0.0, 0.0, 1.0]])
    doubled = resize_intrinsics(K, (64, 48), (128, 96))
    assert torch.allclose(doubled, torch.tensor([[100.0, 0.0, 62.0], [0.0, 102.0, 44.0], [0.0, 0.0, 1.0]]))


def test_a_wider_picture_sees_more_at_both_sides_and_the_same_above():
    K = torch.tensor([[50.0, 0.0, 32.0], [0.0, 50.0, 24.0], [0.0, 0.0, 1.0]])
    wide = resize_intrinsics(K, (64, 48), (100, 48))
    assert torch.allclose(wide, torch.tensor([[50.0, 0.0, 50.0], [0.0, 50.0, 24.0], [0.0, 0.0, 1.0]]))
