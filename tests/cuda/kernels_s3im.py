"""The S3IM kernels: cases against float64 autograd of the reference, and planted defects."""

from __future__ import annotations

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, unwritten
from ssim_cases import PARTS, by_raw_moments, geometry

from nerf_ssim.ops.reference import ssim as reference
from nerf_ssim.ops.ssim_window import SsimMix, SsimWindow

TOLERANCE, THREADS = 3e-4, 128
SSIM = SsimMix()


class Batch:
    """Colours of `rays` rays, the orders that they are drawn in, and S3IM of them in double precision."""

    def __init__(
        self, height: int, width: int, repeat: int, channels: int, kernel: int, stride: int, mix: SsimMix = SSIM
    ) -> None:
        generator = torch.Generator().manual_seed(7)
        self.window = SsimWindow(kernel, 1.5, stride, (kernel - 1) // 2, mix=mix)
        self.rays, self.channels, self.height = height * width, channels, height
        self.target = torch.rand(self.rays, channels, generator=generator)
        self.rendered = 0.3 * self.target + 0.6 * torch.rand(self.rays, channels, generator=generator)
        self.orders = torch.stack([torch.randperm(self.rays, generator=generator) for _ in range(repeat)])

    def exact(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loss [1], statistics [5] and the gradient in the rendered colours [rays, channels]."""
        rendered = self.rendered.double().requires_grad_()
        images = (reference.s3im_image(each, self.orders, self.height) for each in (self.target.double(), rendered))
        ssim, luminance, structure, difference = reference.ssim_maps(*images, self.window)
        mix = self.window.mix
        index = mix.product * ssim + mix.luminance * luminance + mix.structure * structure
        loss = sum(mix) - index.mean()
        loss.backward()
        means = [each.mean() for each in (ssim, luminance, structure, difference, difference.abs())]
        return loss.detach()[None].numpy(), torch.stack(means).detach().numpy(), rendered.grad.numpy()

    def map_size(self) -> tuple[int, int]:
        """Windows along each axis of the image."""
        return self.window.map_size(self.height, self.orders.numel() // self.height)

    def arguments(self) -> dict:
        """What both launchers begin with."""
        size = (1, self.height, self.orders.numel() // self.height)
        return {
            "s": {
                "windows": geometry(size, self.map_size(), self.window),
                "rays": self.rays,
                "channels": self.channels,
                "orders": self.orders.flatten().numpy(),
            },
            "rendered": self.rendered.numpy(),
            "target": self.target.numpy(),
        }


def loss_case(name: str, batch: Batch, wants_gradient: bool = True, keeps_derivatives: bool = False, **more) -> Case:
    rows, columns = batch.map_size()
    loss, statistics, gradient = batch.exact()
    blocks = rows * -(-columns * batch.channels // THREADS)
    arguments = batch.arguments() | {
        "gradient": np.zeros((batch.rays, batch.channels), np.float32) if wants_gradient else None,
        "derivatives": unwritten(3, rows, columns, batch.channels) if keeps_derivatives else None,
        "block_sums": unwritten(5, blocks), "loss": unwritten(1), "statistics": unwritten(5),
    }  # fmt: skip
    expected = {"loss": loss, "statistics": statistics}
    if wants_gradient:
        expected["gradient"] = gradient
    if keeps_derivatives:
        expected["derivatives"] = derivatives_of(batch)
    return Case(name, "launch_s3im", arguments, expected, TOLERANCE, **more)


def derivatives_of(batch: Batch) -> np.ndarray:
    """Of the loss by each window's mean of y, of x^2 + y^2 and of x y: [3, rows, columns, channels]."""
    images = (
        reference.s3im_image(each.double(), batch.orders, batch.height) for each in (batch.target, batch.rendered)
    )
    ssim, *_, raw = by_raw_moments(*images, batch.window)
    (by_moments,) = torch.autograd.grad(1 - ssim.mean(), raw)
    return by_moments[1:].permute(0, 2, 3, 1).contiguous().numpy()


def refused_order_case() -> Case:
    """An order that names the ray after the last: it must not be read, and the result must not look like one."""
    batch = Batch(8, 6, 1, 3, 4, 4)
    batch.orders[0, 13] = 0
    case = loss_case("an order that names no ray", batch, wants_gradient=False)
    case.arguments["s"]["orders"][13] = batch.rays
    return Case(case.name, case.launcher, case.arguments, {"loss": np.full(1, np.nan)}, TOLERANCE)


def flat_case() -> Case:
    """Bright colours that differ by next to nothing: right to far more digits than squares would leave."""
    batch = Batch(16, 16, 2, 3, 4, 4)
    batch.target, batch.rendered = (0.9 + 1e-4 * each for each in (batch.target, batch.rendered))
    case = loss_case("flat colours", batch, wants_gradient=False)
    return Case(case.name, case.launcher, case.arguments, {"statistics": case.expected["statistics"]}, 1e-6)


def loss_cases() -> list[Case]:
    often = Batch(8, 8, 3, 3, 4, 4)
    often.orders[0], often.orders[1] = 0, 5
    return [
        loss_case("64x64 rays, two orders", Batch(64, 64, 2, 3, 4, 4), shares_addresses=True, elements=2 * 4096 * 3,
                  floor=(8 + 8 / 3, 4)),
        loss_case("a ray drawn often, others never", often),
        loss_case("odd", Batch(13, 11, 2, 3, 2, 5)),
        loss_case("parts of the index", Batch(8, 6, 3, 3, 4, 4, PARTS)),
        flat_case(),
        loss_case("overlapping windows, derivatives kept", Batch(5, 7, 3, 2, 3, 2), keeps_derivatives=True),
        loss_case("4 at stride 1, one channel", Batch(6, 5, 1, 1, 4, 1)),
        loss_case("more blocks than threads that add them up", Batch(600, 2, 1, 1, 2, 2)),
        loss_case("nothing but the loss", Batch(12, 3, 4, 4, 11, 3), wants_gradient=False),
        refused_order_case(),
    ]  # fmt: skip


def collect_case(name: str, batch: Batch, **report) -> Case:
    sorted_rays, positions = batch.orders.flatten().sort(stable=True)
    arguments = batch.arguments() | {"sorted_rays": sorted_rays.numpy(), "positions": positions.numpy()}
    arguments |= {"derivatives": derivatives_of(batch).astype(np.float32)}
    arguments |= {"gradient": unwritten(batch.rays, batch.channels)}
    return Case(name, "launch_s3im_collect", arguments, {"gradient": batch.exact()[2]}, TOLERANCE, **report)


def collect_cases() -> list[Case]:
    often = Batch(8, 8, 3, 3, 4, 4)
    often.orders[0], often.orders[1] = 0, 5
    return [
        collect_case("64x64 rays, two orders", Batch(64, 64, 2, 3, 4, 4), elements=4096 * 3, floor=(24, 4)),
        collect_case("a ray drawn often, others never", often),
        collect_case("odd", Batch(13, 11, 2, 3, 2, 5)),
        collect_case("overlapping windows", Batch(5, 7, 3, 2, 3, 2)),
        collect_case("11 at stride 3, four channels", Batch(12, 3, 4, 4, 11, 3)),
    ]


KERNELS = [
    Kernel(
        name="s3im",
        source="s3im.cu",
        what="S3IM and its gradient in one pass: a thread owns one channel of a window, fetches the colours of the "
        "window's rays through the orders, so that the stochastic image is never stored, computes the index and sends "
        "the gradient of 1 - mean SSIM to its rays by atomics, because other orders show them too. The blocks' sums "
        "are added in a fixed order; the gradient is scaled by the upstream one later.",
        entries=("s3im_windows<4>", "s3im_windows<0>", "mean_of_blocks<5>"),
        cases=loss_cases,
        mutations=(
            Mutation("add that is not atomic", "atomicAdd(&gradient[colour], ", "gradient[colour] += (", "race"),
            Mutation("an order that names no ray is followed", "0 <= ray && ray < g.rays;", "0 <= ray;", "bounds"),
            Mutation("padding forgotten", "start(window * stride - padding)", "start(window * stride)", "value"),
            Mutation("a tap right of the image", "min(size, length - start)", "min(size, length - start + 1)",
                     "bounds"),
            Mutation("channel taken for window", "along(place / g.channels,", "along(place % g.columns,", "value"),
            Mutation("blocks beyond the first 256 left out", "block < blocks; block += kMeanThreads",
                     "block < min(blocks, int64_t{kMeanThreads}); block += kMeanThreads", "value", "ssim_index.cuh"),
            Mutation("gradient of the luminance only", "w * (mean + 2.f * square * v + product * u)", "w * mean",
                     "value"),
        ),
    ),
    Kernel(
        name="s3im_collect",
        source="s3im.cu",
        what="The same gradient under torch.use_deterministic_algorithms: pixels are sorted by ray, and a thread that "
        "owns one channel of a ray goes through the ray's pixels in order, and through the windows over each, whose "
        "derivatives the forward pass kept. No atomics, the same bits at every call.",
        entries=("s3im_collect",),
        cases=collect_cases,
        mutations=(
            Mutation("search ends one ray late", "sorted[middle] < value", "sorted[middle] <= value", "value"),
            Mutation("reads past the last pixel", "i < g.pixels && sorted_rays[i]", "sorted_rays[i]", "bounds"),
            Mutation("padding of one axis forgotten", "(positions[i] % g.width) + g.padding",
                     "(positions[i] % g.width)", "value"),
            Mutation("derivatives mixed up",
                     "derivatives[items + item], derivatives[2 * items + item]};\n          sum",
                     "derivatives[2 * items + item], derivatives[items + item]};\n          sum", "value"),
        ),
    ),
]  # fmt: skip
