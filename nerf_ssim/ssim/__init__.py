"""The structural-similarity index, the losses made of it, and the schedule that adds and removes them."""

from nerf_ssim.ssim.combined import fused_l1_ssim, fused_mse_ssim
from nerf_ssim.ssim.index import SsimParts, SsimStatistics, fused_ssim, ssim_parts, ssim_with_statistics
from nerf_ssim.ssim.losses import S3IM, S3imResult
from nerf_ssim.ssim.luminance import LuminanceConvergence
from nerf_ssim.ssim.parts import gradient_parts, mix_of_part
from nerf_ssim.ssim.schedule import SsimSchedule

__all__ = [
    "S3IM",
    "LuminanceConvergence",
    "S3imResult",
    "SsimParts",
    "SsimSchedule",
    "SsimStatistics",
    "fused_l1_ssim",
    "fused_mse_ssim",
    "fused_ssim",
    "gradient_parts",
    "mix_of_part",
    "ssim_parts",
    "ssim_with_statistics",
]
