"""The usual call of a native op costs the host little, with the bits of the call that transforms of functions see."""

from __future__ import annotations

import sys

import pytest
import torch

from nerf_ssim.ops.calls import Call, flattened
from nerf_ssim.ops.compositing import COMPOSITE
from nerf_ssim.ops.differentiation import Differentiable
from tests.ops.native_parity import require_native

MOST_CALLS = 235
"""Functions, Python's and built-in ones, that compositing and its gradient call: 216, and 255 with `Differentiable` in
the place of `ops.eager`. They are most of what the host does for an op, and can be counted on a busy machine."""


@pytest.fixture(autouse=True)
def kernels():
    require_native("composite")


def arguments():
    sigma, delta, _, scale = next(iter(COMPOSITE.examples()))
    return sigma.requires_grad_(), delta, torch.tensor([0, 5, 5, 6, 36, 36]), scale


def gradient(results, sigma):
    weights, opacity, light = results
    return torch.autograd.grad(weights, sigma, torch.ones_like(weights))[0]


def test_a_call_and_its_gradient_run_few_functions_of_python():
    args = arguments()
    upstream = torch.ones_like(args[0])

    def call():
        torch.autograd.grad(COMPOSITE(*args)[0], args[0], upstream)

    call()  # the first finds the kernel
    events = []
    sys.setprofile(lambda frame, event, _: events.append(event))
    try:
        call()
    finally:
        sys.setprofile(None)
    count = events.count("call") + events.count("c_call")
    assert count <= MOST_CALLS


def test_bits_are_those_of_the_function_that_transforms_see():
    args = arguments()
    flat, widths = flattened(args)
    outputs = Differentiable.apply(Call(COMPOSITE, (True,), None, widths), *flat)
    results = COMPOSITE(*args)
    assert all(torch.equal(a, b) for a, b in zip(results, outputs, strict=True))
    assert torch.equal(gradient(results, args[0]), gradient(outputs, args[0]))


def test_without_a_gradient_the_results_are_constants_of_the_same_bits():
    args = arguments()
    with torch.no_grad():
        results = COMPOSITE(*args)
    alone = COMPOSITE(args[0].detach(), *args[1:])
    assert not any(each.requires_grad for each in (*results, *alone))
    assert all(
        torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(results, COMPOSITE(*args), alone, strict=True)
    )
