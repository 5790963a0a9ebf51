"""The run's manifest: everything needed to say how its numbers came about."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import nerf_ssim
from nerf_ssim.errors import TrainingError
from nerf_ssim.files import read_bytes, write_json
from nerf_ssim.memory import physical_memory
from nerf_ssim.runs.device import cpu_model

NAME = "manifest.json"


def write_manifest(
    folder: str | os.PathLike,
    *,
    config: Mapping[str, Any],
    backend: Mapping[str, Any],
    precision: Mapping[str, Mapping[str, str]],
    scene: Mapping[str, Any],
    seed: int,
    device: torch.device | str,
    resume_iteration: int | None = None,
    changes: Mapping[str, tuple[Any, Any]] | None = None,
    processes: int = 1,
) -> Path:
    """Write `manifest.json` into the run's folder, atomically.

    Args:
        folder: the run's folder.
        config: the resolved configuration, plain values.
        backend: each op's implementation and the reason for it (`nerf_ssim.ops.backend.describe(device)`).
        precision: `decoder_precision` of the colour decoder or `network_precision` of a 2D fit's network, each with
            `asked`, `ran` and `reason`.
        scene: name, content hash, numbers of views, ... of the data.
        seed: the run's seed.
        device: where it trains.
        resume_iteration: updates done before this start; the first start's time is kept, and this one is added to
            the list `resumed` with its version, its git state and the processor of the updates before it. None for a
            fresh run.
        changes: options that this start changes, by name, as they were and are; in `resumed` too.
        processes: how many train together.
    Returns:
        The file's path.
    Raises:
        TypeError: a value that JSON can't hold; the message names where.
        TrainingError: the file can't be written, or the one to continue can't be read.
    """
    path = Path(folder) / NAME
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    started, resumed, previous = now, [], {}
    if resume_iteration is not None and path.exists():
        previous = read_manifest(folder)
        started, resumed = previous.get("started", now), list(previous.get("resumed", []))
    if resume_iteration is not None:
        before = (previous.get("machine") or {}).get("cpu")
        start = {"iteration": resume_iteration, "time": now, "version": project_version(), "git": git_state()}
        resumed.append({**start, "processor_before": before, **({"changes": changes} if changes else {})})
    record = {
        "started": started,
        "resumed": resumed,
        "version": project_version(),
        "git": git_state(),
        "seed": seed,
        "device": str(device),
        "scene": scene,
        "backend": backend,
        **precision,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()},
        "processes": processes,
        "machine": describe_machine(device),
        "config": config,
    }
    try:
        write_json(path, record)
    except OSError as error:
        raise TrainingError(
            f"{path}: can't be written ({error.strerror or error}); choose another --basedir"
        ) from error
    return path


def read_manifest(folder: str | os.PathLike) -> dict[str, Any]:
    """The manifest of the run in `folder`.

    Raises:
        TrainingError: it is missing or isn't a JSON object.
    """
    path = Path(folder) / NAME
    try:
        record = json.loads(read_bytes(path).decode())
    except FileNotFoundError:
        raise TrainingError(f"{path}: no manifest; is this the folder of a run?") from None
    except OSError as error:
        raise TrainingError(f"{path}: can't be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{path}: not valid JSON ({error}); the run's manifest was damaged") from error
    if not isinstance(record, dict):
        raise TrainingError(f"{path}: a JSON object was expected, found {type(record).__name__}")
    return record


def changed_circumstances(
    previous: Mapping[str, Any], backend: Mapping[str, Any], device: str, processes: int = 1
) -> list[str]:
    """What differs from the start that wrote `previous` and can change the last bits of a result; empty for nothing.

    A sum is rounded by the order of its terms, so another number of threads, PyTorch, processor or kernel continues a
    run correctly but not bit for bit.

    Args:
        previous: the manifest of the earlier start.
        backend: each op's implementation now, as `write_manifest` takes it.
        device: where the run continues.
        processes: how many train together now.
    """
    pairs = [
        ("device", previous.get("device", device), device),
        ("processes", previous.get("processes", 1), processes),
        ("threads", (previous.get("threads") or {}).get("intra_op"), torch.get_num_threads()),
        ("PyTorch", previous.get("torch"), torch.__version__),
        ("processor", (previous.get("machine") or {}).get("cpu"), cpu_model()),
    ]
    was_backend = previous.get("backend") or {}
    for op, now in backend.items():
        was = was_backend.get(op)
        if was is not None:
            pairs.append((op, was["implementation"], now["implementation"]))
    return [f"{name} {was}, now {now}" for name, was, now in pairs if was != now]


def project_version() -> str:
    """The package's version."""
    return nerf_ssim.__version__


def git_state(folder: str | os.PathLike | None = None) -> dict[str, Any] | None:
    """`{"sha": str, "dirty": bool}` of the checkout that the package runs from, or None without one or without git.

    Args:
        folder: the checkout's root; by default the package's parent folder.
    """
    root = Path(folder).resolve() if folder is not None else Path(__file__).resolve().parents[2]
    top = _git(root, "rev-parse", "--show-toplevel")
    # An installed package may lie inside somebody else's repository; its commit would say nothing about this code.
    if top is None or Path(top).resolve() != root:
        return None
    sha = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    if sha is None or changes is None:
        return None
    return {"sha": sha, "dirty": bool(changes)}


def describe_machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Processor, cores (those this process may use, and all), memory in GiB, system, and the GPU if `device` is one.

    What the system doesn't tell is None. The machine's name isn't recorded.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = physical_memory()
    device = torch.device(device)
    has_gpu = device.type == "cuda" and torch.cuda.is_available()
    return {
        "cpu": cpu_model(),
        "cores": usable,
        "cores_total": os.cpu_count(),
        "memory_gib": None if memory is None else round(memory / 2**30, 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name(device) if has_gpu else None,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None when it is missing, fails or hangs."""
    try:
        # No optional locks: `git status` must not fight with the user's own git commands over the index.
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
