"""Unpack a zip or tar archive without letting it write anywhere but into one folder."""

from __future__ import annotations

import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from nerf_ssim.errors import DownloadError

_CHUNK = 1 << 20
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class _Entry:
    """A file or folder in an archive; `kind` is what it is, where it is neither."""

    name: str
    size: int
    is_folder: bool
    kind: str | None
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def extract(archive: Path, folder: Path, *, progress: bool = False) -> list[Path]:
    """Unpack `archive` (zip, tar, compressed tar) into `folder`, all of it or nothing.

    Every entry is judged before the first byte is written; the files then land in a fresh folder inside `folder`, and
    only a complete set is moved into place.

    Returns:
        The files and folders now in `folder` that came from the archive's top level.
    Raises:
        DownloadError: not an archive, a damaged one, an entry that would leave the folder (an absolute path, `..`) or
            is neither file nor folder (links, devices), too little room on the disk, or something already in place.
    """
    try:
        with _opened(archive) as entries:
            places = [_place(entry, archive) for entry in entries]
            files = [(entry, place) for entry, place in zip(entries, places, strict=True) if not entry.is_folder]
            top = sorted({place.parts[0] for place in places if place.parts})
            _check_free(archive, folder, top, sum(entry.size for entry in entries))
            with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as name:
                staging = Path(name)
                for entry, place in zip(entries, places, strict=True):
                    if entry.is_folder:
                        (staging / place).mkdir(parents=True, exist_ok=True)
                for entry, place in tqdm(files, desc=f"unpacking {archive.name}", unit="file", disable=not progress):
                    _write(entry, staging / place, archive)
                for name in top:
                    (staging / name).rename(folder / name)
    except _DAMAGE as error:
        raise DownloadError(f"{archive}: damaged ({error}); delete it and download again") from None
    except OSError as error:
        raise DownloadError(f"{archive}: cannot be unpacked into {folder} ({error.strerror or error})") from None
    return [folder / name for name in top]


def _check_free(archive: Path, folder: Path, top: list[str], size: int) -> None:
    if not top:
        raise DownloadError(f"{archive}: the archive is empty")
    for name in top:
        if (folder / name).exists() or (folder / name).is_symlink():
            raise DownloadError(f"{folder / name}: already there; remove it or choose another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DownloadError(f"{folder}: {archive.name} unpacks to {size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def _place(entry: _Entry, archive: Path) -> PurePosixPath:
    """Where the entry goes, relative to the folder; raises DownloadError where that is outside or it is a link."""
    if entry.kind is not None:
        raise DownloadError(f"{archive}: refused, {entry.name!r} is {entry.kind}; only files and folders are unpacked")
    place = PurePosixPath(entry.name)
    # Backslashes and drive letters are separators to another system's tools: no data set needs them.
    if place.is_absolute() or ".." in place.parts or "\\" in entry.name or ":" in entry.name or "\0" in entry.name:
        raise DownloadError(f"{archive}: refused, {entry.name!r} would leave the folder")
    if not place.parts and not entry.is_folder:
        raise DownloadError(f"{archive}: refused, it holds a file without a name")
    return place


def _write(entry: _Entry, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    left = entry.size
    with entry.open() as source, path.open("xb") as target:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise DownloadError(f"{archive}: refused, {entry.name!r} is larger than the archive says")
            target.write(chunk)
    if left:
        raise DownloadError(f"{archive}: damaged, {entry.name!r} ends early; delete it and download again")


@contextmanager
def _opened(archive: Path) -> Iterator[list[_Entry]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield [_zip_entry(opened, info) for info in opened.infolist()]
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            yield [_tar_entry(opened, info) for info in opened.getmembers()]
    else:
        raise DownloadError(f"{archive}: neither a zip nor a tar archive; delete it and download again")


def _zip_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    kind = None
    unix_type = stat.S_IFMT(info.external_attr >> 16)
    if info.flag_bits & 1:
        kind = "encrypted"
    elif unix_type == stat.S_IFLNK:
        kind = "a symbolic link"
    elif unix_type not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "a device or other special file"
    return _Entry(info.filename, info.file_size, info.is_dir(), kind, lambda: archive.open(info))


def _tar_entry(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Entry:
    kind = None
    if info.issym() or info.islnk():
        kind = "a link"
    elif not (info.isreg() or info.isdir()):
        kind = "a device or other special file"

    def opened() -> AbstractContextManager[IO[bytes]]:
        source = archive.extractfile(info)
        assert source is not None  # a regular file always has contents
        return source

    return _Entry(info.name, info.size, info.isdir(), kind, opened)
