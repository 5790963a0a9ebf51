"""Checkpoints as two files that any program reads: tensors as safetensors, everything else as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.errors import CheckpointError, MissingDependency
from nerf_ssim.files import atomic_file, read_bytes

__all__ = ["read_portable", "write_portable"]

FORMAT = "nerf_ssim portable checkpoint"
VERSION = 1
DEEPEST = 100


def write_portable(path: Path, payload: Mapping[str, Any]) -> Path:
    """Writes `path` (safetensors) and beside it the same name with `.json`; returns the latter.

    The JSON file has the payload with `{"tensor": NAME}` for each tensor of the other file. Tuples, dicts whose keys
    are not text, and numbers that JSON lacks are marked too, so that `read_portable` gives back an equal payload.

    Args:
        payload: nested dicts, lists and tuples of tensors, None, bool, int, float and str.
    Raises:
        MissingDependency: the package safetensors is not installed.
        OSError: a file cannot be written.
    """
    library, _ = _safetensors()
    tensors: dict[str, Tensor] = {}
    values = {key: _encoded(value, key, tensors) for key, value in payload.items()}
    record = {"format": FORMAT, "version": VERSION, "tensors": path.name, "checkpoint": values}
    data = library.save(tensors, {"format": FORMAT})
    with atomic_file(path) as file:
        file.write(data)
    beside = path.with_suffix(".json")
    with atomic_file(beside) as file:
        file.write((json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    return beside


def read_portable(path: Path) -> dict[str, Any]:
    """The payload that `write_portable` wrote; `path` is either of its two files.

    Raises:
        CheckpointError: a file that is missing, damaged or another program's.
        MissingDependency: the package safetensors is not installed.
    """
    library, damage = _safetensors()
    beside = path.with_suffix(".json")
    try:
        record = json.loads(read_bytes(beside))
        tensors = library.load(read_bytes(path.with_suffix(".safetensors")))
    except OSError as error:
        raise CheckpointError(
            f"{error.filename}: cannot be read ({error.strerror}); an exported checkpoint is two files side by side, "
            ".safetensors and .json"
        ) from error
    except (ValueError, RecursionError, damage) as error:
        raise CheckpointError(f"{path}: is no exported checkpoint, or damaged ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CheckpointError(f"{beside}: was not written by nerf-ssim export --safetensors")
    if record.get("version") != VERSION:
        raise CheckpointError(f"{beside}: has version {record.get('version')}, and version {VERSION} is read here")
    try:
        return {key: _decoded(value, tensors, 0) for key, value in record["checkpoint"].items()}
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{beside}: does not go with the tensors beside it, or is damaged ({error})") from error


def _encoded(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON's kinds; its tensors go to `tensors` under names that say where they are."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, (list, tuple)):
        items = [_encoded(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        pairs = [(key, _encoded(item, f"{name}.{key}", tensors)) for key, item in value.items()]
        is_plain = all(isinstance(key, str) for key, _ in pairs) and not (len(pairs) == 1 and pairs[0][0] in _MARKS)
        return dict(pairs) if is_plain else {"dict": [list(pair) for pair in pairs]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{name}: {type(value).__name__} is neither a tensor nor a plain value")


_MARKS = ("tensor", "float", "tuple", "dict")


def _decoded(value: Any, tensors: Mapping[str, Tensor], depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_decoded(item, tensors, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((mark, inner),) = value.items()
        if mark == "tensor":
            return tensors[inner]
        if mark == "float":
            return float(inner)
        if mark == "tuple":
            return tuple(_decoded(item, tensors, depth + 1) for item in inner)
        if mark == "dict":
            return {key: _decoded(item, tensors, depth + 1) for key, item in inner}
    return {key: _decoded(item, tensors, depth + 1) for key, item in value.items()}


def _safetensors() -> tuple[ModuleType, type[Exception]]:
    """The package's functions for PyTorch, and its error of a damaged file."""
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise MissingDependency("this needs safetensors: pip install 'nerf_ssim[export]'") from error
    return safetensors.torch, safetensors.SafetensorError
