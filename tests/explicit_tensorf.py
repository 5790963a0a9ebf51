"""TensoRF's formulas, written out in float64 from their definitions and sharing no code with the package.

Everything takes a field's parameters by name (`density_grid.planes.0`, `decoder.layers.1.bias`, ...) as float64 leaves,
so that autograd of these formulas gives the gradients to compare with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

XYZ = {"x": 0, "y": 1, "z": 2}
PLANES = ("xy", "xz", "yz")  # the first letter is the plane's column axis, the second its row axis
LINES = ("z", "y", "x")


@dataclass
class Explicit:
    """A field by its parameters, and how its rays are marched."""

    parameters: dict[str, Tensor]
    aabb: Tensor
    near: float
    far: float
    step: float
    n_samples: int
    is_cp: bool = False
    shading: str = "MLP_Fea"
    view_frequencies: int = 2
    feature_frequencies: int = 2
    position_frequencies: int = 2
    density_shift: float = -10.0
    distance_scale: float = 25.0
    weight_threshold: float = 1e-4
    mask: Tensor | None = None
    mask_aabb: Tensor | None = None
    margins: list[float] = field(default_factory=list)  # how far each yes-or-no decision was from the other answer
    n_coloured: int = 0

    @classmethod
    def of(cls, model: torch.nn.Module, n_samples: int, **options: object) -> Explicit:
        """The parameters, box and range of a package's field, in float64; nothing it computes is used."""
        parameters = {
            name: value.detach().double().clone().requires_grad_() for name, value in model.named_parameters()
        }
        aabb = model.aabb.double()
        cells = torch.tensor(model.resolution).double() - 1
        step = float(((aabb[1] - aabb[0]) / cells).mean() * 0.5)
        is_cp = not any("planes" in name for name in parameters)
        return cls(parameters, aabb, model.near, model.far, step, n_samples, is_cp=is_cp, **options)


def on_line(line: Tensor, p: Tensor) -> Tensor:
    """Linear interpolation of `line [n, channels]` at `p` in [-1, 1], the ends of the line at -1 and 1."""
    n = line.shape[0]
    place = (p + 1) / 2 * (n - 1)
    left = place.floor().clamp(0, n - 2).long()
    share = (place - left)[:, None]
    return line[left] * (1 - share) + line[left + 1] * share


def on_plane(plane: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Bilinear interpolation of `plane [rows, columns, channels]`, `u` along columns and `v` along rows."""
    rows, columns, _ = plane.shape
    x, y = (u + 1) / 2 * (columns - 1), (v + 1) / 2 * (rows - 1)
    i, j = x.floor().clamp(0, columns - 2).long(), y.floor().clamp(0, rows - 2).long()
    a, b = (x - i)[:, None], (y - j)[:, None]
    top = plane[j, i] * (1 - a) + plane[j, i + 1] * a
    bottom = plane[j + 1, i] * (1 - a) + plane[j + 1, i + 1] * a
    return top * (1 - b) + bottom * b


def grid_products(model: Explicit, grid: str, coords: Tensor) -> list[Tensor]:
    """Each plane times its line, or the product of the three lines, `[samples, components]`."""
    if model.is_cp:
        x, y, z = (on_line(model.parameters[f"{grid}.lines.{axis}"], coords[:, axis]) for axis in range(3))
        return [x * y * z]
    products = []
    for m, (axes, line_axis) in enumerate(zip(PLANES, LINES, strict=True)):
        u, v = coords[:, XYZ[axes[0]]], coords[:, XYZ[axes[1]]]
        plane = on_plane(model.parameters[f"{grid}.planes.{m}"], u, v)
        products.append(plane * on_line(model.parameters[f"{grid}.lines.{m}"], coords[:, XYZ[line_axis]]))
    return products


def softplus(value: Tensor) -> Tensor:
    return torch.log1p(torch.exp(value))


def density(model: Explicit, coords: Tensor) -> Tensor:
    feature = sum(product.sum(1) for product in grid_products(model, "density_grid", coords))
    return softplus(feature + model.density_shift)


def encode(values: Tensor, frequencies: int) -> list[Tensor]:
    """Sines, then cosines; in each the dimension goes slowest and the frequency fastest."""
    angles = [values[:, d] * 2**k for d in range(values.shape[1]) for k in range(frequencies)]
    return [torch.sin(angle) for angle in angles] + [torch.cos(angle) for angle in angles]


def harmonics(directions: Tensor) -> Tensor:
    """Real spherical harmonics up to degree 2, with the numbers that PlenOctrees' tables hold."""
    x, y, z = directions.unbind(1)
    values = [
        0.28209479177387814 + 0 * x,
        -0.4886025119029199 * y,
        0.4886025119029199 * z,
        -0.4886025119029199 * x,
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * z * z - x * x - y * y),
        -1.0925484305920792 * x * z,
        0.5462742152960396 * (x * x - y * y),
    ]
    return torch.stack(values, 1)


