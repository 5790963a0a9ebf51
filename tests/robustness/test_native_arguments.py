"""Odd tensors in every argument of every native operator: an error or an answer, never a read past their end."""

from __future__ import annotations

import forked
import odd_arguments
import pytest
import torch

from nerf_ssim.ops import backend

pytestmark = pytest.mark.skipif(
    all(how != "native" for how, _ in backend.describe().values()), reason="the native extension was not built"
)


def test_every_operator_is_tried():
    """And each call that is varied works as it is."""
    assert sorted(odd_arguments.arguments()) == odd_arguments.operators()
    for name, values in odd_arguments.arguments().items():
        odd_arguments.operator(name)(*values)


@pytest.mark.slow
@pytest.mark.parametrize("name", odd_arguments.operators())
def test_odd_arguments_are_refused_or_answered(name):
    def act() -> int:
        odd = []
        for what, values in odd_arguments.calls(name):
            print(what, flush=True)  # the last line says where a crash was
            try:
                odd_arguments.operator(name)(*values)
                if odd_arguments.must_be_refused(what):
                    odd.append(f"{what}: answered")
            except odd_arguments.REFUSALS:
                pass
            except Exception as error:
                odd.append(f"{what}: {type(error).__name__}")
        print("\n".join(odd) or "all")
        return 0

    ended = forked.run([], act=act, seconds=120)
    assert ended.code == 0 and ended.out.splitlines()[-1] == "all", (ended.code, ended.out.splitlines()[-3:])


@pytest.mark.parametrize("wrong", [(2000, 1), (2000, 2), (1999, 3), (2000, 4), (6000,)])
@pytest.mark.parametrize("place", [0, 1])
def test_colours_of_another_width_are_refused(wrong, place):
    values = odd_arguments.arguments()["decode_color_backward"]
    values[2], values[3] = torch.rand(2000, 5), torch.rand(2000, 3)
    values[0] = values[1] = torch.rand(wrong)
    with pytest.raises(RuntimeError, match="float32"):
        torch.ops.nerf_ssim.decode_color_backward(*values)


@pytest.mark.parametrize("shape", [(1, 5, 6), (4, 1, 6), (4, 5, 1), (0, 5, 6)])
def test_an_occupancy_axis_without_a_node_is_refused(shape):
    values = odd_arguments.arguments()["march_box"]
    values[8] = torch.full(shape, 255, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="1 to 2.24 nodes"):
        torch.ops.nerf_ssim.march_box(*values)
