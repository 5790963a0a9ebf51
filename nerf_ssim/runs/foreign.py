"""Reading what other programs wrote with `torch.save`, without giving their pickles any say.

A pickle names the functions that rebuild its objects. Here a closed list of names is answered by functions of this
file, which build tensors, numpy arrays and plain values from bytes and check every size first. Any other name is an
error.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from nerf_ssim.errors import CheckpointError

__all__ = ["read_foreign"]

LARGEST_PICKLE = 1 << 26  # bytes; weights are beside it
MOST_VALUES = 1_000_000
DEEPEST = 50
MOST_AXES = 16
LARGEST_SIDE = 1 << 48

_DTYPES: Mapping[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_NUMPY_CODES = "b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split()


def read_foreign(path: Path) -> Any:
    """What `torch.save` (of PyTorch 1.6 or later) wrote to `path`: tensors on the CPU, numpy arrays, plain values.

    Tensors may share memory, and arrays cannot be written to: copy what is kept.

    Raises:
        CheckpointError: no such file, no such archive, one that is damaged, or one that holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Archive(path, archive).read()
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path}: no archive of torch.save ({error}); files of PyTorch before 1.6 are saved anew by a later one"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


class _Archive:
    """A zip archive with a pickle and one file of bytes for each storage that it names."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive
        self._storages: dict[str, _Holder] = {}
        self._members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in self._members if name.endswith("data.pkl") and name.count("/") <= 1]
        if len(pickles) != 1:
            self._refuse("no archive of torch.save (it has no data.pkl)")
        self._pickle = pickles[0]
        self._root = self._pickle.removesuffix("data.pkl")

    def read(self) -> Any:
        """The object that was saved."""
        if self._bytes("byteorder", optional=True) not in (b"", b"little"):
            self._refuse("was written on a big-endian machine, which is not read")
        source = io.BytesIO(self._bytes("data.pkl", limit=LARGEST_PICKLE))
        try:
            return _plain(_Unpickler(source, self._storage).load())
        except CheckpointError as error:
            self._refuse(str(error))
        except Exception as error:  # a damaged pickle may raise anything
            self._refuse(f"its pickle is damaged ({type(error).__name__}: {error})")

    def _storage(self, identity: Any) -> _Holder:
        """The storage of a persistent id `("storage", kind, key, place, elements)`, flat and on the CPU."""
        tag, kind, key, _, count = identity
        if tag != "storage" or not isinstance(kind, _Storage) or not isinstance(key, str):
            raise CheckpointError("names a storage in a way that is not known")
        if key not in self._storages:
            data = self._bytes(f"data/{key}")
            size = kind.dtype.itemsize
            if len(data) % size or len(data) // size < count:
                raise CheckpointError(f"storage {key} has {len(data)} bytes where {count} elements are due")
            flat = torch.frombuffer(bytearray(data), dtype=kind.dtype) if data else torch.empty(0, dtype=kind.dtype)
            self._storages[key] = _Holder(flat)
        if self._storages[key].tensor.dtype != kind.dtype:
            raise CheckpointError(f"storage {key} has two kinds of elements")
        return self._storages[key]

    def _bytes(self, name: str, *, optional: bool = False, limit: int | None = None) -> bytes:
        info = self._members.get(self._root + name)
        if info is None:
            if optional:
                return b""
            self._refuse(f"its part {name} is missing: the file is damaged")
        # torch.save compresses nothing; so no part is larger than the file, and none unpacks to more than it.
        if info.compress_type != zipfile.ZIP_STORED or (limit is not None and info.file_size > limit):
            self._refuse(f"its part {name} is compressed or too large, as torch.save never makes it")
        try:
            return self._archive.read(info)
        except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
            self._refuse(f"its part {name} is damaged ({error})")

    def _refuse(self, why: str) -> NoReturn:
        raise CheckpointError(f"{self._path}: {why}")


class _Sealed:
    """Something that a pickle may hold and pass on, but not change: its BUILD instruction is an error."""

    def __setstate__(self, state: Any) -> None:
        raise CheckpointError("changes an object in a way that is not known")


class _Answer(_Sealed):
    """What a pickle gets for the name of a function."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self._build = build

    def __call__(self, *arguments: Any) -> Any:
        return self._build(*arguments)


