"""The loss of a whole step and its gradients, against the formulas' own in float64."""

from __future__ import annotations

import pytest
import torch
from explicit_tensorf import Explicit, render, s3im_loss, total_variation
from tiny_scene import tiny_config, write_tiny_scene

from nerf_ssim.rays.cameras import Rays
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.training.objective import PART_FIGURES, gradient_norms, part_figures, photometric_terms
from nerf_ssim.training.session import Session

ITERATION = 3
TV_DECAY = 0.1 ** (4 / 14)  # the factor is multiplied in before each use: four times by iteration 3 of 14
WEIGHTS = {"TV_weight_density": 2.0, "TV_weight_app": 3.0}  # heavy, so that no term drowns in another's rounding


def dense_session(tmp_path, grid: str, s3im_weight: float = 1.5) -> Session:
    """A tiny session whose density is scaled up until many samples get a colour."""
    components = {} if grid == "vm" else {"n_lamb_sigma": [9], "n_lamb_sh": [9]}
    scene = write_tiny_scene(tmp_path / "scene")
    options = WEIGHTS | components | {"grid": grid, "N_voxel_init": 300, "density_shift": -10.0}
    # A seed at which no unit of the decoder is at its kink, where rounding would decide about a whole gradient.
    session = Session(tiny_config(scene, tmp_path, s3im_weight=s3im_weight, seed=8, **options))
    generator = torch.Generator().manual_seed(3)
    field = session.recipe.field
    with torch.no_grad():
        for parameter in field.density_grid.parameters():
            parameter.copy_((0.9 if grid == "vm" else 1.1) * torch.randn(parameter.shape, generator=generator).abs())
        for parameter in field.appearance_grid.parameters():
            parameter.mul_(10)
    return session


@pytest.mark.slow
@pytest.mark.parametrize("background", [0.0, 1.0])
@pytest.mark.parametrize("grid", ["vm", "cp"])
def test_every_gradient_of_a_whole_step_is_the_formulas(tmp_path, grid, background):
    session = dense_session(tmp_path, grid)
    field, n_samples = session.recipe.field, session.recipe.n_samples
    batch = session.batches.next()
    jitter = torch.rand(64, generator=torch.Generator().manual_seed(1))
    orders = S3IM(patch_height=8, patch_width=8).draw_orders(generator_in(session.s3im.get_state()))
    rendered = field.render(batch.rays, n_samples=n_samples, jitter=jitter, background=background)
    terms, _ = photometric_terms(rendered.rgb, batch.rgb, session.s3im, 1.5)
    terms |= session.recipe.regularizers(ITERATION, rendered, batch.rgb)
    sum(terms.values()).backward()

    formula = Explicit.of(field, n_samples)
    rgb, _, _ = render(formula, batch.rays.origins, batch.rays.directions, jitter, background)
    assert formula.n_coloured > 300 and min(formula.margins) > 1e-6
    target = batch.rgb.double()
    expected = {
        "mse": ((rgb - target) ** 2).sum() / (64 * 3),
        "ssim": 1.5 * s3im_loss(rgb, target, orders.tolist(), height=8),
        "tv_density": 2.0 * TV_DECAY * total_variation(formula, "density_grid"),
        "tv_app": 3.0 * TV_DECAY * total_variation(formula, "appearance_grid"),
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=2e-5), name
    sum(expected.values()).backward()
    for name, parameter in field.named_parameters():
        theirs = formula.parameters[name].grad
        scale = theirs.abs().max().item()
        assert scale > 1e-7, f"{name} has no gradient to compare"
        error = (parameter.grad.double() - theirs).abs().max().item()
        assert error < 5e-5 * scale, f"{name}: off by {error:.2e}, largest {scale:.2e}"


