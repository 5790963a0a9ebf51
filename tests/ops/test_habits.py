"""Ops in other programs' surroundings: under autocast, and with tensors that lie on different devices."""

from __future__ import annotations

import pytest
import torch
from tiny_scene import tiny_config, write_tiny_scene

from nerf_ssim.ops.compositing import accumulate
from nerf_ssim.ops.total_variation import planes_tv
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step


def samples():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(50, generator=generator), torch.rand(50, 3, generator=generator), torch.arange(50) // 10


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_has_no_say_inside_of_an_op(dtype):
    weights, values, rays = samples()
    weights.requires_grad_()
    plain = accumulate(weights, values, rays, 5)
    (gradient,) = torch.autograd.grad(plain.sum(), weights)
    with torch.autocast("cpu", dtype=dtype):
        under = accumulate(weights, values, rays, 5)
        (gradient_under,) = torch.autograd.grad(under.sum(), weights)
    assert torch.equal(under, plain) and torch.equal(gradient_under, gradient)


def test_what_autocast_has_halved_before_is_taken():
    weights, values, rays = samples()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        colours = values @ torch.eye(3)
        assert colours.dtype == torch.bfloat16
        assert torch.equal(accumulate(weights, colours, rays, 5), accumulate(weights, colours.float(), rays, 5))


@pytest.mark.parametrize("model", ["tensorf", "dvgo"])
def test_a_training_step_under_autocast_runs(model, tmp_path):
    scene = write_tiny_scene(tmp_path / "scene")
    options = {"tensorf": {"upsamp_list": [], "update_AlphaMask_list": []}, "dvgo": {"pg_scale": []}}[model]
    steps = []
    for name, is_on in (("plain", False), ("autocast", True)):
        session = Session(tiny_config(scene, tmp_path / name, model, **options))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_on):
            steps.append(take_step(session.recipe, session.batches, session.s3im, 1.0, 0))
        assert all(parameter.isfinite().all() for parameter in session.recipe.field.parameters())
    torch.testing.assert_close(steps[1].terms["mse"].float(), steps[0].terms["mse"], rtol=0.02, atol=0)


def test_tensors_on_different_devices_are_named():
    weights, values, rays = samples()
    with pytest.raises(ValueError, match="accumulate: values is on meta, weights on cpu; move them to one device"):
        accumulate(weights, values.to("meta"), rays, 5)
    with pytest.raises(ValueError, match="planes_tv: planes is on meta, planes on cpu"):
        planes_tv([torch.ones(2, 2, 1), torch.ones(2, 2, 1, device="meta")])
