"""Whole steps and runs on the GPU. With NERF_SSIM_TEST_DEVICE=cpu they rehearse on the processor."""

from __future__ import annotations

import pytest
import torch
from tiny_scene import differing, tiny_config, train_session, weights_of, write_tiny_scene

from nerf_ssim.models.parts.thinning import draw_by_weight
from nerf_ssim.ops.grids import vm_basis_features
from nerf_ssim.ops.reference.grids import vm_features
from nerf_ssim.runs.determinism import repeatable
from nerf_ssim.training.scoring import score_run
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step

MODELS = ("tensorf", "dvgo", "bounded dvgo")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("gpu") / "scene")


@pytest.mark.parametrize("model", MODELS)
def test_a_training_step_is_that_of_the_processor(model, scene, tmp_path, device):
    """One seed draws the same weights, pixels and jitter on every device."""
    terms = {}
    for name in ("cpu", device):
        session = Session(tiny_config(scene, tmp_path / name.replace(":", "_"), model, device=name))
        step = take_step(session.recipe, session.batches, session.s3im, 1.0, 0)
        assert {parameter.device.type for parameter in session.recipe.field.parameters()} == {torch.device(name).type}
        terms[name] = {term: float(value) for term, value in step.terms.items()}
    for term, value in terms["cpu"].items():
        assert terms[device][term] == pytest.approx(value, rel=1e-3, abs=1e-6), term


@pytest.mark.parametrize("model", MODELS)
def test_a_deterministic_run_that_is_stopped_and_resumed_ends_with_the_same_bits(model, scene, tmp_path, device):
    options = {"device": device, "deterministic": True}
    with repeatable(True):
        whole = train_session(tiny_config(scene, tmp_path / "whole", model, **options))
        train_session(tiny_config(scene, tmp_path / "parts", model, stop_at=6, **options))
        parts = train_session(tiny_config(scene, tmp_path / "parts", model, resume=True, **options))
    assert differing(weights_of(whole), weights_of(parts)) == []


def test_a_run_is_scored(scene, tmp_path, device):
    session = train_session(tiny_config(scene, tmp_path, device=device))
    scores = score_run(session)
    assert scores.means["psnr"] > 5


def test_thinning_draws_the_same_samples_with_whole_sums(device):
    generator = torch.Generator().manual_seed(2)
    weights, phase = torch.rand(4000, generator=generator) / 40, torch.rand(100, generator=generator)
    offsets = torch.arange(101) * 40
    with repeatable(True):
        of_cpu = draw_by_weight(weights, offsets, 1e-4, 6, phase)
        of_device = draw_by_weight(weights.to(device), offsets.to(device), 1e-4, 6, phase.to(device))
    assert torch.equal(of_cpu[0], of_device[0].cpu())
    torch.testing.assert_close(of_cpu[1], of_device[1].cpu())


def test_features_in_a_basis_are_the_reference_s(device):
    generator = torch.Generator().manual_seed(3)
    planes = [torch.randn(9, 7, 16, generator=generator), torch.randn(5, 7, 16, generator=generator),
              torch.randn(5, 9, 16, generator=generator)]  # fmt: skip
    lines = [torch.randn(n, 16, generator=generator) for n in (5, 9, 7)]
    basis, coords = torch.randn(27, 48, generator=generator), 2 * torch.rand(500, 3, generator=generator) - 1
    moved = [each.to(device) for each in (*planes, *lines, basis, coords)]
    actual = vm_basis_features(tuple(moved[:3]), tuple(moved[3:6]), moved[6], moved[7])
    exact = [each.double() for each in (*planes, *lines, basis, coords)]
    expected = vm_features(exact[:3], exact[3:6], exact[7]) @ exact[6].T
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=1e-3, atol=1e-3)


def test_autocast_around_a_step_is_harmless(scene, tmp_path, device):
    session = Session(tiny_config(scene, tmp_path, device=device))
    with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
        take_step(session.recipe, session.batches, session.s3im, 1.0, 0)
    assert all(parameter.isfinite().all() for parameter in session.recipe.field.parameters())


def test_a_second_gpu_is_used_by_its_name(scene, tmp_path, device):
    if torch.device(device).type != "cuda" or torch.cuda.device_count() < 2:
        pytest.skip("needs a second GPU")
    other = next(f"cuda:{i}" for i in range(2) if i != (torch.device(device).index or 0))
    session = Session(tiny_config(scene, tmp_path, device=other))
    step = take_step(session.recipe, session.batches, session.s3im, 1.0, 0)
    assert {str(value.device) for value in step.terms.values()} == {other}
