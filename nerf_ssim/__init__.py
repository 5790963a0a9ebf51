"""Neural fields trained with SSIM for part of the way.

The pieces that are useful outside this package are named here and loaded on first use, so that `import nerf_ssim`
stays cheap and works wherever Python does, whether or not the native extension was built:

>>> from nerf_ssim import S3IM, SsimSchedule, fused_ssim
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation.metrics import psnr
    from .ssim.combined import fused_l1_ssim, fused_mse_ssim
    from .ssim.index import fused_ssim, ssim_parts, ssim_with_statistics
    from .ssim.losses import S3IM
    from .ssim.luminance import LuminanceConvergence
    from .ssim.msssim import MS_SSIM, SSIM, ms_ssim
    from .ssim.schedule import SsimSchedule

__version__ = "0.2.0"

_HOMES = {
    "MS_SSIM": "nerf_ssim.ssim.msssim",
    "S3IM": "nerf_ssim.ssim.losses",
    "SSIM": "nerf_ssim.ssim.msssim",
    "LuminanceConvergence": "nerf_ssim.ssim.luminance",
    "SsimSchedule": "nerf_ssim.ssim.schedule",
    "fused_l1_ssim": "nerf_ssim.ssim.combined",
    "fused_mse_ssim": "nerf_ssim.ssim.combined",
    "fused_ssim": "nerf_ssim.ssim.index",
    "ms_ssim": "nerf_ssim.ssim.msssim",
    "psnr": "nerf_ssim.evaluation.metrics",
    "ssim_parts": "nerf_ssim.ssim.index",
    "ssim_with_statistics": "nerf_ssim.ssim.index",
}

__all__ = [
    "MS_SSIM",
    "S3IM",
    "SSIM",
    "LuminanceConvergence",
    "SsimSchedule",
    "__version__",
    "fused_l1_ssim",
    "fused_mse_ssim",
    "fused_ssim",
    "ms_ssim",
    "psnr",
    "ssim_parts",
    "ssim_with_statistics",
]


def __getattr__(name: str) -> Any:
    """Import a public name's module when the name is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
