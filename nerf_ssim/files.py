"""Files read with care and written whole or not at all, plain values in them as JSON, and what the system refuses.

Every file that a user names is opened by `read_bytes` or `read_text`, and every name of one goes through `user_path`.
"""

from __future__ import annotations

import codecs
import csv
import errno
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nerf_ssim.errors import FileError, UserError, explain_os_error

TEMPORARY_SUFFIX = ".partial"
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def file_errors(
    path: str | os.PathLike[str], doing: str = "written", *, kind: type[UserError] = FileError, then: str = ""
) -> Iterator[None]:
    """Turn an `OSError` of the block into one line for people.

    Args:
        path: the file or folder in question, where the error itself names none.
        doing: what could not be done, such as `written`.
        kind: the error that is raised instead.
        then: what to do once that is mended, such as `continue with --resume`.
    Raises:
        UserError: of `kind`. A pipe whose reader has gone away is no matter of files, so BrokenPipeError passes.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise kind(explain_os_error(error, path=path, doing=doing, then=then)) from error


def user_path(name: str | os.PathLike[str]) -> Path:
    """The path that a person means by `name`: `~` and `~user` are looked up.

    A name with backslashes, as another system writes it, is read with slashes where only that exists.

    Raises:
        FileError: `~user` of a user that there is not.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        raise FileError(f"{os.fspath(name)}: there is no such user here; write the path out, or ./~NAME") from None
    if "\\" in str(path) and not os.path.lexists(path):
        with_slashes = Path(str(path).replace("\\", "/"))
        return with_slashes if os.path.lexists(with_slashes) else path
    return path


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading, if it is one: a pipe without a writer would block for ever, a device never ends.

    Raises:
        OSError: no such file, no permission, or something other than a file, which `strerror` names.
    """
    # Without O_NONBLOCK the opening itself would wait for a pipe's writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            what = next((name for is_kind, name in _KINDS if is_kind(mode)), "something special")
            raise OSError(errno.EINVAL, f"is {what}, not a file", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raises the `OSError` of `open_regular`, for files that a library opens by name."""
    open_regular(path).close()


def read_bytes(path: str | os.PathLike[str], *, at_most: int | None = None) -> bytes:
    """The contents of a file.

    Args:
        path: the file.
        at_most: bytes; a longer file is refused before it is read.
    Raises:
        OSError: as `open_regular`, or too long.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if at_most is not None and size > at_most:
            raise OSError(errno.EFBIG, f"is {size} bytes long, more than the {at_most} that are read", os.fspath(path))
        return file.read()


def read_text(path: str | os.PathLike[str], *, at_most: int | None = None) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte order mark; the mark is dropped, line ends become `\\n`.

    Args:
        path, at_most: as `read_bytes`.
    Raises:
        OSError: as `read_bytes`.
        ValueError: not such text; the message says so and names no file.
    """
    return decode_text(read_bytes(path, at_most=at_most))


def csv_cells(line: str) -> list[str]:
    """The cells of one line; none where it is no line of a CSV file."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def decode_text(encoded: bytes) -> str:
    """As `read_text`, from the bytes of a file."""
    mark, encoding = next((pair for pair in _BYTE_ORDER_MARKS if encoded.startswith(pair[0])), (b"", "utf-8"))
    try:
        text = encoded[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"not text in UTF-8 or UTF-16 ({error.reason} at byte {error.start + len(mark)})") from None
    if "\0" in text:
        raise ValueError("not text: it holds null characters; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file that takes its name only when it is complete and on the disk.

    The bytes go to `.<name>.<pid>.partial` in the same folder (made if missing). When the block ends well they are
    flushed, fsynced and renamed over `path`, and the folder is fsynced, so that a power cut leaves either the old
    file or the new one. When it raises, the temporary file is removed and the old file is untouched.

    Args:
        path: the final name.
    Yields:
        A binary file open for writing.
    Raises:
        OSError: the disk is full, the folder can't be written, ...
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: str | os.PathLike[str], name: str = "*") -> list[Path]:
    """Remove the temporary files that killed writers of `name` (a glob pattern) left in `folder`; returns them.

    Call it only from the one process that writes there: another writer's file in progress looks the same.
    """
    leftovers = sorted(Path(folder).glob(f".{name}.*{TEMPORARY_SUFFIX}"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return leftovers


def sync_folder(folder: Path) -> None:
    """Make renames and removals in `folder` durable; does nothing where folders can't be opened (Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems refuse to sync a folder; the rename itself has already happened.
        pass
    finally:
        os.close(descriptor)


def write_json(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Write a record of plain values as indented JSON, whole or not at all.

    Raises:
        TypeError: a value that JSON cannot hold; the message names where.
        OSError: the file cannot be written.
    """
    text = json.dumps(plain_value(record), indent=2, allow_nan=False) + "\n"
    with atomic_file(path) as file:
        file.write(text.encode())


def plain_value(value: Any, where: str = "") -> Any:
    """`value` in JSON's own kinds: lists for tuples, text for paths, and null for a number that is not finite.

    Args:
        where: how a message names the value.
    Raises:
        TypeError: a value of another kind.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return [plain_value(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): plain_value(item, f"{where}.{key}" if where else str(key)) for key, item in value.items()}
    raise TypeError(f"{where or 'value'}: {type(value).__name__} is not a plain value")
