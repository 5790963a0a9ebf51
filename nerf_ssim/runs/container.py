"""The file of a checkpoint: whole, no larger in memory than on the disk, and only tensors and plain values in it.

Everything is checked before PyTorch's own reader sees the file: it does not look at checksums, and trusts sizes.
"""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.errors import CheckpointError
from nerf_ssim.files import require_regular

__all__ = ["TornCheckpoint", "plain_copy", "read_record"]

_PLAIN = (type(None), bool, int, float, str)
_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_ALLOWED = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict"} | {
    f"torch {kind}Storage" for kind in _STORAGES
}
_DEEPEST = 64
_MALFORMED = (
    *(RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError),
    *(ArithmeticError, MemoryError),
)


class TornCheckpoint(CheckpointError):
    """A checkpoint file that is damaged: cut short, overwritten, or not a checkpoint at all."""


def read_record(path: Path, *, leaves_tensors: bool = False) -> Any:
    """What `torch.save` put into a file, on the CPU; checksums are verified, and only plain values are unpickled.

    Args:
        path: the file.
        leaves_tensors: for whoever wants the plain values alone: tensors stay on the disk, unread and unverified.
    Raises:
        TornCheckpoint: the file is cut short, damaged or something else altogether.
        CheckpointError: it cannot be read, holds more than tensors and plain values, or tensors larger than itself.
    """
    try:
        require_regular(path)
        size = path.stat().st_size
        script = _checked_script(path, size, verifies=not leaves_tensors)
        record = torch.load(path, map_location="cpu", weights_only=True, mmap=leaves_tensors)
        _check_tree(record, len(script), size)
        return record
    except CheckpointError:
        raise
    except _Refused as refusal:
        raise CheckpointError(f"{path}: {refusal}; it is no checkpoint of this project") from refusal
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: the file holds more than tensors and plain values, so it was not loaded; "
            "it is no checkpoint of this project"
        ) from error
    except (zipfile.BadZipFile, *_MALFORMED) as error:
        raise TornCheckpoint(f"{path}: the checkpoint is damaged or cut short") from error
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint can't be read ({error.strerror or error})") from error


def plain_copy(value: Any, where: str) -> Any:
    """`value` with tensors made compact and dicts made plain; TypeError at the first thing that isn't plain."""
    # Exact types: a subclass (numpy.float64, IntEnum, Parameter) would pickle as a reference to its class.
    if type(value) in _PLAIN:
        return value
    if type(value) in (Tensor, torch.nn.Parameter):
        tensor = value.detach().cpu()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        return tensor if whole else tensor.clone()
    if type(value) in (list, tuple):
        return type(value)(plain_copy(item, f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(value, dict):  # an OrderedDict too: what state_dict() gives; copied to a plain one
        copy = {}
        for key, item in value.items():
            if type(key) not in (str, int):
                raise TypeError(
                    f"{where or 'payload'}: key {key!r} is a {type(key).__name__}; only str and int are saved"
                )
            copy[key] = plain_copy(item, f"{where}.{key}" if where else str(key))
        return copy
    raise TypeError(
        f"{where or 'payload'}: {type(value).__name__} can't be in a checkpoint; "
        "only tensors, None, bool, int, float, str, list, tuple and dict"
    )


class _Refused(Exception):
    """A file that is whole and that this project does not write."""


def _checked_script(path: Path, size: int, verifies: bool) -> bytes:
    """The pickle in the archive, whose every entry is whole and stored as it is, and which names plain values alone."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise _Refused("its archive is compressed")
        if sum(entry.file_size for entry in entries) > size:
            raise _Refused("its archive claims to hold more than the file does")
        if verifies and archive.testzip() is not None:
            raise zipfile.BadZipFile
        scripts = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
        if len(scripts) != 1:
            raise _Refused("its archive has no record of its own")
        script = archive.read(scripts[0])
    for operation, argument, _ in pickletools.genops(script):
        names_another = operation.name == "GLOBAL" and argument not in _ALLOWED
        if names_another or operation.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"):
            raise _Refused("the file holds more than tensors and plain values, so it was not loaded")
    return script


def _check_tree(record: Any, script_bytes: int, file_bytes: int) -> None:
    """Refuses tensors that are larger than what the file holds of them, and values that are nested without end.

    A few bytes can name one list, or show one number as a tensor of gigabytes, again and again. A file of
    `save_checkpoint` never does: it takes at least a byte of its pickle for every value, and all bytes of every tensor.
    """
    values, tensor_bytes = 0, 0
    waiting: list[tuple[Any, str, int]] = [(record, "", 0)]
    while waiting:
        value, where, depth = waiting.pop()
        values += 1
        if values > script_bytes or depth > _DEEPEST:
            raise _Refused("its values are nested without end")
        if isinstance(value, dict):
            waiting += [(item, f"{where}.{key}" if where else str(key)[:80], depth + 1) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
        elif isinstance(value, Tensor):
            if value.layout != torch.strided or value.device.type != "cpu":
                raise _Refused(f"{where} is a tensor of another kind")
            own = value.numel() * value.element_size()
            tensor_bytes += own
            if own > value.untyped_storage().nbytes() or tensor_bytes > file_bytes:
                raise _Refused(f"{where} is a tensor of {own} bytes, more than the file holds of it")
