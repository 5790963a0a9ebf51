"""Two images or batches of colours that are to be compared: one type, one device, and the range that they are said
to have."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.number_kinds import real_number

__all__ = ["largest_value", "promoted", "refuse_another_range"]

_PLAINLY_LARGER = 8.0
_LOOKED_AT = 4096
_seen: set[tuple[object, ...]] = set()  # shapes, types and devices of CUDA tensors whose values were in range


def largest_value(data_range: float | None) -> float:
    """`data_range` as a float, 1 where it is None.

    Raises:
        ConfigError: it is no finite number above 0.
    """
    if data_range is None:
        return 1.0
    number = real_number(data_range)
    if number is None or number <= 0:
        raise ConfigError(f"data_range: {data_range!r} is not a number above 0; give the largest possible value.")
    return number


def promoted(
    first: Tensor, second: Tensor, data_range: float | None, what: str, names: tuple[str, str]
) -> tuple[Tensor, Tensor]:
    """Both in the type that PyTorch promotes them to, half precision in float32.

    Args:
        data_range: as it was given; integers are taken only where it was.
        what: is computed, for errors.
        names: of the two, for errors.
    Raises:
        ConfigError: something else than tensors, two devices, complex numbers, or integers without a range.
    """
    for name, value in zip(names, (first, second), strict=True):
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise ConfigError(f"{what}: {name} is a {kind}, not a tensor; convert it with torch.as_tensor.")
        if value.is_complex() or value.dtype == torch.bool:
            raise ConfigError(f"{what}: {name} holds {value.dtype}; give floating point in [0, 1].")
        if data_range is None and not value.is_floating_point():
            raise ConfigError(
                f"{what}: {name} holds {value.dtype}; give data_range (255 for bytes), or floating point in [0, 1]."
            )
    if first.device != second.device:
        raise ConfigError(
            f"{what}: {names[0]} is on {first.device}, {names[1]} is on {second.device}; move one to the other's."
        )
    common = torch.promote_types(first.dtype, second.dtype)
    if common in (torch.float16, torch.bfloat16) or not common.is_floating_point:
        common = torch.float32
    return first.to(common), second.to(common)


def refuse_another_range(image: Tensor, largest: float, what: str, name: str) -> None:
    """Raises `ConfigError` for values that are plainly not in [0, `largest`], such as bytes taken for floats.

    A few thousand values tell: an image of 0 to 255 is not dark in all of them. On a GPU the program has to wait for
    them, so there only the first call with each shape and type is looked at. Where values cannot be looked at (a traced
    or captured program, a tensor without data) nothing is said.
    """
    if torch.compiler.is_compiling() or image.device.type not in ("cpu", "cuda") or type(image) is not Tensor:
        return
    call = (image.shape, image.dtype, image.device, largest)
    if image.is_cuda and (call in _seen or torch.cuda.is_current_stream_capturing()):
        return
    sample = image.detach().flatten()
    try:
        found = float(sample[:: max(1, sample.numel() // _LOOKED_AT)].amax())
    except RuntimeError:  # within torch.func.vmap no value is to be had
        return
    if _PLAINLY_LARGER * largest < found < math.inf:  # infinity is passed on, as it is by every other operation
        raise ConfigError(
            f"{what}: {name} has values up to {found:.4g}, expected [0, {largest:g}]; give data_range, the largest "
            "possible value (255 for bytes), or divide by it."
        )
    if image.is_cuda:
        _seen.add(call)
