"""Downloads from a server on this machine: whole, continued, refused; archives that try to leave the folder."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nerf_ssim.datasets import archives
from nerf_ssim.datasets.archives import extract
from nerf_ssim.datasets.download import download_dataset, fetch
from nerf_ssim.errors import DownloadError

CONTENTS = bytes(range(256)) * 2000


@dataclass
class Site:
    """One file on a local server; `break_after` ends each answer after so many bytes."""

    contents: bytes = CONTENTS
    tag: str = '"one"'
    break_after: int | None = None
    has_ranges: bool = True
    requests: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.requests.append(wanted)
            if self.path == "/missing":
                self.send_error(404)
                return
            start = 0
            if wanted and site.has_ranges and self.headers.get("If-Range") == site.tag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start and start >= len(site.contents):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(site.contents)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(site.contents) - 1}/{len(site.contents)}")
            self.send_header("Content-Length", str(len(site.contents) - start))
            if site.tag:
                self.send_header("ETag", site.tag)
            self.end_headers()
            end = len(site.contents) if site.break_after is None else start + site.break_after
            self.wfile.write(site.contents[start:end])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}/file.tar"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def quiet_fetch(site: Site, path: Path) -> Path:
    return fetch(site.url, path, progress=False)


def test_download_is_whole_and_leaves_nothing_else(site: Site, tmp_path: Path) -> None:
    assert quiet_fetch(site, tmp_path / "file").read_bytes() == CONTENTS
    assert os.listdir(tmp_path) == ["file"]


def test_interrupted_download_continues_where_it_stopped(site: Site, tmp_path: Path) -> None:
    site.break_after = 200_000
    for expected in (200_000, 400_000):
        with pytest.raises(DownloadError, match=f"ended after {expected} of 512000"):
            quiet_fetch(site, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert quiet_fetch(site, tmp_path / "file").read_bytes() == CONTENTS
    assert site.requests == [None, "bytes=200000-", "bytes=400000-"]
    assert os.listdir(tmp_path) == ["file"]


def test_a_changed_file_starts_over(site: Site, tmp_path: Path) -> None:
    site.break_after = 200_000
    with pytest.raises(DownloadError):
        quiet_fetch(site, tmp_path / "file")
    site.contents, site.tag, site.break_after = CONTENTS[::-1], '"two"', None
    assert quiet_fetch(site, tmp_path / "file").read_bytes() == CONTENTS[::-1]


@pytest.mark.parametrize("change", [{"has_ranges": False}, {"tag": ""}])
def test_a_server_without_resumption_starts_over(site: Site, tmp_path: Path, change: dict[str, object]) -> None:
    for name, value in change.items():
        setattr(site, name, value)
    site.break_after = 200_000
    with pytest.raises(DownloadError):
        quiet_fetch(site, tmp_path / "file")
    site.break_after = None
    assert quiet_fetch(site, tmp_path / "file").read_bytes() == CONTENTS


def test_a_part_that_was_complete_already_is_taken(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENTS)
    (tmp_path / "file.part.version").write_text(site.tag)
    assert quiet_fetch(site, tmp_path / "file").read_bytes() == CONTENTS


def test_a_part_longer_than_the_file_starts_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENTS + b"more")
    (tmp_path / "file.part.version").write_text(site.tag)
    assert quiet_fetch(site, tmp_path / "file").read_bytes() == CONTENTS


def test_no_server_missing_file_and_other_schemes_say_so_in_one_line(site: Site, tmp_path: Path) -> None:
    cases = {
        "http://127.0.0.1:9/file": "cannot be reached",
        site.url.replace("file.tar", "missing"): "404",
        "file:///etc/hostname": "only http and https",
        "nonsense": "only http and https",
    }
    for url, expected in cases.items():
        with pytest.raises(DownloadError, match=expected) as caught:
            fetch(url, tmp_path / "file", progress=False)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "file").exists()


def tar(*members: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return stream.getvalue()


def member(name: str, size: int = 3, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size if kind == tarfile.REGTYPE else 0, kind, target
    return info


def zipped(*entries: tuple[str, int]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, b"xxx")
    return stream.getvalue()


FILE = stat.S_IFREG | 0o644
BAD_ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "tar upwards": (lambda: tar(member("a/b"), member("../evil")), "leave the folder"),
    "tar upwards from within": (lambda: tar(member("a/../../evil")), "leave the folder"),
    "tar absolute": (lambda: tar(member("/tmp/evil")), "leave the folder"),
    "tar symbolic link": (lambda: tar(member("a", kind=tarfile.SYMTYPE, target="..")), "is a link"),
    "tar link then a file through it": (
        lambda: tar(member("a", kind=tarfile.SYMTYPE, target=".."), member("a/evil")),
        "is a link",
    ),
    "tar hard link": (lambda: tar(member("a", kind=tarfile.LNKTYPE, target="/etc/hostname")), "is a link"),
    "tar device": (lambda: tar(member("a", kind=tarfile.CHRTYPE)), "special file"),
    "tar pipe": (lambda: tar(member("a", kind=tarfile.FIFOTYPE)), "special file"),
    "tar torn": (lambda: tar(member("a", 20000))[:6000], "damaged"),
    "tar empty": (lambda: tar(), "empty"),
    "zip upwards": (lambda: zipped(("a/b", FILE), ("../evil", FILE)), "leave the folder"),
    "zip absolute": (lambda: zipped(("/tmp/evil", FILE)), "leave the folder"),
    "zip backslashes": (lambda: zipped(("..\\evil", FILE)), "leave the folder"),
    "zip drive": (lambda: zipped(("c:evil", FILE)), "leave the folder"),
    "zip symbolic link": (lambda: zipped(("a", stat.S_IFLNK | 0o777)), "symbolic link"),
    "zip pipe": (lambda: zipped(("a", stat.S_IFIFO | 0o644)), "special file"),
    "zip with a name twice": (lambda: zipped(("a/b", FILE), ("a//b", FILE)), "cannot be unpacked"),
    "zip a file that is a folder too": (lambda: zipped(("a", FILE), ("a/b", FILE)), "cannot be unpacked"),
    "zip torn": (lambda: zipped(("a", FILE))[:-40], "neither a zip nor a tar"),
    "text": (lambda: b"<html>not found</html>", "neither a zip nor a tar"),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_a_bad_archive_writes_nothing_anywhere(tmp_path: Path, kind: str) -> None:
    make, expected = BAD_ARCHIVES[kind]
    folder = tmp_path / "inner" / "out"
    folder.mkdir(parents=True)
    archive = tmp_path / "archive"
    archive.write_bytes(make())
    with pytest.raises(DownloadError, match=expected) as caught:
        extract(archive, folder)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive", "inner", "out"]
    assert not Path("/tmp/evil").exists()


def test_a_zip_with_a_wrong_checksum_is_damaged(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"contents")
    (tmp_path / "archive").write_bytes(stream.getvalue().replace(b"contents", b"confents"))
    with pytest.raises(DownloadError, match="damaged"):
        extract(tmp_path / "archive", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").write_bytes(tar(member("a", 1000)))

    class Usage:
        free = 999

    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(DownloadError, match="GB are free"):
        extract(tmp_path / "archive", tmp_path / "out")


def test_what_is_there_already_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(tar(member("a/b")))
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "b").write_text("mine")
    with pytest.raises(DownloadError, match="already there"):
        extract(tmp_path / "archive", tmp_path / "out")
    assert (tmp_path / "out" / "a" / "b").read_text() == "mine"


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_data_set_arrives_unpacked_and_its_archive_goes(site: Site, tmp_path: Path, make: Callable) -> None:
    names = ("Replica/scan1/cameras.npz", "./Replica/scan2/cameras.npz")
    site.contents = tar(*map(member, names)) if make is tar else zipped(*((name, FILE) for name in names))
    unpacked = download_dataset("replica", tmp_path / "new" / "data", url=site.url, progress=False)
    assert unpacked == [tmp_path / "new" / "data" / "Replica"]
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == [f"new/data/Replica/scan{index}/cameras.npz" for index in (1, 2)]
    assert (unpacked[0] / "scan1" / "cameras.npz").read_bytes() == b"xxx"
