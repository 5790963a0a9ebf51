"""Rays through pixels: cases against the reference in float64, and planted defects."""

from __future__ import annotations

import torch
from simulator import Case, Kernel, Mutation, single, unwritten

from nerf_ssim.ops.reference.pixel_rays import pixel_rays


def case(name: str, shape: tuple[int, int, int], count: int, *, elements: int = 0, outside: bool = False) -> Case:
    """`count` random pixels of views, rows and columns; with `outside`, the first and the last are no view's."""
    generator = torch.Generator().manual_seed(count)
    views, height, width = shape
    images = torch.randint(256, (*shape, 3), generator=generator, dtype=torch.uint8)
    c2w = torch.randn(views, 3, 4, generator=generator).double()
    K = torch.tensor([[30.0, 0.3, 7.2], [0.0, 28.0, 5.1], [0.0, 0.0, 1.0]]).double() * torch.ones(views, 1, 1)
    pixels = torch.randint(views * height * width, (count,), generator=generator)
    expected = [each.clone() for each in pixel_rays(pixels, images, c2w, K)]
    if outside:
        pixels[0], pixels[-1] = -1, views * height * width
        for each in expected:
            each[0] = each[-1] = float("nan")
    return Case(
        name=name,
        launcher="launch_pixel_rays",
        arguments={
            "views": {
                "pixels": pixels.numpy(),
                "count": count,
                "views": views,
                "height": height,
                "width": width,
                "images": images.numpy(),
                "c2w": single(c2w),
                "K": single(K),
            },
            "out": {name: unwritten(count, 3) for name in ("origins", "directions", "rgb")},
        },
        expected={
            "out": {
                n: each.double().numpy() for n, each in zip(("origins", "directions", "rgb"), expected, strict=True)
            }
        },
        elements=elements,
        floor=(11, 36) if elements else (0, 0),
    )


def cases() -> list[Case]:
    """Many rays, one view of one pixel, pixels that are not there, none."""
    return [
        case("300 rays of 3 views", (3, 11, 17), 300, elements=300),
        case("one pixel", (1, 1, 1), 1),
        case("pixels outside", (2, 3, 5), 40, outside=True),
        case("none", (1, 2, 2), 0),
    ]


KERNELS = [
    Kernel(
        name="pixel_rays",
        source="pixel_rays.cu",
        what="A training batch: origin, unit direction and colour of each pixel, one thread a pixel. Every operation "
        "is rounded as on the CPU, so that both see the same rays.",
        entries=("pixel_rays",),
        cases=cases,
        mutations=(
            Mutation("one ray too many", "i >= views.count", "i > views.count", "bounds"),
            Mutation(
                "a pixel behind the last is read", "pixel >= views.views * area", "pixel > views.views * area", "bounds"
            ),
            Mutation("corner for centre", "static_cast<float>(row) + 0.5f", "static_cast<float>(row)", "value"),
            Mutation("skew forgotten", "__fmul_rn(K[1], down)", "__fmul_rn(0.0f, down)", "value"),
            Mutation("camera of the first view", "views.c2w + 12 * view", "views.c2w", "value"),
        ),
    ),
]
