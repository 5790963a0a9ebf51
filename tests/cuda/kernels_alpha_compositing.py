"""Compositing of voxel densities, distortion: cases against float64 autograd of the reference, planted defects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from simulator import Case, Kernel, Mutation, single, unwritten
from torch import Tensor

from nerf_ssim.ops.reference import alpha_compositing as reference

OPTIONS = {"shift": -3.0, "interval": 0.5, "threshold": 0.01}
# Samples on each ray, and where it stops. Rays of no, one and many samples, as long as a warp and longer.
RAYS = [
    ([5, 0, 1, 30, 0, 32, 33, 64, 100], 1e-3),
    ([70, 65, 40, 3], 0.3),
    ([90] * 10, 0.0),
    ([1], 1e-3),
    ([0, 0], 1e-3),
]


def make_rays(counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Densities from empty to opaque, none within rounding of the threshold, and where each ray's begin."""
    offsets = torch.tensor([0, *np.cumsum(counts)], dtype=torch.int64)
    generator = torch.Generator().manual_seed(len(counts))
    density = (torch.randn(int(offsets[-1]), generator=generator) * 60 - 30).round() / 32
    return density.double(), offsets


def common_arguments(density: Tensor, offsets: Tensor, stop: float) -> dict:
    """What both passes begin with."""
    samples = {
        "density": single(density),
        "offsets": offsets.numpy(),
        "rays": len(offsets) - 1,
        "samples": len(density),
        **OPTIONS,
        "stop": stop,
    }
    return {"samples": samples}


def forward_cases() -> list[Case]:
    """Every set of rays."""
    cases = []
    for counts, stop in RAYS:
        density, offsets = make_rays(counts)
        weights, background = reference.composite_voxels(density, offsets, *OPTIONS.values(), stop)
        cases.append(
            Case(
                name=f"{counts[:9]} to {stop}",
                launcher="launch_composite_voxels",
                arguments={
                    **common_arguments(density, offsets, stop),
                    "weights": unwritten(len(weights)),
                    "background": unwritten(len(background)),
                },
                expected={"weights": weights.numpy(), "background": background.numpy()},
                tolerance=1e-5,
                elements=len(weights) if stop == 0.0 else 0,
                floor=(4, 4),
            )
        )
    return cases


def backward_cases() -> list[Case]:
    """Gradients of both outputs together and of each alone."""
    cases = []
    for counts, stop in RAYS:
        for wanted in [(True, True), (True, False), (False, True)]:
            density, offsets = make_rays(counts)
            density.requires_grad_()
            outputs = reference.composite_voxels(density, offsets, *OPTIONS.values(), stop)
            upstream = [
                torch.linspace(-3, 40, len(output)).cos() if want else None
                for output, want in zip(outputs, wanted, strict=True)
            ]
            loss = sum((o * g).sum() for o, g in zip(outputs, upstream, strict=True) if g is not None)
            (gradient,) = torch.autograd.grad(loss, density)
            names = ("grad_weights", "grad_background")
            cases.append(
                Case(
                    name=f"{counts[:9]} to {stop}, {wanted}",
                    launcher="launch_composite_voxels_backward",
                    arguments={
                        **common_arguments(density, offsets, stop),
                        **{n: None if g is None else single(g) for n, g in zip(names, upstream, strict=True)},
                        "grad_density": unwritten(len(density)),
                    },
                    expected={"grad_density": gradient.numpy()},
                    tolerance=1e-5,
                    elements=len(density) if stop == 0.0 and all(wanted) else 0,
                    floor=(8, 4),
                )
            )
    return cases


