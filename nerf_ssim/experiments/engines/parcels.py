"""A run's folder as bytes: what it takes to go on with the run elsewhere, and its results."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from nerf_ssim.files import TEMPORARY_SUFFIX, atomic_file

__all__ = ["newest_checkpoint", "pack_run", "remove_run", "unpack_run"]

LEFT_OUT = ("tensorboard", "wandb")
LASTING = "lasting"
"""The folder of checkpoints that stay, beside which the newest one is."""


def pack_run(folder: Path) -> bytes:
    """The run in `folder` as an uncompressed tar: logs, results, pictures, and the newest checkpoint of each fit in it.

    A folder that is not there is an empty tar. Files that vanish meanwhile, as old checkpoints do, are left out.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and _is_kept(path, folder):
                try:
                    archive.add(path, str(path.relative_to(folder)), recursive=False)
                except FileNotFoundError:
                    continue
    return buffer.getvalue()


def unpack_run(parcel: bytes, folder: Path) -> None:
    """Puts the files of a parcel into `folder`, each whole or not at all."""
    with tarfile.open(fileobj=io.BytesIO(parcel)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            target = folder / member.name
            # Names are of our own making; a worker that was taken over shall still not write elsewhere.
            if content is None or os.pardir in Path(member.name).parts or Path(member.name).is_absolute():
                continue
            with atomic_file(target) as file:
                file.write(content.read())


def newest_checkpoint(folder: Path) -> str:
    """The name of the newest checkpoint in a run's folder, which ascends with its updates; empty without one."""
    return max((path.name for path in folder.rglob("*.pt") if path.parent.name != LASTING), default="")


def remove_run(folder: Path) -> None:
    """Removes what is in a run's folder but for its locks: older logs and newer checkpoints would not go together."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(".lock"):
            path.unlink()


def _is_kept(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    if path.name.endswith(TEMPORARY_SUFFIX) or path.name.endswith(".lock") or set(parts) & set(LEFT_OUT):
        return False
    if path.suffix != ".pt" or path.parent.name == LASTING:
        return True
    return path == max(path.parent.glob("*.pt"), default=path)  # each is whole, and their names ascend
