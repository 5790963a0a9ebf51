"""Valid arguments of every native operator, and what is tried in place of each tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

NAMESPACE = "nerf_ssim"
REFUSALS = (RuntimeError, ValueError, IndexError, TypeError)


def operators() -> list[str]:
    """The names of the operators that have a kernel for the CPU."""
    import nerf_ssim.ops  # noqa: F401 - loads the extension

    names = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith(f"{NAMESPACE}::")]
    return sorted(name.split("::")[1] for name in names if torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU"))


def arguments() -> dict[str, list[Any]]:
    """A call that works, for each operator; made anew, since some update their arguments."""
    seed = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=seed)

    offsets, ray_index = torch.tensor([0, 3, 3, 8]), torch.tensor([0, 0, 0, 2, 2, 2, 2, 2])
    planes = [rand(5, 4, 3), rand(6, 4, 2), rand(6, 5, 4)]  # over x y, x z, y z
    lines = [rand(6, 3), rand(5, 2), rand(4, 4)]
    coords = rand(7, 3) * 2 - 1
    vm, cp = [*planes, *lines], [rand(4, 3), rand(5, 3), rand(6, 3)]
    rays = [rand(4, 3), rand(4, 3) - 0.5]
    box = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    decoder = [rand(9, 5 + 3 + 2 * 5 * 2 + 2 * 3 * 1), rand(9), rand(8, 9), rand(8), rand(3, 8), rand(3)]
    layers = [rand(6, 2), rand(6), rand(5, 6), rand(5), rand(3, 5), rand(3)]
    images = [rand(2, 9, 10), rand(2, 9, 10)]
    taps, eleven, mix = [0.25, 0.5, 0.25], [1 / 11] * 11, [1.0, 0.0, 0.0]
    s3im = [rand(20, 3), rand(20, 3), torch.randint(0, 20, (40,), generator=seed)]
    grid = [rand(3, 4, 5, 2), coords]
    state = [rand(3, 4, 5, 2), rand(3, 4, 5, 2), rand(3, 4, 5, 2), rand(3, 4, 5, 2)]
    touched = torch.ones(3, 4, 1, dtype=torch.uint8)
    decoded = [rand(7, 5), rand(7, 3), *decoder, 2, 1]
    activations = torch.zeros(torch.ops.nerf_ssim.siren_activation_floats(rand(7, 2), layers, "float32"))
    many = [[rand(8), rand(3, 2)] for _ in range(4)]
    return {
        "adam_steps": [*many, [0.1, 0.2], [1, 2], 0.9, 0.99, 1e-8, True],
        "composite_voxels": [rand(8), offsets, -2.0, 0.5, 0.0, 1e-4],
        "composite_voxels_backward": [rand(8), rand(3), rand(8), offsets, -2.0, 0.5, 0.0, 1e-4],
        "distortion_loss": [rand(8), rand(8), ray_index, 0.1],
        "composite": [rand(8), rand(8), offsets, 25.0],
        "composite_backward": [rand(8), rand(3), rand(8), rand(8), rand(8), offsets, rand(8), 25.0],
        "accumulate": [rand(8), rand(8, 3), ray_index, 3],
        "accumulate_backward": [rand(3, 3), rand(8), rand(8, 3), ray_index],
        "march_contracted": [*rays, rand(6), 0.2, 0.0, torch.ones(3, 4, 5, dtype=torch.bool)],
        "vm_density": [*vm, coords],
        "vm_features": [*vm, coords],
        "vm_basis_features": [*vm, rand(6, 9), coords],
        "vm_density_backward": [rand(7), *vm, coords],
        "vm_features_backward": [rand(7, 9), *vm, coords],
        "vm_basis_features_backward": [rand(7, 6), *vm, rand(6, 9), coords],
        "cp_density": [*cp, coords],
        "cp_features": [*cp, coords],
        "cp_density_backward": [rand(7), *cp, coords],
        "cp_features_backward": [rand(7, 3), *cp, coords],
        "march_box": [*rays, box, 0.1, 4.0, 0.2, 12, rand(4), torch.full((4, 5, 6), 255, dtype=torch.uint8), box],
        "decode_color": [*decoded, "float32"],
        "decode_color_backward": [rand(7, 3), rand(7, 3), *decoded, True, "float32"],
        "pixel_rays": [
            torch.tensor([3, 0, 39]),
            torch.ones(2, 4, 5, 3, dtype=torch.uint8),
            rand(2, 3, 4),
            rand(2, 3, 3),
        ],
        "planes_tv": [planes, [0.1, 1.0]],
        "planes_tv_backward": [torch.tensor(1.0), planes, [0.1, 1.0]],
        "resize_plane": [planes[0], 7, 6],
        "select_samples": [rand(8), ray_index, rand(8, 3), rand(3, 3), rand(8), 0.5],
        "select_samples_backward": [rand(3), torch.tensor([0, 4, 7]), 8],
        "s3im": [*s3im, 4, taps, 2, 1, 1e-4, 9e-4, mix, True],
        "siren": [rand(7, 2), layers, 30.0, "float32"],
        "siren_activation_floats": [rand(7, 2), layers, "float32"],
        "siren_keeping": [rand(7, 2), layers, 30.0, activations, "float32"],
        "siren_backward": [rand(7, 3), rand(7, 2), layers, 30.0, "float32"],
        "siren_kept_backward": [rand(7, 3), rand(7, 2), layers, 30.0, activations, "float32"],
        "siren_fit": [rand(7, 2), rand(7, 3).double(), layers, 30.0, "float32"],
        "ssim_mean": [*images, taps, 1, 1, 1, 1e-4, 9e-4, mix, True, True],
        "ssim_moments": [*images, taps, 1, 1, 1],
        "ssim_adjoint": [*images, rand(4, 2, 9, 10), torch.tensor(1.0), 0.5, taps, 1, 1, 1, True, True],
        "ssim_recompute": [*images, torch.tensor(1.0), 0.5, taps, 1, 1, 1, 1e-4, 9e-4, mix, True, True],
        "ssim_loss": [*images, eleven, 1, 5, 5, 1e-4, 9e-4, mix, 1, 0.8, 0.2, True, True],
        "ssim_loss_adjoint": [
            *images,
            rand(4, 2, 9, 10),
            torch.tensor(1.0),
            eleven,
            1,
            5,
            5,
            2,
            0.8,
            0.2,
            True,
            True,
        ],
        "voxel_features": grid,
        "add_voxel_features_gradient": [rand(3, 4, 5, 2), rand(7, 2), coords, touched],
        "voxel_adam_step": [*state, 0.1, 0.9, 0.99, 1e-8, 1, True, [0.1, 0.1, 0.1], True, rand(3, 4, 5, 2), touched],
    }


def must_be_refused(what: str) -> bool:
    """Whether no operator has an answer to what `calls` names so: a tensor of another type, or without its axes."""
    return " of torch." in what or what.endswith("without dimensions")


def variations(tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What is given in place of a tensor, by what is odd about it."""
    for dtype in (torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool, torch.float32):
        if dtype != tensor.dtype:
            yield f"of {dtype}", tensor.to(dtype)
    yield "on meta", tensor.to("meta")
    yield "of one more dimension", tensor[None]
    yield "flat", tensor.flatten()
    if tensor.dim():
        yield "without dimensions", tensor.new_ones(())
    yield "empty", tensor.new_ones((0,))
    for axis, size in enumerate(tensor.shape):
        for name, length in (("short by one", size - 1), ("of one", 1), ("of none", 0)):
            if length != size:
                yield f"{name} along {axis}", tensor.narrow(axis, 0, length).contiguous()
        yield f"longer by one along {axis}", torch.cat([tensor, tensor.narrow(axis, 0, 1)], axis)
        yield f"expanded along {axis}", tensor.narrow(axis, 0, 1).expand(tensor.shape)
    yield "strided", torch.stack([tensor, tensor], -1)[..., 0]
    if tensor.dim() > 1:
        yield "transposed in memory", tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if tensor.is_floating_point():
        for value in (float("nan"), float("inf"), -float("inf"), 1e30, -1e30):
            yield f"full of {value}", torch.full_like(tensor, value)
    elif tensor.dtype == torch.int64:
        for value in (-1, 1 << 40, -(1 << 62), (1 << 62)):
            yield f"full of {value}", torch.full_like(tensor, value)
        yield "backwards", tensor.flip(0)


