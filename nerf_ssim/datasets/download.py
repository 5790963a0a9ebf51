"""Fetch the public archives of data sets: with progress, and from where an earlier attempt stopped."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from nerf_ssim.datasets.archives import check_whole, extract
from nerf_ssim.errors import DownloadError, explain_os_error
from nerf_ssim.files import file_errors, open_regular

ARCHIVES: Mapping[str, str] = {
    # As MonoSDF's scripts/download_dataset.sh and S3IM's README name it. Replica is for non-commercial research.
    "replica": "https://s3.eu-central-1.amazonaws.com/avg-projects/monosdf/data/Replica.tar",
}
_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte


def download_dataset(
    name: str, folder: Path, *, url: str | None = None, sha256: str | None = None, progress: bool = True
) -> list[Path]:
    """Fetch a public archive, unpack it in `folder` and delete the archive.

    Args:
        name: a key of `ARCHIVES`.
        folder: where its contents go; the unfinished download is kept here too and continued by the next call.
        url: another copy of the archive.
        sha256: the archive's checksum in hexadecimal, if known.
        progress: show bars.
    Returns:
        What was unpacked, at the top level.
    Raises:
        DownloadError: no connection, an interrupted download, a damaged or unsafe archive, a full disk.
    """
    url = url or ARCHIVES[name]
    archive = fetch(url, folder / f"{name}.archive", progress=progress)
    if sha256 is not None:
        check_sum(archive, sha256)
    unpacked = extract(archive, folder, progress=progress)
    with file_errors(archive, "removed, though its contents are in place", kind=DownloadError):
        archive.unlink()
    return unpacked


def check_sum(archive: Path, sha256: str) -> None:
    """Raises `DownloadError` where the file's SHA-256 is another; the file stays."""
    with file_errors(archive, "read", kind=DownloadError), open_regular(archive) as file:
        digest = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    if found != sha256.strip().lower():
        raise DownloadError(f"{archive}: its SHA-256 is {found}, expected {sha256}; delete it and download again")


def fetch(url: str, path: Path, *, progress: bool = True) -> Path:
    """Download `url` to `path`, unless it is there; continue from `path.part` if the server's file is still the same.

    Raises:
        DownloadError: no connection, a refusal, a file that is not as long as announced, a full disk.
    """
    if path.exists():
        return path
    part, mark = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.version")
    try:
        _refuse_other_schemes(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch_part(url, part, mark, progress)
        part.rename(path)
        mark.unlink(missing_ok=True)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url}: the server answered {error.code} {error.reason}; try again later") from None
    except urllib.error.URLError as error:
        raise DownloadError(
            f"{url}: cannot be reached ({error.reason}); with no network, fetch it elsewhere and unpack it"
        ) from None
    except (ValueError, http.client.InvalidURL) as error:  # UnicodeError of a host's or a path's letters is one
        reason = " ".join(str(error).split())
        raise DownloadError(f"{url[:200]}: not an address that can be fetched ({reason}); write it in ASCII") from None
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise DownloadError(f"{url}: the connection broke ({error!r}); run the command again to continue") from None
    except OSError as error:
        raise DownloadError(explain_os_error(error, path=part, doing="written", then="run the command again")) from None
    return path


def _fetch_part(url: str, part: Path, mark: Path, progress: bool) -> None:
    """Bring `part` to its full length. `mark` holds the server's version of the file that `part` is the start of."""
    version = mark.read_text(encoding="utf-8") if mark.exists() else ""
    have = part.stat().st_size if part.exists() and version else 0
    request = urllib.request.Request(url, headers={"User-Agent": "nerf-ssim", "Accept-Encoding": "identity"})
    if have:
        # If the file changed meanwhile, If-Range makes the server send all of it.
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version)
    try:
        response = urllib.request.build_opener(_HttpRedirects).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if have and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return  # the earlier attempt ended between the last byte and the renaming
            part.unlink()
            mark.unlink()
            _fetch_part(url, part, mark, progress)
            return
        raise
    with response:
        if not (have and response.status == http.client.PARTIAL_CONTENT and _range_start(response) == have):
            if response.status != http.client.OK:
                raise DownloadError(f"{url}: the server answered {response.status} to a plain request")
            have = 0
            mark.write_text(_version(response), encoding="utf-8")
        announced = response.headers.get("Content-Length", "")
        total = have + int(announced) if announced.isdecimal() else None
        if total is not None and total - have > (free := shutil.disk_usage(part.parent).free):
            raise DownloadError(f"{part.parent}: {total / 1e9:.1f} GB to fetch, {free / 1e9:.1f} GB are free")
        have = _copy(response, part, have, total, progress)
    if total is not None and have != total:
        raise DownloadError(f"{url}: ended after {have} of {total} bytes; run the command again to continue")
    if total is None:
        _refuse_unfinished(url, part, have)


def _refuse_unfinished(url: str, part: Path, have: int) -> None:
    """A connection that ends says nothing of the file where no length was announced: the archive itself must."""
    try:
        check_whole(part)
    except DownloadError:
        raise DownloadError(
            f"{url}: ended after {have} bytes of an archive that is not whole (the server announced no length); run "
            f"the command again to continue, or delete {part}"
        ) from None


def _refuse_other_schemes(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url[:200]}: only http and https addresses can be fetched")


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only; the standard handler would go on to ftp."""

    def redirect_request(self, request: Any, response: Any, code: int, reason: str, headers: Any, url: str) -> Any:
        """The request of the new address; raises DownloadError where it is of another kind."""
        _refuse_other_schemes(url)
        return super().redirect_request(request, response, code, reason, headers, url)


def _copy(response: Any, part: Path, have: int, total: int | None, progress: bool) -> int:
    name = part.name.removesuffix(".part")
    bar = tqdm(desc=name, total=total, initial=have, unit="B", unit_scale=True, disable=not progress)
    with part.open("r+b" if have else "wb") as target, bar:
        target.seek(have)
        # read1 gives what has come: a break in the connection then costs none of it.
        while chunk := response.read1(_CHUNK):
            target.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))
    return have


def _range_start(response: Any) -> int | None:
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else None


def _version(response: Any) -> str:
    """What tells this version of the file from another, for If-Range; weak tags do not promise the same bytes."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
