"""DVGO's formulas, written out in float64 from their definitions and sharing no code with the package.

A field's parameters are float64 leaves by name (`density.values`, `k0.values`, `rgbnet.layers.1.bias` …), so that
autograd of these formulas gives the gradients to compare with. Sums and products run sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

BACKGROUND_FLOOR = 1e-3  # a ray ends with the sample that leaves less light


@dataclass
class Explicit:
    """A field by its parameters and options, and what its renders were made of.

    `length` is a sample's length in base voxels, `places(origin, direction)` the ray's samples before mask and
    thresholds: coordinate in [-1, 1] of the grid's box, distance, place in [0, 1).
    """

    parameters: dict[str, Tensor]
    shift: float
    length: float
    threshold: float
    mask: Tensor
    places: Callable[[Tensor, Tensor], list[tuple[Tensor, float, float]]]
    frequencies: int
    margins: list[float] = field(default_factory=list)  # how far each yes-or-no decision was from the other answer
    n_samples: int = 0
    n_stopped: int = 0
    coloured: list[tuple[int, Tensor, Tensor, float]] = field(default_factory=list)  # ray, weight, colour, place


def parameters_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """The parameters of a package's field as float64 leaves; nothing it computes is used."""
    return {name: value.detach().double().clone().requires_grad_() for name, value in model.named_parameters()}


def trilinear(grid: Tensor, coord: Tensor) -> Tensor:
    """`grid [X, Y, Z, C]` at one `coord [3]`, nodes from -1 to 1 along each axis, zero beyond: `[C]`."""
    total = torch.zeros(grid.shape[3], dtype=torch.float64)
    spots = [(float(coord[axis]) + 1) / 2 * (grid.shape[axis] - 1) for axis in range(3)]
    for corner in range(8):
        weight, node = 1.0, []
        for axis in range(3):
            index = math.floor(spots[axis]) + (corner >> axis & 1)
            weight *= 1 - abs(spots[axis] - index)
            node.append(index)
        if all(0 <= index < size for index, size in zip(node, grid.shape, strict=False)):
            total = total + weight * grid[tuple(node)]
    return total


def opacity(density: Tensor, shift: float, length: float) -> Tensor:
    """1 - (1 + e^(density + shift))^(-length)."""
    return 1 - (1 + torch.exp(density + shift)) ** (-length)


def nearest(mask: Tensor, coord: Tensor, margins: list[float]) -> bool:
    """Whether the mask is open at the node nearest to `coord`."""
    node = []
    for axis in range(3):
        spot = (float(coord[axis]) + 1) / 2 * (mask.shape[axis] - 1)
        margins.append(abs(spot - math.floor(spot) - 0.5))
        node.append(math.floor(spot + 0.5))
    if not all(0 <= index < size for index, size in zip(node, mask.shape, strict=True)):
        return False
    return bool(mask[tuple(node)])


def contract(p: Tensor, bg_len: float) -> tuple[Tensor, bool]:
    """Into the ball of radius 1 + bg_len, and whether `p [3]` was in the unit ball."""
    r = math.sqrt(float((p * p).sum()))
    return (p, True) if r <= 1 else (p / r * ((1 + bg_len) - bg_len / r), False)


def contracted_places(
    centre: Tensor, radius: float, side: int, bg_len: float, step: float, margins: list[float]
) -> Callable[[Tensor, Tensor], list[tuple[Tensor, float, float]]]:
    """Samples of the contracted model with a grid of `side` nodes."""
    n = int(2 / (2 + 2 * bg_len) * side / step) + 1
    ends_in = [2 * k / n for k in range(n + 1)]
    ends_out = [2 / (1 + (1 / 128 - 1) * k / n) for k in range(n + 1)]
    distances = [(a + b) / 2 for ends in (ends_in, ends_out) for a, b in zip(ends, ends[1:], strict=False)]
    least = (2 + 2 * bg_len) / side * step * 0.95

    def places(origin: Tensor, direction: Tensor) -> list[tuple[Tensor, float, float]]:
        kept, travelled, before = [], 0.0, None
        for t in distances:
            p = (origin - centre) / radius + direction * t
            q, is_inner = contract(p, bg_len)
            margins.append(abs(float(p.norm()) - 1))
            is_far_enough = False
            if before is not None:
                travelled += float((q - before).norm())
                margins.append(abs(travelled - least) / least)
                is_far_enough = travelled > least
                travelled = 0.0 if is_far_enough else travelled
            before = q
            if is_inner or is_far_enough:
                kept.append((q / (1 + bg_len), t * radius, 1 - 1 / (1 + t)))
        return kept

    return places


def boxed_places(
    aabb: Tensor, near: float, step: float, margins: list[float]
) -> Callable[[Tensor, Tensor], list[tuple[Tensor, float, float]]]:
    """Samples of the bounded model, `step` apart (scene units) from the entry into the box."""

    def places(origin: Tensor, direction: Tensor) -> list[tuple[Tensor, float, float]]:
        faces = []
        for axis in range(3):
            slope = float(direction[axis]) or 1e-6
            faces.append(sorted(float(aabb[end, axis] - origin[axis]) / slope for end in range(2)))
        entry, kept = max(near, *(first for first, _ in faces)), []
        for k in range(int(float((aabb[1] - aabb[0]).norm()) / step) + 3):
            p = origin + direction * (entry + k * step)
            inside = torch.minimum(p - aabb[0], aabb[1] - p)
            margins.append(float(inside.abs().min()) if k else 1.0)  # the entry itself lies on a face
            if float(inside.min()) >= -1e-9:
                kept.append(((p - aabb[0]) / (aabb[1] - aabb[0]) * 2 - 1, entry + k * step, 0.0))
        return kept

    return places


