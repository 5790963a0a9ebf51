"""Camera paths through a scene, made from the cameras that it was photographed with.

A path is `[frames, 3, 4]` float32, OpenCV camera-to-world (x right, y down, z forward). Positions never leave the box
that the given cameras span (an orbit about an object excepted): beyond it nothing is known to be free space.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PATHS = ("spiral", "orbit", "interpolate")
SPIRAL_TURNS = 2


def camera_path(kind: str, c2w: Tensor, frames: int, *, near: float, far: float) -> Tensor:
    """The path of a name.

    - `interpolate`: through every given camera in order; positions on a Catmull-Rom curve, directions by the shortest
      turn.
    - `orbit`: one full turn. Cameras that look at a common point (an object) are circled at their mean distance;
      cameras that look outwards (a room) give a turn on the spot at their centre.
    - `spiral`: the central camera, swaying on a small helix while it looks at one point.

    Args:
        kind: one of `PATHS`.
        c2w: `[cameras, 3, 4]`, the cameras to build on, in order.
        frames: how many, at least 1. An orbit and a spiral close: the frame after the last would be the first.
        near, far: the scene's bounds; the spiral looks at the point between them in inverse depth, nearer the far end.
    Raises:
        ValueError: an unknown kind, no cameras or no frames.
    Source: the spiral follows the idea of Mildenhall et al. 2019 (LLFF).
    """
    if kind not in PATHS:
        raise ValueError(f"camera path {kind!r} is not one of {', '.join(PATHS)}")
    if frames < 1 or c2w.ndim != 3 or len(c2w) < 1:
        raise ValueError(f"a path needs at least one frame and one camera, got {frames} and {tuple(c2w.shape)}")
    cameras = c2w.detach().cpu().double()
    if kind == "interpolate":
        path = _interpolate(cameras, frames)
    elif kind == "orbit":
        path = _orbit(cameras, frames)
    else:
        path = _spiral(cameras, frames, near, far)
    return path.float()


def resize_intrinsics(K: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """`K [3, 3]` for another picture size, `(width, height)` both: nothing that was in view is cut off, pixels stay
    square, and a wider or taller frame sees more on its longer sides."""
    (width, height), (new_width, new_height) = size, new_size
    focal = min(new_width / width, new_height / height)
    resized = K.clone()
    resized[:2, :2] *= focal
    resized[0, 2] = K[0, 2] * focal + (new_width - width * focal) / 2
    resized[1, 2] = K[1, 2] * focal + (new_height - height * focal) / 2
    return resized


def _interpolate(cameras: Tensor, frames: int) -> Tensor:
    count = len(cameras)
    positions = cameras[:, :, 3]
    lowest, highest = positions.amin(0), positions.amax(0)
    poses = []
    for place in torch.linspace(0.0, count - 1.0, frames, dtype=torch.float64).tolist():
        before = min(int(place), max(count - 2, 0))
        after = min(before + 1, count - 1)
        share = place - before
        position = _catmull_rom(
            positions[max(before - 1, 0)],
            positions[before],
            positions[after],
            positions[min(after + 1, count - 1)],
            share,
        )
        rotation = _turn(cameras[before, :, :3], cameras[after, :, :3], share)
        # The curve may bulge past its control points; clamped, it stays where photographs were taken.
        poses.append(torch.cat((rotation, torch.clamp(position, lowest, highest)[:, None]), dim=1))
    return torch.stack(poses)


def _catmull_rom(p0: Tensor, p1: Tensor, p2: Tensor, p3: Tensor, t: float) -> Tensor:
    cubic = -p0 + 3 * p1 - 3 * p2 + p3
    return 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + cubic * t**3)


def _turn(start: Tensor, end: Tensor, share: float) -> Tensor:
    """The rotation a share of the way from `start` to `end` about their common axis."""
    between = start.T @ end
    angle = math.acos(min(1.0, max(-1.0, (between.trace().item() - 1.0) / 2.0)))
    if angle < 1e-6:
        return start
    # The axis is the direction that `between` keeps; its symmetric part has it as top eigenvector even for half a turn.
    axis = torch.linalg.eigh(between + between.T).eigenvectors[:, -1]
    twist = torch.stack((between[2, 1] - between[1, 2], between[0, 2] - between[2, 0], between[1, 0] - between[0, 1]))
    if torch.dot(axis, twist) < 0:
        axis = -axis
    return start @ _rotation(axis, angle * share)


def _rotation(axis: Tensor, angle: float) -> Tensor:
    """Rotation by `angle` radians about a unit `axis` (Rodrigues)."""
    x, y, z = axis.tolist()
    cross = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=axis.dtype)
    return torch.eye(3, dtype=axis.dtype) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * (cross @ cross)


def _orbit(cameras: Tensor, frames: int) -> Tensor:
    positions, forwards = cameras[:, :, 3], cameras[:, :, 2]
    up = mean_up(cameras)
    centre = positions.mean(0)
    first = _level(forwards[0], up)
    angles = [2.0 * math.pi * frame / frames for frame in range(frames)]
    focus = _common_focus(positions, forwards)
    if focus is None:
        return torch.stack([_look(centre, _rotation(up, angle) @ first, up) for angle in angles])
    offsets = positions - focus
    height = (offsets @ up).mean()
    radius = (offsets - (offsets @ up)[:, None] * up).norm(dim=1).mean()
    around = [focus + height * up - radius * (_rotation(up, angle) @ first) for angle in angles]
    return torch.stack([_look(position, focus - position, up) for position in around])


def _common_focus(positions: Tensor, forwards: Tensor) -> Tensor | None:
    """The point nearest to all optical axes if the cameras look at it from around it; None when they look outwards."""
    across = torch.eye(3, dtype=positions.dtype) - forwards[:, :, None] * forwards[:, None, :]
    system = across.sum(0)
    if torch.linalg.cond(system) > 1e6:  # parallel axes meet nowhere
        return None
    focus = torch.linalg.solve(system, (across @ positions[:, :, None]).sum(0)[:, 0])
    distances = (focus - positions).norm(dim=1).clamp_min(1e-12)
    is_aimed = ((focus - positions) * forwards).sum(1) / distances > 0.8  # within about 37 degrees of the axis
    return focus if is_aimed.double().mean() > 0.9 else None


def _spiral(cameras: Tensor, frames: int, near: float, far: float) -> Tensor:
    positions = cameras[:, :, 3]
    offsets = positions - positions.mean(0)
    central = cameras[offsets.norm(dim=1).argmin()]
    home, right, up, forward = central[:, 3], central[:, 0], -central[:, 1], central[:, 2]
    lowest, highest = positions.amin(0), positions.amax(0)
    near = max(near, 1e-3 * far)
    focus = home + forward / (0.25 / near + 0.75 / far)
    sway = 0.3 * offsets.std(0, correction=0).mean()
    poses = []
    for frame in range(frames):
        angle = 2.0 * math.pi * SPIRAL_TURNS * frame / frames
        shift = math.cos(angle) * right + math.sin(angle) * up + 0.5 * math.sin(angle / SPIRAL_TURNS) * forward
        position = torch.clamp(home + sway * shift, lowest, highest)
        poses.append(_look(position, focus - position, up))
    return torch.stack(poses)


def mean_up(cameras: Tensor) -> Tensor:
    """The direction `[3]` that is up in the pictures of `cameras [n, 3, 4]` on average, unit length."""
    up = -cameras[:, :, 1].mean(0)
    return torch.nn.functional.normalize(up, dim=0) if up.norm() > 1e-6 else -cameras[0, :, 1]


def _level(direction: Tensor, up: Tensor) -> Tensor:
    """The part of `direction` across `up`, unit length; any such direction when it points straight up or down."""
    across = direction - torch.dot(direction, up) * up
    if across.norm() < 1e-6:
        across = torch.linalg.cross(up, torch.eye(3, dtype=up.dtype)[up.abs().argmin()])
    return torch.nn.functional.normalize(across, dim=0)


def _look(position: Tensor, direction: Tensor, up: Tensor) -> Tensor:
    """The camera at `position` that looks along `direction` with `up` upwards in its picture: `[3, 4]`."""
    forward = torch.nn.functional.normalize(direction, dim=0)
    down = -_level(up, forward)
    return torch.stack((torch.linalg.cross(down, forward), down, forward, position), dim=1)