def colour(model: Explicit, coords: Tensor, directions: Tensor) -> Tensor:
    appearance = torch.cat(grid_products(model, "appearance_grid", coords), 1)
    features = appearance @ model.parameters["basis.weight"].T
    return shade(model, coords, directions, features)


def shade(model: Explicit, coords: Tensor, directions: Tensor, features: Tensor) -> Tensor:
    """Colour of appearance features under the shading mode."""
    if model.shading == "RGB":
        return features
    if model.shading == "SH":
        basis = harmonics(directions)
        channels = [(features[:, 9 * c : 9 * c + 9] * basis).sum(1) + 0.5 for c in range(3)]
        return torch.stack([torch.where(value > 0, value, 0 * value) for value in channels], 1)
    columns = [*features.T, *directions.T]
    if model.shading == "MLP_Fea":
        columns += encode(features, model.feature_frequencies)
    if model.shading == "MLP_PE":
        columns += [*coords.T, *encode(coords, model.position_frequencies)]
    columns += encode(directions, model.view_frequencies)
    hidden = torch.stack(columns, 1)
    for layer in range(3):
        weight, bias = (model.parameters[f"decoder.layers.{layer}.{part}"] for part in ("weight", "bias"))
        hidden = hidden @ weight.T + bias
        hidden = torch.where(hidden > 0, hidden, 0 * hidden) if layer < 2 else 1 / (1 + torch.exp(-hidden))
    return hidden


def interpolated_mask(mask: Tensor, box: Tensor, point: Tensor) -> float:
    """Trilinear interpolation of `mask` at one point, zeros outside."""
    total = 0.0
    places = [float((point[a] - box[0, a]) / (box[1, a] - box[0, a])) * (mask.shape[a] - 1) for a in range(3)]
    for corner in range(8):
        weight, inside, index = 1.0, True, []
        for axis in range(3):
            node = math.floor(places[axis]) + (corner >> axis & 1)
            weight *= 1 - abs(places[axis] - node)
            inside &= 0 <= node < mask.shape[axis]
            index.append(node)
        if inside:
            total += weight * float(mask[tuple(index)])
    return total