def shade(model: Explicit, features: Tensor, direction: Tensor) -> Tensor:
    """Colour `[3]` of one sample: sigmoid of the features, or of the network on [features, d, sin, cos]."""
    count = sum(name.startswith("rgbnet") for name in model.parameters) // 2
    if count == 0:
        return 1 / (1 + torch.exp(-features))
    angles = [direction[axis] * 2**k for axis in range(3) for k in range(model.frequencies)]
    waves = [wave(angle) for wave in (torch.sin, torch.cos) for angle in angles]
    hidden = torch.stack([*features, *direction, *waves])
    for layer in range(count):
        weight, bias = (model.parameters[f"rgbnet.layers.{layer}.{part}"] for part in ("weight", "bias"))
        hidden = weight @ hidden + bias
        hidden = hidden.clamp_min(0) if layer < count - 1 else 1 / (1 + torch.exp(-hidden))
    return hidden


def render_ray(
    model: Explicit, ray: int, origin: Tensor, direction: Tensor, background: Tensor
) -> tuple[Tensor, Tensor, float]:
    """Colour `[3]`, light left and depth of one ray."""
    light = torch.ones((), dtype=torch.float64)
    rgb, depth = torch.zeros(3, dtype=torch.float64), 0.0
    is_over = False
    for coord, t, place in model.places(origin, direction):
        if not nearest(model.mask, coord, model.margins):
            continue
        model.n_samples += 1
        if is_over:
            continue
        alpha = opacity(trilinear(model.parameters["density.values"], coord)[0], model.shift, model.length)
        model.margins.append(abs(alpha.item() / model.threshold - 1))
        if alpha <= model.threshold:
            continue
        weight = light * alpha
        light = light * (1 - alpha)
        depth += weight.item() * t
        model.margins += [abs(weight.item() / model.threshold - 1), abs(light.item() / BACKGROUND_FLOOR - 1)]
        if weight > model.threshold:
            colour = shade(model, trilinear(model.parameters["k0.values"], coord), direction)
            model.coloured.append((ray, weight, colour, place))
            rgb = rgb + weight * colour
        is_over = light.item() < BACKGROUND_FLOOR
        model.n_stopped += is_over
    return rgb + light * background, light, depth


def render(model: Explicit, origins: Tensor, directions: Tensor, backgrounds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`render_ray` of each ray: rgb `[rays, 3]`, light left `[rays]`, depth `[rays]`."""
    rows = zip(origins.double(), directions.double(), backgrounds.double(), strict=True)
    rays = [render_ray(model, index, *row) for index, row in enumerate(rows)]
    depth = torch.tensor([ray[2] for ray in rays], dtype=torch.float64)
    return torch.stack([ray[0] for ray in rays]), torch.stack([ray[1] for ray in rays]), depth


def entropy(light: Tensor) -> Tensor:
    """Mean of -(p ln p + (1 - p) ln(1 - p)) with p in [1e-6, 1 - 1e-6]."""
    total = 0.0
    for value in light:
        p = value.clamp(1e-6, 1 - 1e-6)
        total = total - (p * torch.log(p) + (1 - p) * torch.log(1 - p))
    return total / len(light)


def point_error(model: Explicit, target: Tensor) -> Tensor:
    """Sum of |colour - target|^2 times the constant weight, over the number of rays."""
    parts = [weight.detach() * ((colour - target[ray]) ** 2).sum() for ray, weight, colour, _ in model.coloured]
    return sum(parts) / len(target)


def distortion(model: Explicit, n_places: int) -> Tensor:
    """Pairs of samples of a ray by their distance, and each by itself, over the rays up to the last coloured one."""
    total = torch.zeros((), dtype=torch.float64)
    for i, (ray, weight, _, place) in enumerate(model.coloured):
        total = total + weight**2 / (3 * n_places)
        for other, other_weight, _, earlier in model.coloured[:i]:
            if other == ray:
                total = total + 2 * weight * other_weight * (place - earlier)
    return total / (model.coloured[-1][0] + 1)


def variation_pull(grid: Tensor, node: tuple[int, int, int], weight: float) -> Tensor:
    """What total variation adds to the gradient at a node: weight times the clamped differences to its neighbours."""
    total = torch.zeros_like(grid[node])
    for axis in range(3):
        for step in (-1, 1):
            other = list(node)
            other[axis] += step
            if 0 <= other[axis] < grid.shape[axis]:
                total = total + weight * (grid[node] - grid[tuple(other)]).clamp(-1, 1)
    return total


def adam(values: Tensor, gradients: list[Tensor], rates: list[float], *, skips_zero: bool) -> Tensor:
    """`values` after one update for each of `gradients` and `rates`, (0.9, 0.99, eps 1e-8) from nothing."""
    result = values.double().clone()
    first, second = torch.zeros_like(result), torch.zeros_like(result)
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        g = gradient.double()
        moved = g != 0 if skips_zero else torch.ones_like(g, dtype=torch.bool)
        first = torch.where(moved, 0.9 * first + 0.1 * g, first)
        second = torch.where(moved, 0.99 * second + 0.01 * g * g, second)
        size = rate * math.sqrt(1 - 0.99**t) / (1 - 0.9**t)
        result = torch.where(moved, result - size * first / (second.sqrt() + 1e-8), result)
    return result
