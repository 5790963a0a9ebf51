"""A step of DVGO: losses, gradients and updates against their formulas."""

from __future__ import annotations

import pytest
import torch
from dvgo_sessions import explicit, random_session
from explicit_dvgo import (
    adam,
    distortion,
    entropy,
    point_error,
    render,
    variation_pull,
)
from explicit_tensorf import s3im_loss
from tiny_scene import tiny_config

from nerf_ssim.training.objective import photometric_terms
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dvgo", "bounded dvgo"])
def test_every_gradient_of_a_whole_step_is_the_formulas(scene, tmp_path, kind):
    weights = {"weight_distortion": 0.3} if kind == "dvgo" else {}
    weights |= {"weight_entropy_last": 0.2, "weight_rgbper": 0.4, "rand_bkgd": kind == "dvgo"}
    weights |= {"coarse_weight_entropy_last": 0.2, "coarse_weight_rgbper": 0.4}
    sizes = {"batch_size": 16, "s3im_patch_height": 4, "s3im_patch_width": 4, "s3im_repeat_time": 2, "s3im_weight": 1.5}
    session = random_session(scene, tmp_path, kind, num_voxels=1728, **weights, **sizes)
    recipe = session.recipe
    batch = session.batches.next()
    recipe.before_step(0)
    state = session.generators["background"].get_state()
    orders_state = session.s3im.get_state()
    rendered = recipe.render(batch.rays, 0)
    terms, _ = photometric_terms(rendered.rgb, batch.rgb, session.s3im, 1.5)
    terms |= recipe.regularizers(0, rendered, batch.rgb)
    sum(terms.values()).backward()

    generator = torch.Generator()
    generator.set_state(state)
    background = torch.rand(16, 3, generator=generator) if kind == "dvgo" else torch.zeros(16, 3)
    generator.set_state(orders_state)
    orders = [list(range(16)), torch.randperm(16, generator=generator).tolist()]
    formula = explicit(session, recipe.threshold)
    rgb, light, _ = render(formula, batch.rays.origins, batch.rays.directions, background)
    assert len(formula.coloured) > 100 and min(formula.margins) > 1e-6
    target = batch.rgb.double()
    expected = {
        "mse": ((rgb - target) ** 2).sum() / 48,
        "ssim": 1.5 * s3im_loss(rgb, target, orders, height=4),
        "entropy_last": 0.2 * entropy(light),
        "rgbper": 0.4 * point_error(formula, target),
    }
    if kind == "dvgo":
        n_places = 2 * (int(2 / 2.4 * recipe.field.resolution[0] / 0.5) + 1)
        expected["distortion"] = 0.3 * distortion(formula, n_places)
    assert set(terms) == set(expected)
    for name, term in terms.items():
        assert term.item() == pytest.approx(expected[name].item(), rel=2e-4), name
    sum(expected.values()).backward()
    for name, parameter in recipe.field.named_parameters():
        theirs = formula.parameters[name].grad
        scale = theirs.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(
            parameter.grad.double(), theirs, rtol=2e-3, atol=2e-4 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_updates_are_masked_adam_with_total_variation_on_the_grids_and_adam_on_the_network(scene, tmp_path):
    session = random_session(scene, tmp_path, "dvgo", tv_dense_before=1, weight_tv_density=40.0, weight_tv_k0=20.0)
    recipe = session.recipe
    values, gradients = [], []
    original = recipe.optimizer.step

    def spy():
        values.append({name: p.detach().double().clone() for name, p in recipe.field.named_parameters()})
        gradients.append({name: p.grad.double().clone() for name, p in recipe.field.named_parameters()})
        original()

    recipe.optimizer.step = spy
    for iteration in range(2):  # the moments of the first tell whether idle voxels stand still in the second
        take_step(recipe, session.batches, session.s3im, 1.0, iteration)
    scale = max(recipe.field.resolution) / 128 / 64 / 6
    for name, parameter in recipe.field.named_parameters():
        steps, is_grid = [], name.endswith("values")
        for before, gradient in zip(values, (g[name] for g in gradients), strict=True):
            if is_grid:
                weight = {"density.values": 40.0, "k0.values": 20.0}[name] * scale
                for node in map(tuple, gradient.abs().sum(3).nonzero().tolist()):
                    pull = variation_pull(before[name], node, weight)
                    gradient[node] += torch.where(gradient[node] != 0, pull, 0)
            steps.append(gradient)
        rates = [0.001 if name.startswith("rgbnet") else 0.1] * 2
        rates[1] *= 0.1 ** (1 / 20000)
        expected = adam(values[0][name], steps, rates, skips_zero=is_grid)
        if is_grid:
            assert ((steps[0] != 0) & (steps[1] == 0)).sum() > 3, "some voxels must become idle"
        near_zero = sum((g != 0) & (g.abs() < 1e-6) for g in steps) > 0  # rounding may turn the sign of such a step
        torch.testing.assert_close(parameter.detach().double()[~near_zero], expected[~near_zero], rtol=1e-4, atol=3e-5)


def test_total_variation_pulls_planes_and_lines_along_their_own_axes(scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, "vm dvgo", weight_tv_density=40.0, weight_tv_k0=20.0))
    recipe, before, moments = session.recipe, {}, {}
    scale = max(recipe.field.resolution) / 128 / 64 / 6
    original = recipe.optimizer.step

    def spy():
        before.update({name: (p.detach().clone(), p.grad.clone()) for name, p in recipe.field.named_parameters()})
        original()

    recipe.optimizer.step = spy
    take_step(recipe, session.batches, session.s3im, 1.0, 0)
    moments = {name: recipe.optimizer.state[p]["exp_avg"] for name, p in recipe.field.named_parameters()}
    for name, (values, gradient) in before.items():
        weight = {"density": 40.0, "k0": 20.0}.get(name.partition(".")[0], 0.0) * scale
        pull = torch.zeros_like(values)
        for axis in range(values.dim() - 1 if weight else 0):
            difference = values.diff(dim=axis).clamp(-1, 1) * weight
            pull.narrow(axis, 0, values.shape[axis] - 1).sub_(difference)
            pull.narrow(axis, 1, values.shape[axis] - 1).add_(difference)
        assert not weight or pull.abs().max() > 1e-5, name
        torch.testing.assert_close(moments[name], 0.1 * (gradient + pull), rtol=1e-4, atol=1e-9, msg=name)
