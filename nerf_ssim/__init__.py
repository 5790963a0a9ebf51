"""Neural fields trained with SSIM for part of the way.

The pieces that are useful outside this package are named here and loaded on first use, so that `import nerf_ssim`
stays cheap and works wherever Python does, whether or not the native extension was built:

>>> from nerf_ssim import S3IM, SsimSchedule, fused_ssim
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .ssim.index import fused_ssim
    from .ssim.losses import S3IM
    from .ssim.schedule import SsimSchedule

__version__ = "0.2.0"

__all__ = ["S3IM", "SsimSchedule", "__version__", "fused_ssim"]

_HOMES = {
    "fused_ssim": "nerf_ssim.ssim.index",
    "S3IM": "nerf_ssim.ssim.losses",
    "SsimSchedule": "nerf_ssim.ssim.schedule",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module when the name is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