def render_ray(
    model: Explicit, origin: Tensor, direction: Tensor, jitter: float, background: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Colour `[3]`, opacity and depth of one ray, sample by sample."""
    low, high = model.aabb
    entries = []
    for axis in range(3):
        slope = float(direction[axis]) or 1e-6
        entries.append(min(float(low[axis] - origin[axis]) / slope, float(high[axis] - origin[axis]) / slope))
    start = min(max(max(entries), model.near), model.far)
    coloured_at, used = [], []
    t = [start + model.step * (k + jitter) for k in range(model.n_samples)]
    points = [origin + direction * value for value in t]
    coords = torch.stack([2 * (point - low) / (high - low) - 1 for point in points])
    for k, point in enumerate(points):
        is_used = bool((point >= low).all() and (point <= high).all())
        model.margins.append(float(torch.minimum((point - low).abs(), (high - point).abs()).min()))
        if is_used and model.mask is not None:
            is_used = interpolated_mask(model.mask, model.mask_aabb, point) > 0
        used += [k] if is_used else []
    sigma = [torch.zeros((), dtype=torch.float64)] * model.n_samples
    for k, value in zip(used, density(model, coords[used]), strict=True):
        sigma[k] = value
    transmittance = torch.ones((), dtype=torch.float64)
    weights = []
    for k in range(model.n_samples):
        delta = model.step if k < model.n_samples - 1 else 0.0
        alpha = 1 - torch.exp(-sigma[k] * delta * model.distance_scale)
        weights.append(alpha * transmittance)
        transmittance = transmittance * (1 - alpha + 1e-10)
        model.margins.append(abs(weights[-1].item() / model.weight_threshold - 1))
        if weights[-1] > model.weight_threshold:
            coloured_at.append(k)
    model.n_coloured += len(coloured_at)
    opacity = sum(weights)
    rgb = background * (1 - opacity) * torch.ones(3, dtype=torch.float64)
    if coloured_at:
        seen = colour(model, coords[coloured_at], direction.expand(len(coloured_at), 3))
        rgb = rgb + sum(weights[k] * seen[i] for i, k in enumerate(coloured_at))
    depth = sum(weights[k].item() * t[k] for k in range(model.n_samples))
    return rgb.clamp(0, 1), opacity, torch.tensor(depth, dtype=torch.float64)


def render(
    model: Explicit, origins: Tensor, directions: Tensor, jitter: Tensor | None, background: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`render_ray` of each ray: rgb `[rays, 3]`, opacity `[rays]`, depth `[rays]`."""
    rays = [
        render_ray(model, o.double(), d.double(), 0.0 if jitter is None else float(jitter[r]), background)
        for r, (o, d) in enumerate(zip(origins, directions, strict=True))
    ]
    return tuple(torch.stack(part) for part in zip(*rays, strict=True))


def plane_total_variation(plane: Tensor) -> Tensor:
    """`2 * (mean of squared vertical differences + mean of squared horizontal ones)`, element by element."""
    rows, columns, channels = plane.shape
    vertical = sum(((plane[r + 1] - plane[r]) ** 2).sum() for r in range(rows - 1))
    horizontal = sum(((plane[:, c + 1] - plane[:, c]) ** 2).sum() for c in range(columns - 1))
    return 2 * (vertical / (channels * (rows - 1) * columns) + horizontal / (channels * rows * (columns - 1)))


def total_variation(model: Explicit, grid: str) -> Tensor:
    """As TensoRF weighs it: 1e-2 on VM's planes, 1e-3 on CP's lines."""
    if model.is_cp:
        lines = [model.parameters[f"{grid}.lines.{axis}"] for axis in range(3)]
        return sum(1e-3 * 2 * ((line[1:] - line[:-1]) ** 2).mean() for line in lines)
    return sum(1e-2 * plane_total_variation(model.parameters[f"{grid}.planes.{m}"]) for m in range(3))


def s3im_loss(rendered: Tensor, target: Tensor, orders: list[list[int]], height: int) -> Tensor:
    """1 - mean SSIM, window by window: kernel 4 and stride 4 on an image of `height` rows with a border of one zero."""
    rays, columns = rendered.shape[0], len(orders) * rendered.shape[0] // height
    taps = [math.exp(-0.5 * ((i - 2) / 1.5) ** 2) for i in range(4)]
    taps = [tap / sum(taps) for tap in taps]
    sequence = [pixel for order in orders for pixel in order]
    assert len(sequence) == height * columns and sorted(set(sequence)) == list(range(rays))
    values = []
    for top in range(-1, height + 1 - 3, 4):
        for left in range(-1, columns + 1 - 3, 4):
            sums = torch.zeros(5, 3, dtype=torch.float64)
            for i in range(4):
                for j in range(4):
                    row, column = top + i, left + j
                    if not (0 <= row < height and 0 <= column < columns):
                        continue  # a zero, which adds nothing to any sum
                    pixel = sequence[row * columns + column]
                    x, y = target[pixel], rendered[pixel]
                    sums = sums + taps[i] * taps[j] * torch.stack([x, y, x * x, y * y, x * y])
            mx, my, xx, yy, xy = sums
            luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
            structure = (2 * (xy - mx * my) + 0.03**2) / (xx - mx**2 + yy - my**2 + 0.03**2)
            values.append(luminance * structure)
    return 1 - torch.stack(values).mean()
