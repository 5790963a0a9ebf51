"""Which part of SSIM a loss is made of, and the two parts of a loss's gradient.

SSIM is S1 S2, luminance times contrast-structure. Its gradient in a pixel is the sum of two: S2 dS1, the same for every
pixel of a window up to its weight (the paper's "collective" part), and S1 dS2, which differs by pixel and sums to zero
over a window inside the image (the "individual-collective" part).
"""

from __future__ import annotations

from torch import Tensor

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.ssim import ssim_maps
from nerf_ssim.ops.ssim_window import SsimMix, SsimWindow

__all__ = ["PARTS", "gradient_parts", "mix_of_part"]

PARTS = ("both", "luminance", "structure", "sum")
"""What a loss may be made of: 1 - S1 S2, 1 - S1, 1 - S2, or a (1 - S1) + b (1 - S2)."""


def mix_of_part(part: str = "both", luminance_weight: float = 1.0, structure_weight: float = 1.0) -> SsimMix:
    """The weights of S1 S2, S1 and S2 in a loss, which is their sum less the weighted mean index.

    Args:
        part: one of `PARTS`.
        luminance_weight, structure_weight: a and b of "sum", at least 0; the other parts do not look at them.
    Raises:
        ConfigError: an unknown part.
    Source: "Rethinking SSIM-Based Optimization in Neural Field Training", equation 6.
    """
    mixes = {
        "both": SsimMix(1, 0, 0),
        "luminance": SsimMix(0, 1, 0),
        "structure": SsimMix(0, 0, 1),
        "sum": SsimMix(0, luminance_weight, structure_weight),
    }
    if part not in mixes:
        raise ConfigError(f"ssim_part: {part!r} is not one of {', '.join(PARTS)}")
    return mixes[part]


def gradient_parts(x: Tensor, y: Tensor, window: SsimWindow) -> tuple[Tensor, Tensor]:
    """Two 0-dim tensors whose gradients add up to that of a loss `sum(mix) - mean index` under `window`.

    The gradient of the first goes through luminance alone, that of the second through contrast-structure alone. Their
    values mean nothing by themselves.

    Args:
        x, y: the target and the rendered image, `[planes, height, width]`.
        window: the geometry, the constants and the mix of the loss.
    Raises:
        ConfigError: an image that holds no window.
    Source: "Rethinking SSIM-Based Optimization in Neural Field Training", equation 6.
    """
    window.map_size(*x.shape[-2:])
    maps, mix = ssim_maps(x, y, window), window.mix
    luminance = (mix.product * maps.structure.detach() + mix.luminance) * maps.luminance
    structure = (mix.product * maps.luminance.detach() + mix.structure) * maps.structure
    return -luminance.mean(), -structure.mean()