class _Storage(_Sealed):
    """A kind of storage, by the type of its elements."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class _Holder(_Sealed):
    """A tensor on its way: a storage, or what is seen of one."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Dtype:
    """A numpy dtype on its way: made with a code, then told its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        if code not in _NUMPY_CODES:
            raise CheckpointError(f"holds numpy elements of type {str(code)[:20]!r}, which are not read")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", "|", "="):
            raise CheckpointError("holds numpy arrays of a big-endian machine, which are not read")


class _Array:
    """A numpy array on its way: made empty, then given its shape, element type and bytes, which it views."""

    def __init__(self, *_: Any) -> None:
        self.numpy = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise CheckpointError("holds a numpy array of objects, which is not read")
        flat = np.frombuffer(data, dtype.numpy)
        if not _is_shape(shape) or math.prod(shape) != flat.size:
            raise CheckpointError(f"holds a numpy array whose {flat.size} elements do not fill its shape")
        self.numpy = flat.reshape(shape, order="F" if is_fortran else "C")


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Holder:
    if not (isinstance(storage, _Holder) and _is_shape((offset,)) and _is_shape(shape) and _is_shape(strides)):
        raise CheckpointError("holds a tensor of unknown form")
    count = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if count > storage.tensor.numel() or (count and last >= storage.tensor.numel()):
        raise CheckpointError("holds a tensor that reaches beyond its storage")
    return _Holder(storage.tensor.as_strided(shape, strides, offset))


def _rebuild_parameter(tensor: Any, *_: Any) -> _Holder:
    if not isinstance(tensor, _Holder):
        raise CheckpointError("holds a parameter of unknown form")
    return tensor


def _array_class(*_: Any) -> NoReturn:
    raise CheckpointError("makes a numpy array in an unknown way")


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or len(data) != dtype.numpy.itemsize:
        raise CheckpointError("holds a numpy number of unknown form")
    return np.frombuffer(data, dtype.numpy)[0].item()


def _encode(text: Any, encoding: Any) -> bytes:
    """How pickles of protocol 2 write bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise CheckpointError("holds bytes in an unknown encoding")
    return text.encode("latin1")


def _device(*names: Any) -> str:
    return ":".join(map(str, names))


_NUMPY_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since numpy 2
_FUNCTIONS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): _device,
    ("numpy", "ndarray"): _array_class,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{(core, "_reconstruct"): _Array for core in _NUMPY_CORES},
    **{(core, "scalar"): _scalar for core in _NUMPY_CORES},
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows the names of `_FUNCTIONS` and `_DTYPES` only."""

    def __init__(self, source: io.BytesIO, storage: Callable[[Any], _Holder]) -> None:
        super().__init__(source)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """This file's answer to a name; raises `CheckpointError` for any other."""
        if (module, name) in _FUNCTIONS:
            return _Answer(_FUNCTIONS[module, name])
        if module == "torch" and name in _DTYPES:
            return _Storage(_DTYPES[name])
        raise CheckpointError(
            f"asks for {module[:40]}.{name[:40]}; only tensors, numpy arrays and plain values are read here"
        )

    def persistent_load(self, identity: Any) -> _Holder:
        """The storage of that identity."""
        return self._storage(identity)


def _is_shape(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= MOST_AXES
        and all(type(value) is int and 0 <= value < LARGEST_SIDE for value in values)
    )


def _plain(loaded: Any) -> Any:
    """What was unpickled, with tensors and arrays in place of what stood for them, and plain dicts; no more passes."""
    left = MOST_VALUES

    def copied(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise CheckpointError("holds more values, or deeper ones, than a checkpoint has")
        if isinstance(value, _Array):
            return value.numpy
        if isinstance(value, _Holder):
            return value.tensor
        if value is None or type(value) in (bool, int, float, str, bytes):
            return value
        if isinstance(value, dict):
            if not all(type(key) in (str, int) for key in value):
                raise CheckpointError("holds a dict whose keys are neither text nor whole numbers")
            return {key: copied(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple, set):
            items = [copied(item, depth + 1) for item in value]
            return items if type(value) is list else tuple(items)
        raise CheckpointError(f"holds a {type(value).__name__} among its values")

    return copied(loaded, 0)
