"""Files that travel with the package: configurations and the bundled scene."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nerf_ssim.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def find_resource(kind: Literal["configs", "data"], name: str) -> Path:
    """Path of a bundled file or folder, in an installed package or in a checkout.

    Args:
        kind: `configs` (text configurations) or `data` (scenes).
        name: the file's or folder's name inside it, such as `room.txt` or `room`.
    Raises:
        ConfigError: there is no such resource; the message lists those there are.
    """
    roots = [_PACKAGE / "bundled" / kind, _PACKAGE.parent / kind]
    for root in roots:
        candidate = root / name
        if candidate.exists() and candidate.resolve().is_relative_to(root.resolve()):
            return candidate
    available = sorted({path.name for root in roots if root.is_dir() for path in root.iterdir()})
    raise ConfigError(f"{name}: not among the bundled {kind}; there are: {', '.join(available) or 'none'}")
