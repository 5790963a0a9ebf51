"""Losses made of the SSIM index: S3IM, stochastic structural similarity on a batch of rays."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.reference.ssim import s3im_image
from nerf_ssim.ops.ssim import SsimStatistics, s3im
from nerf_ssim.ops.ssim_window import SsimMix, SsimWindow
from nerf_ssim.ssim.parts import gradient_parts

SSIM = SsimMix()


class S3imResult(NamedTuple):
    """`loss` 0-dim, differentiable in the rendered colours; `statistics` with x the target and y the render.

    `parts`, where they were asked for, are what `gradient_parts` gives for the same image.
    """

    loss: Tensor
    statistics: SsimStatistics
    parts: tuple[Tensor, Tensor] | None = None


class S3IM(nn.Module):
    """1 - mean SSIM of a batch of rays read as an image, in its own order and in random ones; or of a part of it.

    The batch in its own order and `repeat - 1` random permutations of it are concatenated and read row by row as one
    image of `patch_height` rows and `patch_width * repeat` columns, so that an order fills `patch_height / repeat` rows
    rather than a tile. Windows have zero padding `(kernel - 1) // 2`, which counts with full weight.

    Args:
        kernel: side of the window, 1 to 11; Gaussian weights, sigma 1.5, centre at index `kernel // 2`.
        stride: pixels between windows.
        repeat: orders in all, >= 1.
        patch_height, patch_width: their product is the number of rays a call takes.
        seed: of the generator that draws the orders. It belongs to this object and lives on the CPU, so that any device
            sees the same orders; `get_state` and `set_state` carry it over a restart.
        mix: what the loss is made of; `mix_of_part` gives it by name, SSIM by default.
    Raises:
        ConfigError: an option out of range, or an image smaller than a window.
    Source: Xie et al. 2023, "S3IM: Stochastic Structural SIMilarity and Its Unreasonable Effectiveness for Neural
        Fields", section 3, with the published code's geometry.
    Example:
        >>> loss = S3IM(patch_height=32, patch_width=32)(torch.rand(1024, 3), torch.rand(1024, 3))
    """

    def __init__(
        self,
        kernel: int = 4,
        stride: int = 4,
        repeat: int = 10,
        patch_height: int = 64,
        patch_width: int = 64,
        *,
        sigma: float | None = 1.5,
        seed: int = 20211202,
        mix: SsimMix = SSIM,
    ) -> None:
        super().__init__()
        for name, value in (("repeat", repeat), ("patch_height", patch_height), ("patch_width", patch_width)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"S3IM {name}: {value!r} is not a whole number of at least 1.")
        self.window = SsimWindow(kernel, sigma, stride, padding=max(kernel - 1, 0) // 2, mix=mix)
        self.window.map_size(patch_height, patch_width * repeat)
        self.repeat, self.patch_height, self.patch_width = repeat, patch_height, patch_width
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        """The loss of `rendered, target [patch_height * patch_width, 3]` in [0, 1]; draws new orders."""
        return self.evaluate(rendered, target).loss

    def evaluate(
        self,
        rendered: Tensor,
        target: Tensor,
        generator: torch.Generator | None = None,
        *,
        measures_parts: bool = False,
    ) -> S3imResult:
        """The loss and, at no extra pass, the means of SSIM and its parts.

        Args:
            rendered, target: colours of the same rays, `[patch_height * patch_width, channels]` in [0, 1].
            generator: draws the orders instead of this object's own, which then stays as it is.
            measures_parts: whether the two parts of the loss's gradient are wanted, a further pass over the image.
        Raises:
            ConfigError: another number of rays, shapes, kinds or devices that disagree.
        """
        self._check(rendered, target)
        if rendered.dtype in (torch.float16, torch.bfloat16):
            rendered, target = rendered.float(), target.float()
        orders = self.draw_orders(generator)
        if rendered.is_cuda:  # pinned, so that the copy waits for nothing
            orders = orders.pin_memory()
        orders = orders.to(rendered.device, non_blocking=True)
        loss, statistics = s3im(rendered, target, orders, self.patch_height, self.window)
        if not measures_parts:
            return S3imResult(loss, statistics)
        x, y = (s3im_image(colours, orders, self.patch_height) for colours in (target, rendered))
        return S3imResult(loss, statistics, gradient_parts(x, y, self.window))

    def draw_orders(self, generator: torch.Generator | None = None) -> Tensor:
        """`[repeat, rays]` int64 on the CPU: the batch's own order, then random permutations."""
        generator = self.generator if generator is None else generator
        rays = self.patch_height * self.patch_width
        orders = torch.empty(self.repeat, rays, dtype=torch.int64)
        torch.arange(rays, out=orders[0])
        for order in orders[1:]:
            torch.randperm(rays, generator=generator, out=order)
        return orders

    def get_state(self) -> Tensor:
        """The generator's state, a uint8 tensor."""
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Continue with the orders that follow a state from `get_state`."""
        self.generator.set_state(state.cpu())

    def extra_repr(self) -> str:
        """What `print` shows of this loss."""
        window = self.window
        return (
            f"kernel={window.size}, stride={window.stride}, repeat={self.repeat}, "
            f"patch_height={self.patch_height}, patch_width={self.patch_width}"
        )

    def _check(self, rendered: Tensor, target: Tensor) -> None:
        rays = self.patch_height * self.patch_width
        if rendered.shape != target.shape or rendered.ndim != 2 or rendered.shape[0] != rays or rendered.shape[1] < 1:
            raise ConfigError(
                f"S3IM: colours of shapes {list(rendered.shape)} and {list(target.shape)}; a patch of "
                f"{self.patch_height}x{self.patch_width} takes two of [{rays}, 3]: make patch_height * patch_width the "
                "batch."
            )
        if not rendered.is_floating_point() or rendered.dtype != target.dtype or rendered.device != target.device:
            raise ConfigError(
                f"S3IM: rendered is {rendered.dtype} on {rendered.device}, target is {target.dtype} on "
                f"{target.device}; give one floating-point type and one device."
            )
