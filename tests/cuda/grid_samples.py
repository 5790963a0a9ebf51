"""Factorised grids of many shapes and their float64 results: what the cases of the grids' kernels are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from simulator import single
from torch import Tensor

from nerf_ssim.ops.reference import grids as reference

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Shape:
    """Nodes along x, y, z, channels of each orientation and number of samples; `is_crowded`: all in two cells."""

    nodes: tuple[int, int, int]
    channels: tuple[int, int, int]
    samples: int
    is_crowded: bool = False


# Channels in fours, more than four lanes hold at once, single ones, different ones, an axis with one node; one, none.
SHAPES = (
    Shape((7, 5, 9), (16, 16, 16), 150),
    Shape((6, 4, 5), (20, 4, 24), 70),
    Shape((3, 2, 4), (5, 1, 7), 50),
    Shape((1, 3, 2), (4, 4, 4), 40),
    Shape((4, 4, 4), (16, 16, 16), 100, is_crowded=True),
    Shape((2, 2, 2), (3, 3, 3), 1),
    Shape((2, 2, 2), (8, 8, 8), 0),
)
CP_SHAPES = tuple(Shape(s.nodes, (s.channels[0],) * 3, s.samples, s.is_crowded) for s in SHAPES)


def make_coords(shape: Shape) -> Tensor:
    """Points of which some are outside the box, some on its faces and in its corners and one is nowhere."""
    generator = torch.Generator().manual_seed(shape.samples)
    coords = torch.rand(shape.samples, 3, generator=generator) * 2.6 - 1.3
    if shape.is_crowded:
        coords = coords * 0.2 / 1.3 + 0.3
    elif shape.samples > 20:
        coords[:10] = coords[:10].sign()
        coords[10:15, 1] = 1.0
        coords[15] = torch.tensor([5.0, -1e9, 0.0])
        coords[16:20] = -1.0 - 1e-3
    return coords


class Sampled:
    """A grid sampled at points in double precision, with the gradients of all its parts."""

    def __init__(self, op: str, shape: Shape) -> None:
        x, y, z = shape.nodes
        generator = torch.Generator().manual_seed(x)
        lengths = (z, y, x) if op.startswith("vm") else (x, y, z)
        sizes = [(n, c) for n, c in zip(lengths, shape.channels, strict=True)]
        if op.startswith("vm"):
            sizes = [(*vu, c) for vu, c in zip(((y, x), (z, x), (z, y)), shape.channels, strict=True)] + sizes
        self.parts = [torch.randn(size, generator=generator).double().requires_grad_() for size in sizes]
        self.coords = make_coords(shape)
        self.shape, self.is_features = shape, op.endswith("features")
        inputs = (self.parts[:3], self.parts[3:]) if op.startswith("vm") else (self.parts,)
        self.out = getattr(reference, op)(*inputs, self.coords.double())
        self.upstream = torch.linspace(-1, 1.5, self.out.numel()).cos().reshape(self.out.shape)
        self.gradients = [g.numpy() for g in torch.autograd.grad(self.out, self.parts, self.upstream.double())]

    def grid(self) -> dict:
        """The grid as the launchers take it."""
        channels = self.shape.channels if len(self.parts) == 6 else self.shape.channels[0]
        return {**by_part([single(part) for part in self.parts]), "nodes": self.shape.nodes, "channels": channels}


def by_part(arrays: Sequence[np.ndarray]) -> dict[str, tuple[np.ndarray, ...]]:
    """Arrays of the planes, of a VM grid, and of the lines."""
    planes = {"planes": tuple(arrays[:3])} if len(arrays) == 6 else {}
    return {**planes, "lines": tuple(arrays[-3:])}


def each_case(op: str) -> Iterator[tuple[Sampled, str]]:
    """A sampled grid of every shape and the case's name."""
    is_vm = op.startswith("vm")
    for shape in SHAPES if is_vm else CP_SHAPES:
        name = f"{shape.nodes} nodes, {shape.channels} channels, {shape.samples} samples"
        yield Sampled(op, shape), name
