"""Archives that were cut or damaged, and addresses that are none: one error, nothing written, nothing deleted."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import forked
import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from nerf_ssim.datasets.archives import extract
from nerf_ssim.datasets.download import download_dataset, fetch
from nerf_ssim.errors import DownloadError

NAMES = [f"scene/{number:03d}.png" for number in range(6)]


def tar(names: list[str] = NAMES, size: int = 700) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, io.BytesIO(name.encode() * (size // len(name)) + b"z" * (size % len(name))))
    return stream.getvalue()


def zipped(names: list[str] = NAMES) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, name * 50)
    return stream.getvalue()


WHOLE = {
    "tar": tar(),
    "tgz": gzip.compress(tar(), mtime=0),
    "tbz": bz2.compress(tar()),
    "txz": lzma.compress(tar()),
    "zip": zipped(),
}
END_OF_ENTRIES = len(NAMES) * (512 + 1024)


def unpack(contents: bytes) -> dict[str, bytes]:
    """What comes of an archive, by name; DownloadError passes, and then nothing may have been left."""
    with tempfile.TemporaryDirectory() as name:
        archive, out = Path(name) / "archive", Path(name) / "out"
        archive.write_bytes(contents)
        try:
            extract(archive, out)
        except DownloadError as error:
            assert "\n" not in str(error)
            assert archive.read_bytes() == contents, "a bad archive is not deleted"
            assert not out.exists() or not list(out.iterdir())
            raise
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_archive_arrives(kind):
    assert sorted(unpack(WHOLE[kind])) == NAMES


@pytest.mark.parametrize("length", range(512, END_OF_ENTRIES + 1024, 512))
def test_a_tar_cut_at_any_block_is_refused(length):
    with pytest.raises(DownloadError):
        unpack(WHOLE["tar"][:length])


@pytest.mark.slow
@pytest.mark.parametrize("kind", WHOLE)
@examples(60)
@given(share=st.floats(0.0, 0.98))
def test_an_archive_cut_anywhere_is_refused(kind, share):
    whole = WHOLE[kind]
    # A tar's padding behind its end mark holds nothing.
    length = END_OF_ENTRIES + 1024 if kind == "tar" else len(whole)
    with pytest.raises(DownloadError):
        unpack(whole[: int(share * length)])


@pytest.mark.slow
@examples(120)
@given(entry=st.integers(0, len(NAMES) - 1), place=st.integers(0, 511), change=st.integers(1, 255))
def test_a_tar_with_any_damaged_header_is_refused(entry, place, change):
    damaged = bytearray(WHOLE["tar"])
    damaged[entry * 1536 + place] ^= change
    with pytest.raises(DownloadError):
        unpack(bytes(damaged))


@pytest.mark.slow
@pytest.mark.parametrize("kind", WHOLE)
@examples(60)
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_archive_is_refused_or_whole(kind, changes):
    damaged = bytearray(WHOLE[kind])
    for share, value in changes:
        damaged[int(share * (len(damaged) - 1))] = value
    try:
        found = unpack(bytes(damaged))
    except DownloadError:
        return
    assert len(found) == len(NAMES), "entries are missing without a word"


@pytest.mark.slow
@examples(60)
@given(st.binary(max_size=2048))
def test_bytes_that_are_no_archive_are_refused(contents):
    with pytest.raises(DownloadError):
        unpack(contents)


def test_endless_zeros_are_refused_before_they_are_read():
    info = tarfile.TarInfo("zeros")
    info.size = 1 << 50
    with pytest.raises(DownloadError, match="GB are free"):
        unpack(gzip.compress(info.tobuf() + bytes(4096), mtime=0))


def test_a_pipe_in_the_archives_place_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "replica.archive")
    ended = forked.run(["data", "download", "replica", "--out", tmp_path, "--quiet"], seconds=20)
    assert ended.problem() is None and "named pipe" in ended.line


@pytest.fixture
def site(tmp_path) -> Iterator[dict]:
    answer: dict = {"contents": WHOLE["tar"], "location": None, "length": True}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if answer["location"]:
                self.send_response(302)
                self.send_header("Location", answer["location"])
                self.end_headers()
                return
            self.send_response(200)
            if answer["length"]:
                self.send_header("Content-Length", str(len(answer["contents"])))
            self.end_headers()
            self.wfile.write(answer["contents"])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    answer["url"] = f"http://127.0.0.1:{server.server_port}/x.tar"
    yield answer
    server.shutdown()
    server.server_close()


def test_without_an_announced_length_the_archive_must_be_whole(site, tmp_path):
    site["length"] = False
    site["contents"] = WHOLE["tar"][:3072]
    with pytest.raises(DownloadError, match="announced no length"):
        fetch(site["url"], tmp_path / "a", progress=False)
    assert not (tmp_path / "a").exists() and (tmp_path / "a.part").exists()
    site["contents"] = WHOLE["tar"]
    assert fetch(site["url"], tmp_path / "a", progress=False).read_bytes() == WHOLE["tar"]


def test_a_checksum_decides(site, tmp_path):
    right = hashlib.sha256(WHOLE["tar"]).hexdigest()
    with pytest.raises(DownloadError, match="its SHA-256 is"):
        download_dataset("replica", tmp_path, url=site["url"], sha256="0" * 64, progress=False)
    assert (tmp_path / "replica.archive").exists(), "a bad archive is not deleted silently"
    assert download_dataset("replica", tmp_path, url=site["url"], sha256=right.upper(), progress=False)


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x.tar", "file:///etc/passwd", "gopher://x/"])
def test_redirects_lead_to_http_only(site, tmp_path, location):
    site["location"] = location
    with pytest.raises(DownloadError):
        fetch(site["url"], tmp_path / "a", progress=False)
    assert not (tmp_path / "a").exists()


ADDRESSES = ["http://[", "http://☃.example/x", f"http://{'a' * 300}.com/", "http://127.0.0.1/ü", "http://h:port/x", ""]


@pytest.mark.parametrize("address", [*ADDRESSES, "http://\n/x", "//x", "C:\\x", "http:///x"])
def test_an_address_that_is_none_is_one_line(tmp_path, address):
    with pytest.raises(DownloadError) as caught:
        fetch(address, tmp_path / "a", progress=False)
    assert "\n" not in str(caught.value)
