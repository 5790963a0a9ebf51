"""Which pixels a training step sees: shuffled epochs without replacement over the pixels that are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nerf_ssim.datasets.scene import Views
from nerf_ssim.errors import TrainingError
from nerf_ssim.ops.pixel_rays import pixel_rays
from nerf_ssim.ops.transfer import sent_to
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.rays.permutation import KeyedPermutation
from nerf_ssim.rays.share import Share

__all__ = ["PixelBatches", "RayBatch"]

FILTER_CHUNK = 1 << 16
AHEAD = 16  # batches that one walk through the order covers


@dataclass(frozen=True)
class RayBatch:
    """The rays of one step and the colours they should have, `rgb [rays, 3]` in [0, 1]."""

    rays: Rays
    rgb: Tensor


class PixelBatches:
    """Endless batches of `batch_size` pixels of the training views.

    An epoch visits the kept pixels once, in an order of its own; pixels left over at its end (fewer than a batch) are
    dropped, as in the published sampler. Images stay uint8 and rays are made for the batch only; the order is a keyed
    permutation, and kept pixels are one bit each, so memory does not grow beyond the images themselves.

    Images, cameras and order are on one device, so a batch of an epoch is never copied from the host. What is random
    is drawn on the CPU whatever the device.

    Args:
        share: the rays of each batch that are made, where other processes make the others; None for all.
    """

    def __init__(self, views: Views, batch_size: int, generator: torch.Generator, share: Share | None = None) -> None:
        self.views = views
        self.batch_size = batch_size
        self.generator = generator
        self.share = share
        self.total = len(views) * views.height * views.width
        self.kept_bits: Tensor | None = None  # None = every pixel
        self.kept = self.total
        if views.valid is not None and not bool(views.valid.all()):
            # What lies outside an image or is ruled out by its mask is never drawn.
            self.kept_bits, self.kept = pack_bits(views.valid.flatten()), int(views.valid.sum())
        self.has_replacement = False
        self._found: deque[tuple[Tensor, int]] = deque()  # batches to come, and the cursor behind each
        self._start_epoch()

    @property
    def device(self) -> torch.device:
        """Where the images are, and so where batches are made."""
        return self.views.images.device

    def next(self) -> RayBatch:
        """The next batch: exactly `batch_size` rays, or those of them in `share`."""
        pixels = self.next_pixels()
        return self._batch_of(pixels if self.share is None else pixels[self.share.rows])

    def next_pixels(self) -> Tensor:
        """The pixels of the next batch `[batch_size]`, of all processes: flat indices over views, rows, columns."""
        return self._random_pixels() if self.has_replacement else self._pixels_of_epoch()

    def draw_with_replacement(self) -> None:
        """From now on every batch is drawn independently from the kept pixels, until `keep_where` returns to epochs."""
        self.has_replacement = True

    def keep_where(self, predicate: Callable[[Rays], Tensor]) -> float:
        """Drops the pixels whose ray fails `predicate` (rays -> bool `[rays]`) and starts a new epoch.

        Returns the share of the formerly kept pixels that stays. Raises `TrainingError` if less than a batch is left.
        """
        bits = torch.zeros((self.total + 7) // 8, dtype=torch.uint8, device=self.device)
        kept = 0
        for start in range(0, self.total, FILTER_CHUNK):
            pixels = torch.arange(start, min(start + FILTER_CHUNK, self.total), device=self.device)
            keep = predicate(self.rays_of(pixels)) & self._is_kept(pixels)
            kept += int(keep.sum())
            packed = pack_bits(keep)
            bits[start // 8 : start // 8 + packed.numel()] = packed
        share = kept / max(self.kept, 1)
        self._set_kept(None if kept == self.total else bits, kept)
        self.has_replacement = False
        self._start_epoch()
        return share

    def rays_of(self, pixels: Tensor) -> Rays:
        """Rays through the centres of `pixels` (flat indices over views, rows, columns)."""
        return self._batch_of(pixels).rays

    def state_dict(self) -> dict:
        """Position in the epoch and the kept pixels, as plain values and tensors."""
        return {
            "keys": self.permutation.keys,
            "cursor": self.cursor,
            "batches_left": self.batches_left,
            "kept": self.kept,
            "kept_bits": self.kept_bits,
            "has_replacement": self.has_replacement,
        }

    def load_state_dict(self, state: dict) -> None:
        """Continues where `state` was taken."""
        bits = state["kept_bits"]
        self._set_kept(None if bits is None else bits.to(self.device), state["kept"])
        self.permutation = KeyedPermutation(self.total, list(state["keys"]))
        self.cursor = state["cursor"]
        self._found.clear()
        self.batches_left = state["batches_left"]
        self.has_replacement = state.get("has_replacement", False)

    def _set_kept(self, bits: Tensor | None, kept: int) -> None:
        if kept < self.batch_size:
            raise TrainingError(
                f"only {kept} of {self.total} training pixels are left after filtering, fewer than one batch of "
                f"{self.batch_size}: check the scene's box and cameras (nerf-ssim data check) or lower --batch_size"
            )
        self.kept_bits, self.kept = bits, kept

    def _start_epoch(self) -> None:
        if self.kept < self.batch_size:
            raise TrainingError(
                f"the training split has {self.kept} pixels, fewer than one batch of {self.batch_size}: "
                "lower --batch_size (and the SSIM patch) or --downsample_train"
            )
        self.permutation = KeyedPermutation.draw(self.total, self.generator)
        self.cursor = 0
        self._found.clear()
        self.batches_left = self.kept // self.batch_size

    def _batch_of(self, pixels: Tensor) -> RayBatch:
        origins, directions, rgb = pixel_rays(pixels, self.views.images, self.views.c2w, self.views.K)
        return RayBatch(Rays(origins, directions), rgb)

    def _random_pixels(self) -> Tensor:
        found: list[Tensor] = []
        missing = self.batch_size
        while missing > 0:
            size = self.batch_size if self.kept_bits is None else 2 * missing * self.total // max(self.kept, 1) + 1
            drawn = sent_to(self.device, torch.randint(self.total, (size,), generator=self.generator))
            found.append(drawn if self.kept_bits is None else drawn[self._is_kept(drawn)][:missing])
            missing -= found[-1].numel()
        return torch.cat(found)

    def _pixels_of_epoch(self) -> Tensor:
        if self.batches_left == 0:
            self._start_epoch()
        self.batches_left -= 1
        if not self._found:
            self._look_ahead()
        pixels, self.cursor = self._found.popleft()
        return pixels

    def _look_ahead(self) -> None:
        """Walks the shuffled order until a batch of kept pixels is found, and cuts all that it found into batches.

        Each comes with where the order goes on behind its last pixel. A GPU waits for the host here and not at every
        batch, because how many pixels of a walk are kept decides how long it is.
        """
        walked = self.cursor
        found: list[Tensor] = []
        places: list[Tensor] = []
        missing = self.batch_size
        while missing > 0:
            positions = torch.arange(walked, min(walked + AHEAD * self.batch_size, self.total), device=self.device)
            if positions.numel() == 0:  # only where a saved place in the order does not go with the pixels kept
                raise TrainingError("the order of training pixels ends before its last batch; train anew")
            walked += positions.numel()
            pixels = self.permutation(positions)
            if self.kept_bits is not None:
                keep = self._is_kept(pixels).nonzero()[:, 0]
                positions, pixels = positions[keep], pixels[keep]
            found.append(pixels)
            places.append(positions)
            missing -= pixels.numel()
        last_of_batch = torch.cat(places)[self.batch_size - 1 :: self.batch_size].tolist()
        batches = torch.cat(found).split(self.batch_size)[: len(last_of_batch)]
        self._found.extend(zip(batches, [last + 1 for last in last_of_batch], strict=True))

    def _is_kept(self, pixels: Tensor) -> Tensor:
        if self.kept_bits is None:
            return torch.ones_like(pixels, dtype=torch.bool)
        return (self.kept_bits[pixels >> 3] >> (pixels & 7).to(torch.uint8)) & 1 == 1


def pack_bits(flags: Tensor) -> Tensor:
    """Eight flags a byte, lowest bit first; the last byte is padded with zeros."""
    padded = torch.zeros((flags.numel() + 7) // 8 * 8, dtype=torch.uint8, device=flags.device)
    padded[: flags.numel()] = flags
    weights = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=flags.device)
    return (padded.view(-1, 8) * weights).sum(-1, dtype=torch.uint8)
