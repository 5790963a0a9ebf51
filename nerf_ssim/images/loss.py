"""SSIM of a whole picture that is being fitted, or a part of it, in the order of pixels that is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from nerf_ssim.ops.ssim import ssim_mean
from nerf_ssim.ops.ssim_window import SsimMix, SsimWindow
from nerf_ssim.ssim.losses import SSIM, S3imResult
from nerf_ssim.ssim.parts import gradient_parts

DOMAINS = ("permuted", "image", "reshuffled")


class ImageSsim:
    """1 - mean SSIM of a fit's values and their target, read as a picture.

    Args:
        domain: "permuted" reads the values in the order that is fitted, "image" in the picture's own, "reshuffled" in
            a fresh random order each time.
        window, sigma, stride, padding: as in `fused_ssim`.
        mix: what the loss is made of; `mix_of_part` gives it by name, SSIM by default.
    Raises:
        ValueError: an unknown domain.
        ConfigError: a window out of range.
    """

    def __init__(
        self, domain: str, window: int, sigma: float | None, stride: int, padding: str, mix: SsimMix = SSIM
    ) -> None:
        if domain not in DOMAINS:
            raise ValueError(f"SSIM domain {domain!r} is not one of {', '.join(DOMAINS)}")
        self.domain = domain
        self.window = SsimWindow(window, sigma, stride, padding, mix=mix)

    def evaluate(
        self,
        values: Tensor,
        target: Tensor,
        order: Tensor,
        size: tuple[int, int],
        generator: torch.Generator,
        *,
        measures_parts: bool = False,
    ) -> S3imResult:
        """The loss and, at no extra pass, the means of SSIM and its parts, x being the target.

        Args:
            values, target: `[pixels, channels]` in the order that is fitted; computed in the type of `values`.
            order: the pixel that stands at each place of that order, `[pixels]` int64.
            size: height and width.
            generator: draws the order of "reshuffled", on the CPU.
            measures_parts: whether the two parts of the loss's gradient are wanted, a further pass over the picture.
        """
        if self.domain == "image":
            shown = torch.empty_like(order)
            shown[order] = torch.arange(len(order), device=order.device)
            values, target = values[shown], target[shown]
        elif self.domain == "reshuffled":
            fresh = torch.randperm(len(order), generator=generator).to(order.device)
            values, target = values[fresh], target[fresh]
        x, y = target.to(values.dtype).T.reshape(-1, *size), values.T.reshape(-1, *size)
        mean, statistics = ssim_mean(x, y, self.window)
        parts = gradient_parts(x, y, self.window) if measures_parts else None
        return S3imResult(sum(self.window.mix) - mean, statistics, parts)
