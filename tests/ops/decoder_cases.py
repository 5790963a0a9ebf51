"""Inputs of the colour decoder's tests, and what each of them looks at."""

from __future__ import annotations

import math

import pytest
import torch

from nerf_ssim.ops import backend
from nerf_ssim.ops.decoder import DecoderWeights, decode_color, decoder_inputs

needs_native = pytest.mark.skipif(
    backend.implementation("decode_color") != "native", reason="the native extension has no decoder kernel here"
)
SHAPES = {  # features, feature frequencies, view frequencies, hidden widths
    "tensorf": (27, 2, 2, 128, 128),
    "tensorf_64": (27, 2, 2, 64, 64),
    "dvgo": (12, 0, 4, 128, 128),
    "plain_odd": (5, 1, 0, 33, 21),
}
BESIDE_A_VECTOR = [(features, 2, 2, 64, 64) for features in (1, 16, 17)]
"""Shapes whose features end a vector of sixteen floats, begin another, or are one."""


def make_case(samples, shape="tensorf", dtype=torch.float32, scale=1.0):
    """Inputs of so many samples, for a shape or the name of one of `SHAPES`."""
    features, feature_frequencies, view_frequencies, hidden1, hidden2 = SHAPES.get(shape, shape)
    generator = torch.Generator().manual_seed(samples + 7)
    inputs = decoder_inputs(features, feature_frequencies, view_frequencies)
    sizes = ((hidden1, inputs), (hidden1,), (hidden2, hidden1), (hidden2,), (3, hidden2), (3,))
    layers = [torch.randn(size, generator=generator) / math.sqrt(size[-1]) for size in sizes]
    values = torch.randn(samples, features, generator=generator) * scale
    directions = torch.nn.functional.normalize(torch.randn(samples, 3, generator=generator), dim=-1)
    tensors = [tensor.to(dtype).requires_grad_() for tensor in (values, *layers)]
    frequencies = {"feature_frequencies": feature_frequencies, "view_frequencies": view_frequencies}
    return tensors[0], directions.to(dtype), DecoderWeights(*tensors[1:]), frequencies


def values_and_gradients(case, **options):
    features, directions, layers, frequencies = case
    rgb = decode_color(features, directions, layers, **frequencies, **options)
    upstream = torch.linspace(-1.0, 2.0, rgb.numel(), dtype=rgb.dtype).reshape(rgb.shape)
    return rgb.detach(), torch.autograd.grad((rgb * upstream).sum(), (features, *layers))