def generator_in(state: torch.Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def test_the_orders_are_the_batchs_own_and_nine_different_permutations():
    orders = S3IM(patch_height=8, patch_width=8).draw_orders()
    assert orders.shape == (10, 64) and torch.equal(orders[0], torch.arange(64))
    assert all(torch.equal(order.sort().values, torch.arange(64)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 10


def test_off_is_not_computed_and_draws_nothing():
    s3im = S3IM(patch_height=8, patch_width=8)
    before = s3im.get_state()
    rendered = torch.rand(64, 3, requires_grad=True)
    terms, result = photometric_terms(rendered, torch.rand(64, 3), s3im, 0.0)
    assert list(terms) == ["mse"] and result is None and torch.equal(s3im.get_state(), before)


def test_the_mse_does_not_hold_the_ssim_term():
    rendered, target = torch.rand(64, 3), torch.rand(64, 3)
    s3im = S3IM(patch_height=8, patch_width=8)
    alone, _ = photometric_terms(rendered, target, s3im, 0.0)
    beside, result = photometric_terms(rendered, target, s3im, 2.0)
    assert alone["mse"] == beside["mse"] == ((rendered - target) ** 2).mean()
    assert beside["ssim"].item() == pytest.approx(2 * (1 - result.statistics.ssim.item()), rel=1e-6)


def test_gradient_norms_are_of_each_weighted_term_alone():
    a, b = torch.tensor([3.0, 4.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    unused = torch.ones(2, requires_grad=True)
    terms = {"mse": (a * a).sum() / 2, "ssim": 2 * b.sum() + a[0], "tv": torch.tensor(5.0)}
    norms = gradient_norms(terms, [a, b, unused])
    assert {name: value.item() for name, value in norms.items()} == pytest.approx(
        {"grad_mse": 5.0, "grad_ssim": 5.0**0.5, "grad_tv": 0.0}
    )
    assert a.grad is None, "measuring must not leave gradients behind"


def test_an_opaque_white_field_is_clamped_before_the_losses(tmp_path):
    """The white background is added before the clamp: colours never leave [0, 1]."""
    session = dense_session(tmp_path, "vm")
    batch = session.batches.next()
    rendered = session.recipe.field.render(Rays(batch.rays.origins, batch.rays.directions), background=1.0)
    assert rendered.rgb.min() >= 0 and rendered.rgb.max() <= 1


def test_part_figures_are_norms_and_cosines_of_two_gradients_that_add_up_to_ssims():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.rand(3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    offset = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    target = torch.rand(64, 3, generator=generator, dtype=torch.float64)
    rendered = 0.5 * target @ matrix + offset
    terms, result = photometric_terms(rendered, target, S3IM(patch_height=8, patch_width=8), 1.7, measures_parts=True)
    parameters = [matrix, offset]
    figures = part_figures(terms["mse"], result.parts, 1.7, rendered, parameters)
    assert tuple(figures) == PART_FIGURES

    def flat(value, leaves):
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, leaves, retain_graph=True)])

    for leaves, colour in ((parameters, ""), ([rendered], "colour_")):
        mse = flat(terms["mse"], leaves)
        parts = [flat(1.7 * part, leaves) for part in result.parts]
        torch.testing.assert_close(sum(parts), flat(terms["ssim"], leaves))
        for name, part in zip(("luminance", "structure"), parts, strict=True):
            assert figures[f"{colour}grad_{name}"].item() == pytest.approx(part.norm().item())
            cosine = torch.dot(part, mse) / (part.norm() * mse.norm())
            assert figures[f"{colour}cosine_{name}"].item() == pytest.approx(cosine.item())
    assert figures["colour_grad_mse"].item() == pytest.approx(flat(terms["mse"], [rendered]).norm().item())
    assert matrix.grad is None, "measuring must not leave gradients behind"


def test_cosine_with_a_gradient_of_zero_is_undefined():
    rendered = torch.full((64, 3), 0.5, requires_grad=True)
    target = torch.full((64, 3), 0.5)
    terms, result = photometric_terms(rendered, target, S3IM(patch_height=8, patch_width=8), 1.0, measures_parts=True)
    figures = part_figures(terms["mse"], result.parts, 1.0, rendered, [rendered])
    assert figures["colour_grad_mse"] == 0 and figures["cosine_luminance"].isnan()
