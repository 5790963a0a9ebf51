"""Losses made of the SSIM index: S3IM, stochastic structural similarity on a batch of rays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.number_kinds import whole_number
from nerf_ssim.ops.reference.ssim import s3im_image
from nerf_ssim.ops.ssim import SsimStatistics, s3im
from nerf_ssim.ops.ssim_window import SsimMix, SsimWindow
from nerf_ssim.ops.transfer import sent_to
from nerf_ssim.ssim.orders import draw_orders, drawn_orders
from nerf_ssim.ssim.pairs import largest_value, promoted, refuse_another_range
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
    rather than a tile. Windows have zero padding `(kernel - 1) // 2`, which counts with full weight. `torch.func.vmap`
    has to be told `randomness="same"`: all slices are read in the same orders. `torch.utils.checkpoint` has to be given
    `recomputation`.

    Args:
        kernel: side of the window, 1 to 11, 4 by default; Gaussian weights, sigma 1.5, centre at index `kernel // 2`.
        stride: pixels between windows.
        repeat: orders in all, >= 1, 10 by default.
        patch_height, patch_width: their product is the number of rays a call takes.
        kernel_size, repeat_time: what the published code calls `kernel` and `repeat`.
        seed: of the generator that draws the orders. Its state belongs to this object and lives on the CPU, so that any
            device sees the same orders; `state_dict` has it, and `get_state` and `set_state` carry it by itself.
        mix: what the loss is made of; `mix_of_part` gives it by name, SSIM by default.
        data_range: the largest value that colours could have, 1 where it is None; as in `fused_ssim`.
        any_batch: take any number of rays. Another number than the patch's is read as an image of the patch's
            proportions, whose `sqrt(rays * patch_height / patch_width)` rows are rounded down; the last rays of the
            batch that fill no whole row of it are left out. It is for the last batch of an epoch.
    Raises:
        ConfigError: an option out of range, or an image smaller than a window.
    Source: Xie et al. 2023, "S3IM: Stochastic Structural SIMilarity and Its Unreasonable Effectiveness for Neural
        Fields", section 3, with the published code's geometry.
    Example:
        >>> loss = S3IM(patch_height=32, patch_width=32)(torch.rand(1024, 3), torch.rand(1024, 3))
    """

    _version = 2  # the first one whose state_dict has the orders' state

    def __init__(
        self,
        kernel: int | None = None,
        stride: int = 4,
        repeat: int | None = None,
        patch_height: int = 64,
        patch_width: int = 64,
        *,
        kernel_size: int | None = None,
        repeat_time: int | None = None,
        sigma: float | None = 1.5,
        seed: int = 20211202,
        mix: SsimMix = SSIM,
        data_range: float | None = None,
        any_batch: bool = False,
    ) -> None:
        super().__init__()
        kernel = _under_one_name("kernel", kernel, "kernel_size", kernel_size, 4)
        self.repeat = _count("repeat", _under_one_name("repeat", repeat, "repeat_time", repeat_time, 10))
        self.patch_height, self.patch_width = _count("patch_height", patch_height), _count("patch_width", patch_width)
        self.data_range = None if data_range is None else largest_value(data_range)
        margin = max((whole_number(kernel) or 0) - 1, 0) // 2
        self.window = SsimWindow(kernel, sigma, stride, margin, mix=mix).for_range(largest_value(data_range))
        self.window.map_size(self.patch_height, self.patch_width * self.repeat)
        self.any_batch = any_batch
        self._state = torch.Generator().manual_seed(seed).get_state()
        self._ahead: tuple[Tensor, Tensor] | None = None  # orders drawn already, and the state before them

    def forward(self, rendered: Tensor, target: Tensor) -> Tensor:
        """The loss of `rendered, target [rays, 3]`, `patch_height * patch_width` of them; draws new orders."""
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
            rendered, target: colours of the same rays, `[patch_height * patch_width, channels]` in [0, 1]. Two types
                are promoted as PyTorch promotes them, half precision is computed and returned in float32. A target
                plainly of another range is refused; on a GPU, only the first call with each shape looks.
            generator: draws the orders instead of this object's own, which then stays as it is.
            measures_parts: whether the two parts of the loss's gradient are wanted, a further pass over the image.
        Raises:
            ConfigError: another number of rays, shapes, kinds or devices that disagree.
        """
        rendered, target = promoted(rendered, target, self.data_range, "S3IM", ("rendered", "target"))
        height, width = self._size(rendered, target)
        refuse_another_range(target, largest_value(self.data_range), "S3IM", "target")
        rays = height * width
        if rays < len(rendered):
            rendered, target = rendered[:rays], target[:rays]
        draws_ahead = generator is None and not torch.compiler.is_compiling()
        if draws_ahead:
            orders = self._next_orders(rays, rendered.device)
        else:
            orders = sent_to(rendered.device, self.draw_orders(generator, rays))
        loss, statistics = s3im(rendered, target, orders, height, self.window)
        if draws_ahead:  # while a GPU is still at what came before
            self._draw_ahead(rays, rendered.device)
        if not measures_parts:
            return S3imResult(loss, statistics)
        x, y = (s3im_image(colours, orders, height) for colours in (target, rendered))
        return S3imResult(loss, statistics, gradient_parts(x, y, self.window))

    def draw_orders(self, generator: torch.Generator | None = None, rays: int | None = None) -> Tensor:
        """`[repeat, rays]` int64 on the CPU: the batch's own order, then random permutations.

        Args:
            generator: draws them instead of this object's own.
            rays: of the batch, the patch's by default.
        """
        rays = self.patch_height * self.patch_width if rays is None else rays
        if generator is not None:
            return drawn_orders(generator, self.repeat, rays)
        self._forget_ahead()
        orders, self._state = draw_orders(self._state, self.repeat, rays)
        return orders

    def _draw_ahead(self, rays: int, device: torch.device) -> None:
        before = self.get_state()
        with torch.inference_mode(False):  # the call that takes them may want a gradient
            self._ahead = before, sent_to(device, self.draw_orders(None, rays))

    def _next_orders(self, rays: int, device: torch.device) -> Tensor:
        if self._ahead is None or self._ahead[1].shape[1] != rays:
            self._draw_ahead(rays, device)
        assert self._ahead is not None
        (_, orders), self._ahead = self._ahead, None
        return orders.to(device)

    def _forget_ahead(self) -> None:
        if self._ahead is not None:
            (self._state, _), self._ahead = self._ahead, None

    def get_state(self) -> Tensor:
        """The generator's state before the orders that the next call will use, a uint8 tensor."""
        return self._state.clone() if self._ahead is None else self._ahead[0].clone()

    def set_state(self, state: Tensor) -> None:
        """Continue with the orders that follow a state from `get_state`."""
        generator = torch.Generator()
        generator.set_state(state.cpu())  # refuses what is no state
        self._ahead = None
        self._state = generator.get_state()

    def recomputation(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What `torch.utils.checkpoint` needs to make a call again in the orders of the first time.

        It goes in as `checkpoint(..., use_reentrant=False, context_fn=s3im.recomputation)`. Without it the call that is
        made again in the backward pass draws new orders: the gradient is then that of another loss than was returned.
        """
        return nullcontext(), self._drawing_from(self.get_state())

    @contextmanager
    def _drawing_from(self, state: Tensor) -> Iterator[None]:
        """Calls inside draw from `state`; what comes after goes on as if they had not been."""
        present = self.get_state()
        self.set_state(state)
        try:
            yield
        finally:
            self.set_state(present)

    def get_extra_state(self) -> Tensor:
        """What `state_dict` has of this loss: the generator's state."""
        return self.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from what `state_dict` has."""
        self.set_state(state)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Mapping[str, Any], *others: Any
    ) -> None:
        """Load; a state_dict from before it had the orders' state leaves that as it is."""
        if (local_metadata.get("version") or 1) < 2:
            state_dict.setdefault(f"{prefix}_extra_state", self.get_state())
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)

    def extra_repr(self) -> str:
        """What `print` shows of this loss."""
        window = self.window
        return (
            f"kernel={window.size}, stride={window.stride}, repeat={self.repeat}, "
            f"patch_height={self.patch_height}, patch_width={self.patch_width}"
        )

    def _size(self, rendered: Tensor, target: Tensor) -> tuple[int, int]:
        """Rows of the image and columns of each order; colours that make none are refused."""
        height, width = self.patch_height, self.patch_width
        fits = rendered.shape == target.shape and rendered.ndim == 2 and min(rendered.shape) > 0
        if fits and rendered.shape[0] == height * width:
            return height, width
        if not fits or not self.any_batch:
            rays = "rays" if self.any_batch else height * width
            advice = "" if self.any_batch else ": make patch_height * patch_width the batch, or give any_batch=True"
            raise ConfigError(
                f"S3IM: colours of shapes {list(rendered.shape)} and {list(target.shape)}; a patch of "
                f"{height}x{width} takes two of [{rays}, 3]{advice}."
            )
        rays = rendered.shape[0]
        height = max(1, math.isqrt(rays * height // width))
        width = rays // height
        self.window.map_size(height, width * self.repeat)
        return height, width


def _under_one_name(name: str, value: int | None, published: str, by_published: int | None, default: int) -> int:
    """An option that has two names, given under one of them at most."""
    if value is not None and by_published is not None:
        raise ConfigError(f"S3IM: {name} and {published} are one option; give one of them.")
    if value is None:
        value = by_published
    return default if value is None else value


def _count(name: str, value: int) -> int:
    number = whole_number(value)
    if number is None or number < 1:
        raise ConfigError(f"S3IM {name}: {value!r} is not a whole number of at least 1.")
    return number
