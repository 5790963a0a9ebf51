"""Unpack a zip or tar archive without letting it write anywhere but into one folder."""

from __future__ import annotations

import lzma
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

from nerf_ssim.errors import DownloadError, explain_os_error
from nerf_ssim.files import open_regular

_CHUNK = 1 << 20
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, RuntimeError, ValueError),
)


@dataclass(frozen=True)
class _Entry:
    """A file or folder in an archive; `kind` is what it is, where it is neither."""

    name: str
    size: int
    is_folder: bool
    kind: str | None
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def check_whole(archive: Path) -> None:
    """Read an archive's table, or all headers of a tar and its end mark.

    Raises:
        DownloadError: not an archive, or a damaged or cut one.
    """
    try:
        with _opened(archive, archive.parent):
            pass
    except _DAMAGE as error:
        raise DownloadError(f"{archive}: damaged ({error}); delete it and download again") from None
    except OSError as error:
        raise DownloadError(explain_os_error(error, path=archive, doing="read")) from None


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
        with _opened(archive, folder) as entries:
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
        raise DownloadError(f"{archive}: cannot be unpacked: {explain_os_error(error, path=folder)}") from None
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
def _opened(archive: Path, folder: Path) -> Iterator[list[_Entry]]:
    """The archive's entries; those of a tar no more than `folder` has room for."""
    with open_regular(archive):  # a pipe in its place would be waited for
        pass
    # Tar comes first: one whose last file is a zip would be taken for that.
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened:
            yield [_tar_entry(opened, info) for info in _whole_tar(opened, archive, folder)]
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield [_zip_entry(zipped, info) for info in zipped.infolist()]
    else:
        raise DownloadError(f"{archive}: neither a zip nor a tar archive; delete it and download again")


def _whole_tar(opened: tarfile.TarFile, archive: Path, folder: Path) -> list[tarfile.TarInfo]:
    """The entries of a tar archive that has its end mark.

    The tarfile module takes a damaged header, and the end of a file that was cut, for the end of the archive.

    Raises:
        DownloadError: a header whose checksum is wrong, no end mark, or more than the disk has room for.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free, size, entries = shutil.disk_usage(there).free, 0, []
    for info in opened:
        size += info.size
        if size > free:  # said before a compressed archive of endless zeros is read through
            raise DownloadError(f"{archive}: unpacks to {size / 1e9:.1f} GB and more, {free / 1e9:.1f} GB are free")
        entries.append(info)
    stream = opened.fileobj
    assert stream is not None
    stream.seek(opened.offset)
    mark = stream.read(2 * tarfile.BLOCKSIZE)
    if mark.strip(b"\0"):
        where = f"the header at byte {opened.offset} is wrong, after {len(entries)} entries"
        raise DownloadError(f"{archive}: damaged, {where}; delete it and download again")
    if len(mark) < 2 * tarfile.BLOCKSIZE:
        raise DownloadError(f"{archive}: ends early, after {len(entries)} entries; delete it and download again")
    while stream.read(_CHUNK):  # a compressed archive's own checksum is at its end
        pass
    return entries


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
