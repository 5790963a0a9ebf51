"""One call of an op: its arguments in one row, and what its backward pass is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from nerf_ssim.ops.declaration import Op

Widths = tuple["int | None", ...]
"""Of each argument, the length of its list of tensors; None where it is not one."""


def flattened(args: Sequence[Any]) -> tuple[list[Any], Widths]:
    """The arguments with the tensors of lists one by one, and how long each list was."""
    flat: list[Any] = []
    widths: list[int | None] = []
    for value in args:
        if isinstance(value, (list, tuple)) and len(value) > 0 and isinstance(value[0], Tensor):
            flat.extend(value)
            widths.append(len(value))
        else:
            flat.append(value)
            widths.append(None)
    return flat, tuple(widths)


def unflattened(flat: Sequence[Any], widths: Widths) -> list[Any]:
    """The arguments that `flattened` was given."""
    if not any(widths):
        return list(flat)
    args: list[Any] = []
    place = 0
    for width in widths:
        if width is None:
            args.append(flat[place])
        else:
            args.append(list(flat[place : place + width]))
        place += 1 if width is None else width
    return args


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an op, but for its tensors.

    needs: which of the differentiable tensors will want a gradient, as far as the caller can tell. resource: memory to
    use again and the like. widths: of the lists among the arguments.
    """

    op: Op
    needs: tuple[bool, ...]
    resource: Any
    widths: Widths


class GradientCall(NamedTuple):
    """What a native backward pass is given.

    upstream: gradient of each differentiable result, None where there is none. args: of the forward call. kept: the
    outputs of the forward pass that the op keeps. needs: which of the differentiable tensors want a gradient.
    resource: as it was given to the op.
    """

    upstream: tuple[Tensor | None, ...]
    args: tuple[Any, ...]
    kept: tuple[Tensor, ...]
    needs: tuple[bool, ...]
    resource: Any


Gradient = Callable[[GradientCall], "Sequence[Tensor | None]"]


def places_of_variables(call: Call) -> tuple[int, ...]:
    """Places of the differentiable tensors among the flat arguments."""
    return _places(call.op.is_differentiable, call.widths)


@lru_cache
def _places(is_differentiable: tuple[bool, ...], widths: Widths) -> tuple[int, ...]:
    places: list[int] = []
    place = 0
    for width, has_gradient in zip(widths, is_differentiable, strict=True):
        size = 1 if width is None else width
        if has_gradient:
            places.extend(range(place, place + size))
        place += size
    return tuple(places)
