"""SSIM of a whole picture that is being fitted, in the order of pixels that is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf_ssim.ops.ssim import ssim_mean
from nerf_ssim.ops.ssim_window import SsimWindow
from nerf_ssim.ssim.losses import S3imResult

DOMAINS = ("permuted", "image", "reshuffled")


class ImageSsim:
    """1 - mean SSIM of a fit's values and their target, read as a picture.

    Args:
        domain: "permuted" reads the values in the order that is fitted, "image" in the picture's own, "reshuffled" in
            a fresh random order each time.
        window, sigma, stride, padding: as in `fused_ssim`.
    Raises:
        ValueError: an unknown domain.
        ConfigError: a window out of range.
    """

    def __init__(self, domain: str, window: int, sigma: float | None, stride: int, padding: str) -> None:
        if domain not in DOMAINS:
            raise ValueError(f"SSIM domain {domain!r} is not one of {', '.join(DOMAINS)}")
        self.domain = domain
        self.window = SsimWindow(window, sigma, stride, padding)

    def evaluate(
        self, values: Tensor, target: Tensor, order: Tensor, size: tuple[int, int], generator: torch.Generator
    ) -> S3imResult:
        """The loss and, at no extra pass, the means of SSIM and its parts, x being the target.

        Args:
            values, target: `[pixels, channels]` in the order that is fitted; computed in the type of `values`.
            order: the pixel that stands at each place of that order, `[pixels]` int64.
            size: height and width.
            generator: draws the order of "reshuffled", on the CPU.
        """
        if self.domain == "image":
            shown = torch.empty_like(order)
            shown[order] = torch.arange(len(order), device=order.device)
            values, target = values[shown], target[shown]
        elif self.domain == "reshuffled":
            fresh = torch.randperm(len(order), generator=generator).to(order.device)
            values, target = values[fresh], target[fresh]
        x = target.to(values.dtype).T.reshape(-1, *size)
        mean, statistics = ssim_mean(x, values.T.reshape(-1, *size), self.window)
        return S3imResult(1 - mean, statistics)
