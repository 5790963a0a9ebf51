"""Fetching LPIPS's backbones the way torchvision does, but never waiting on a network that is not there."""

from __future__ import annotations

import functools
import hashlib
import http.client
import os
import queue
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from tqdm import tqdm

CONNECT_SECONDS = 5.0
STALL_SECONDS = 15.0
CHUNK = 1 << 20
MODELS = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights"}


def backbone_url(net: str) -> tuple[str | None, str]:
    """Torchvision's address of the ImageNet weights, or None and the reason."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
        return None, f"torchvision cannot be imported ({str(error).splitlines()[0]})"
    return getattr(models, MODELS[net]).IMAGENET1K_V1.url, ""


@functools.cache
def download_backbone(net: str) -> tuple[Path | None, str]:
    """Fetch a backbone into torch's hub cache, at most one try a process: a machine offline is told once.

    Returns:
        `(file, "")`, or `(None, reason)`. The address must answer within 5 s (looking its name up included) and the
        transfer may not stall for 15 s; the file is checked against the hash in its name before it is kept.
    """
    url, reason = backbone_url(net)
    if url is None:
        return None, reason
    try:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        return _fetch(url, folder), ""
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None) or error
        return None, f"download from {urlsplit(url).netloc} failed ({cause})"


def _fetch(url: str, folder: Path) -> Path:
    name = Path(urlsplit(url).path).name
    expected = Path(name).stem.rpartition("-")[2]
    response = _open(url)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    digest = hashlib.sha256()
    try:
        total = int(response.headers.get("Content-Length") or 0) or None
        with (
            response,
            os.fdopen(descriptor, "wb") as handle,
            tqdm(total=total, unit="B", unit_scale=True, desc=f"LPIPS backbone {name}", leave=False) as bar,
        ):
            while chunk := response.read(CHUNK):
                handle.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
        if not digest.hexdigest().startswith(expected):
            raise OSError(f"{name} arrived damaged: its hash is not {expected}…")
        os.replace(temporary, folder / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return folder / name


def _open(url: str) -> Any:
    """The response, or TimeoutError: in a thread because a socket's timeout does not cover looking the name up."""
    answers: queue.Queue = queue.Queue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(url, timeout=STALL_SECONDS))
        except (OSError, ValueError, http.client.HTTPException) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=CONNECT_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS:.0f} s") from None
    if isinstance(answer, OSError):
        raise answer
    if isinstance(answer, Exception):
        raise OSError(str(answer)) from answer
    return answer
