"""What a part of a checkpoint must be before anything is restored from it: kinds, shapes, types and ranges.

A schema is a function of a value and of where it is; it returns nothing, or raises `Unsound` at the first fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "Schema",
    "Unsound",
    "at",
    "box",
    "constant",
    "either_none_or",
    "list_of",
    "mapping",
    "number",
    "record",
    "sequence_of_same",
    "tensor",
    "text",
    "truth",
    "weights_like",
    "whole",
]

Schema = Callable[[Any, str], None]

LARGEST_COORDINATE = 1e9  # of a box, scene units
FLATTEST_BOX = 1e-6  # shortest side by longest


class Unsound(ValueError):
    """A value that does not fit its schema; `where` is its key, such as `recipe.field.aabb`."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where} {problem}")
        self.where, self.problem = where, problem


def at(where: str, key: object) -> str:
    """The place of `key` in what is at `where`."""
    return f"{where}.{key}" if where else str(key)


def whole(low: float = -math.inf, high: float = math.inf) -> Schema:
    """A whole number from `low` to `high`."""

    def check(value: Any, where: str) -> None:
        if type(value) is not int:
            raise Unsound(where, f"is {_kind(value)}, not a whole number")
        _check_range(value, where, low, high)

    return check


def number(low: float = -math.inf, high: float = math.inf, *, is_finite: bool = True) -> Schema:
    """A number from `low` to `high`, finite unless that does not matter."""

    def check(value: Any, where: str) -> None:
        if type(value) not in (int, float):
            raise Unsound(where, f"is {_kind(value)}, not a number")
        if is_finite and not abs(value) < math.inf:
            raise Unsound(where, f"is {value}, not a finite number")
        if is_finite:
            _check_range(value, where, low, high)

    return check


def truth(value: Any, where: str) -> None:
    """True or False."""
    if type(value) is not bool:
        raise Unsound(where, f"is {_kind(value)}, not true or false")


def text(value: Any, where: str) -> None:
    """Text."""
    if type(value) is not str:
        raise Unsound(where, f"is {_kind(value)}, not text")


def constant(expected: Any) -> Schema:
    """This value and no other."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, Tensor) or type(value) is not type(expected) or value != expected:
            raise Unsound(where, f"is {_shown(value)}, where this run has {_shown(expected)}")

    return check


def either_none_or(schema: Schema) -> Schema:
    """None, or what fits the schema."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            schema(value, where)

    return check


def list_of(schema: Schema, length: int | None = None) -> Schema:
    """A list or tuple of this length, or of any, all of whose items fit the schema."""

    def check(value: Any, where: str) -> None:
        if type(value) not in (list, tuple):
            raise Unsound(where, f"is {_kind(value)}, not a list")
        if length is not None and len(value) != length:
            raise Unsound(where, f"has {len(value)} items, not {length}")
        for index, item in enumerate(value):
            schema(item, f"{where}[{index}]")

    return check


def sequence_of_same(values: Sequence[Any]) -> Schema:
    """A list or tuple that equals `values`."""

    def check(value: Any, where: str) -> None:
        list_of(lambda item, place: None, len(values))(value, where)
        for index, (item, expected) in enumerate(zip(value, values, strict=True)):
            constant(expected)(item, f"{where}[{index}]")

    return check


def record(schemas: Mapping[Any, Schema], optional: Collection[Any] = ()) -> Schema:
    """A dict with these keys, all but the `optional` ones there, and no others."""

    def check(value: Any, where: str) -> None:
        _check_dict(value, where)
        for key in value:
            if key not in schemas:
                raise Unsound(at(where, key), "is not a key of this run")
        for key, schema in schemas.items():
            if key in value:
                schema(value[key], at(where, key))
            elif key not in optional:
                raise Unsound(at(where, key), "is missing")

    return check


def mapping(key: Schema, schema: Schema) -> Schema:
    """A dict whose keys and values fit these schemas."""

    def check(value: Any, where: str) -> None:
        _check_dict(value, where)
        for name, item in value.items():
            key(name, at(where, name))
            schema(item, at(where, name))

    return check


def tensor(
    shape: Iterable[int],
    dtype: torch.dtype = torch.float32,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    is_finite: bool = True,
) -> Schema:
    """A tensor of this shape and type whose elements are numbers from `low` to `high`, finite unless told otherwise."""
    shape = tuple(shape)

    def check(value: Any, where: str) -> None:
        if not isinstance(value, Tensor):
            raise Unsound(where, f"is {_kind(value)}, not a tensor")
        if tuple(value.shape) != shape:
            raise Unsound(where, f"has the shape {list(value.shape)}, where this run has {list(shape)}")
        if value.dtype != dtype:
            raise Unsound(where, f"is of {value.dtype}, not of {dtype}")
        if value.is_floating_point() and bool(value.isnan().any() if not is_finite else not value.isfinite().all()):
            raise Unsound(where, "holds values that are not finite")
        if dtype != torch.bool and value.numel() and (low > -math.inf or high < math.inf):
            lowest, highest = value.amin().item(), value.amax().item()
            _check_range(lowest, where, low, high)
            _check_range(highest, where, low, high)

    return check


def weights_like(module: torch.nn.Module) -> Schema:
    """What `module.load_state_dict` takes; the module's own tensors may lie on the device `meta`, without memory."""
    return record({name: tensor(value.shape, value.dtype) for name, value in module.state_dict().items()})


def box(value: Any, where: str) -> None:
    """The lowest and highest corner of a box `[2, 3]`, neither empty nor so flat that its cells have no size."""
    tensor((2, 3), low=-LARGEST_COORDINATE, high=LARGEST_COORDINATE)(value, where)
    sides = (value[1].double() - value[0].double()).tolist()
    if min(sides) <= 0 or min(sides) < FLATTEST_BOX * max(sides):
        raise Unsound(where, f"is an empty or inverted box, of sides {', '.join(f'{side:.3g}' for side in sides)}")


def _check_dict(value: Any, where: str) -> None:
    if type(value) is not dict:
        raise Unsound(where, f"is {_kind(value)}, not a record")


def _check_range(value: float, where: str, low: float, high: float) -> None:
    if not low <= value <= high:
        bounds = f"from {low:g} to {high:g}" if high < math.inf else f"at least {low:g}"
        raise Unsound(where, f"is {_shown(value)}, out of range: it is {bounds}")


def _kind(value: Any) -> str:
    names = {type(None): "nothing", bool: "true or false", int: "a number", float: "a number", str: "text"}
    names |= {list: "a list", tuple: "a list", dict: "a record"}
    return names.get(type(value), "a tensor" if isinstance(value, Tensor) else type(value).__name__)


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
