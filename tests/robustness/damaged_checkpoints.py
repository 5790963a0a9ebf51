"""Checkpoints of a sound container and unsound contents: hypothesis draws a place and what is there instead."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from hypothesis import strategies as st

NUMBERS = (0, 1, -1, 7, 10**6, 2**40, -(2**63), 10**400, 0.0, 0.5, -1.5, 1e-300, 1e300, math.nan, math.inf, -math.inf)
OTHERS = (None, True, False, "", "text", "../../x", [], {}, (), [[]], {"a": 1}, {0: {}}, [10**6] * 3, [2, 2, 2])
TENSORS = {
    "a number": lambda: torch.tensor(3.0),
    "a NaN": lambda: torch.tensor(math.nan),
    "an empty tensor": lambda: torch.zeros(0),
    "bytes": lambda: torch.zeros(5056, dtype=torch.uint8),
    "gigabytes out of a number": lambda: torch.zeros(1).expand(2**31),
    "a sparse tensor": lambda: torch.eye(3).to_sparse(),
    "complex numbers": lambda: torch.zeros(2, dtype=torch.complex64),
}
CHANGED_TENSORS = {
    "one element less": lambda t: t.flatten()[:-1].clone(),
    "one axis more": lambda t: t[None].clone(),
    "in double precision": lambda t: t.double(),
    "in whole numbers": lambda t: t.nan_to_num().clamp(-1e9, 1e9).long() if t.is_floating_point() else t.int(),
    "filled with NaN": lambda t: torch.full(t.shape, math.nan),
    "filled with infinity": lambda t: torch.full(t.shape, math.inf),
    "negative": lambda t: -t.float().abs() - 1,
    "huge": lambda t: torch.full(t.shape, 3e38),
    "zero": torch.zeros_like,
    "ones": torch.ones_like,
    "transposed": lambda t: t.T.clone() if t.dim() == 2 else t.flip(0).clone() if t.dim() else t + 1,
    "expanded": lambda t: t.flatten()[:1].expand(2**28) if t.numel() else t,
}


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every key and item of a nested record, the record's own (an empty one) left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def without_tuples(value: Any) -> Any:
    """The record with lists for tuples, so that every place can be written to."""
    if isinstance(value, dict):
        return {key: without_tuples(item) for key, item in value.items()}
    return [without_tuples(item) for item in value] if isinstance(value, (list, tuple)) else value


class Damaged:
    """What was done to a copy of a sound record, in words, and the copy."""

    def __init__(self, what: str, record: dict) -> None:
        self.what, self.record = what, record

    def __repr__(self) -> str:
        return self.what


@st.composite
def damaged(draw: st.DrawFn, sound: dict) -> Damaged:
    """A sound record with one thing wrong."""
    record = without_tuples(copy.deepcopy(sound))
    *parents, key = draw(st.sampled_from(sorted(places(record), key=repr)))
    holder = record
    for parent in parents:
        holder = holder[parent]
    present = holder[key]
    ways = ["other", "number", "tensor", "remove", "extra", "nest"] + ["change"] * 3 * isinstance(present, torch.Tensor)
    ways += ["near"] * 3 * (type(present) in (int, float))
    way = draw(st.sampled_from(ways))
    where = ".".join(map(str, (*parents, key)))
    if way == "remove":
        del holder[key]
        return Damaged(f"{where} removed", record)
    if way == "extra":
        record["further"] = [torch.zeros(1).expand(2**28)] * 8
        return Damaged("further: 8 GB out of a number", record)
    if way == "nest":
        nest: list = []
        for _ in range(40):
            nest = [nest, nest]
        value, words = nest, "2^40 lists"
    elif way == "change":
        words = draw(st.sampled_from(sorted(CHANGED_TENSORS)))
        value = CHANGED_TENSORS[words](present)
    elif way == "tensor":
        words = draw(st.sampled_from(sorted(TENSORS)))
        value = TENSORS[words]()
    elif way == "near":
        value = draw(st.sampled_from([present + 1, present - 1, -present, present * 2, present * 1000]))
        words = repr(value)
    else:
        value = draw(st.sampled_from(NUMBERS if way == "number" else OTHERS))
        words = repr(value)[:30]
    holder[key] = value
    return Damaged(f"{where}: {words}", record)