def distortion_cases() -> list[Case]:
    """Rays shorter and longer than a warp, beginning anywhere in one; some rays have no samples."""
    cases = []
    for counts in [[40, 0, 3, 1, 90, 20], [1] * 70, [33, 31, 32, 64], [300], [1]]:
        rays = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        generator = torch.Generator().manual_seed(len(rays))
        weights = (torch.rand(len(rays), generator=generator) * 0.1).double().requires_grad_()
        s = torch.rand(len(rays), generator=generator)
        s = s[torch.argsort(rays + s)].double()
        loss = reference.distortion_loss(weights, s, rays, 0.01)
        (gradient,) = torch.autograd.grad(loss, weights)
        cases.append(
            Case(
                name=f"{counts[:6]}",
                launcher="launch_distortion",
                arguments={
                    "packed": {
                        "weights": single(weights),
                        "s": single(s),
                        "ray_index": rays.numpy(),
                        "samples": len(rays),
                        "interval": 0.01,
                    },
                    "scratch": unwritten(-(-len(rays) // 32)),
                    "loss": unwritten(1),
                    "gradient": unwritten(len(rays)),
                },
                expected={"loss": loss.detach().numpy().reshape(1), "gradient": gradient.numpy()},
                tolerance=1e-5,
                elements=len(rays) if len(counts) == 6 else 0,
                floor=(16, 4),
            )
        )
    return cases


KERNELS = [
    Kernel(
        name="composite_voxels",
        source="alpha_compositing.cu",
        what="Opacity of raw densities and weights along each ray. A warp owns a ray and takes 32 samples at once: a "
        "scan by shuffles gives the light before each, a ballot says which are still reached, and the ray ends with "
        "the sample after which less than `stop` is left.",
        entries=("composite_voxels",),
        cases=forward_cases,
        mutations=(
            Mutation("threshold forgotten", "  if (!(alpha > samples.threshold)) return {0.0f, 0.0f};\n", "", "value"),
            Mutation(
                "the last sample is left out",
                "return {min(first + reached, end), light};",
                "return {min(first + reached - 1, end), light};",
                "value",
            ),
            Mutation(
                "stops a warp late", "    if (light < samples.stop) return", "    if (light < 0.0f) return", "value"
            ),
            Mutation(
                "light of the lanes before forgotten",
                "const float behind = light * warp",
                "const float behind = warp",
                "value",
            ),
            Mutation(
                "samples behind the end unwritten",
                "s < end; s += kWarpLanes) weights[s] = 0.0f;",
                "s < begin; s += kWarpLanes) weights[s] = 0.0f;",
                "value",
            ),
        ),
    ),
    Kernel(
        name="composite_voxels_backward",
        source="alpha_compositing.cu",
        what="The same along the ray, leaving the light that reaches each sample where its gradient will be; then "
        "back, 32 samples at a time, composing by shuffles what later samples pull at the light.",
        entries=("composite_voxels_backward",),
        cases=backward_cases,
        mutations=(
            Mutation(
                "all light reaches every sample", "grad_density[s] = reaching;", "grad_density[s] = 1.0f;", "value"
            ),
            Mutation(
                "background pulls nothing",
                "float carried = grad_background ? grad_background[ray] : 0.0f;",
                "float carried = 0.0f;",
                "value",
            ),
            Mutation(
                "a later sample gets a gradient",
                "for (int64_t stop = last.sample;",
                "for (int64_t stop = end;",
                "value",
            ),
            Mutation("slope of the softplus forgotten", "(x > 0.0f ? 1.0f : e) / (1.0f + e)", "1.0f", "value"),
        ),
    ),
    Kernel(
        name="distortion",
        source="alpha_compositing.cu",
        what="Distortion of packed weights and its gradient, in linear time. A warp owns 32 samples and takes the rays "
        "that begin among them: once for their sums, once more with scans by shuffles. A second kernel adds the warps' "
        "sums in a fixed order.",
        entries=("distortion", "add_in_order"),
        cases=distortion_cases,
        mutations=(
            Mutation(
                "a ray longer than a warp is cut",
                "goes_on = __all_sync(kWholeWarp, is_sample);",
                "goes_on = false;",
                "value",
            ),
            Mutation("scan counts the sample itself", "return lane == 0 ? 0.0f : before;", "return sum;", "value"),
            Mutation("only the first ray of a warp", "heads; heads &= heads - 1)", "heads; heads = 0)", "value"),
            Mutation("not a mean over rays", "packed.ray_index[packed.samples - 1] + 1);", "packed.samples);", "value"),
            Mutation(
                "a warp reads past the last sample",
                "const bool begins = mine < packed.samples && (",
                "const bool begins = (",
                "bounds",
            ),
        ),
    ),
]