def calls(name: str) -> Iterator[tuple[str, list[Any]]]:
    """Every odd call of an operator: one tensor of its arguments is another, everything else as it should be."""
    values = arguments()[name]

    def with_other(place: int, value: Any) -> list[Any]:
        changed = copy.deepcopy(values)  # some operators update their arguments
        changed[place] = value
        return changed

    for place, argument in enumerate(values):
        if isinstance(argument, Tensor):
            for what, odd in variations(argument):
                yield f"argument {place} {what}", with_other(place, odd)
        elif isinstance(argument, list) and isinstance(argument[0], Tensor):
            for index, tensor in enumerate(argument):
                for what, odd in variations(tensor):
                    changed = list(argument)
                    changed[index] = odd
                    yield f"argument {place}[{index}] {what}", with_other(place, changed)
            yield f"argument {place} without its last", with_other(place, argument[:-1])
        elif isinstance(argument, list):
            for numbers in ([], argument[:-1], [*argument, 0.0], [float("nan")] * len(argument), [0.5] * 1000):
                yield f"argument {place} is {len(numbers)} numbers", with_other(place, numbers)
        elif isinstance(argument, int) and not isinstance(argument, bool):
            for value in (-1, 0, 1 << 20, -(1 << 40)):
                yield f"argument {place} is {value}", with_other(place, value)
        elif isinstance(argument, float):
            for number in (0.0, -1.0, float("nan"), float("inf"), 1e30):
                yield f"argument {place} is {number}", with_other(place, number)


def operator(name: str) -> Callable[..., Any]:
    """The operator of that name."""
    return getattr(getattr(torch.ops, NAMESPACE), name)
