"""The sine network: its formula, and the native kernels against the specification in float64."""

from __future__ import annotations

import math

import pytest
import torch

from nerf_ssim.ops import backend
from nerf_ssim.ops import siren as siren_module
from nerf_ssim.ops.siren import PRECISIONS, ActivationMemory, siren, siren_fit
from tests.ops.native_parity import bf16_units, pretend_bf16_unit, require_native, threads

WIDTHS = {
    "small": (2, 64, 64, 64, 64, 1),
    "colour": (2, 48, 48, 3),
    "odd": (3, 33, 21, 50, 2),
    "deep_products": (2, 300, 520, 40, 1),  # products in one, two and three pieces
    "one_sine": (2, 17, 1),
}


def make_case(points, widths=WIDTHS["small"], omega=30.0, dtype=torch.float32, scale=1.0):
    generator = torch.Generator().manual_seed(points + len(widths))
    layers = []
    for number, (n_in, n_out) in enumerate(zip(widths, widths[1:], strict=False)):
        bound = 1 / n_in if number == 0 else math.sqrt(6 / n_in) / omega
        for shape in ((n_out, n_in), (n_out,)):
            values = (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * bound * scale
            layers.append(values.float().to(dtype).requires_grad_())
    inputs = (torch.rand(points, widths[0], generator=generator, dtype=torch.float64) * 2 - 1).float().to(dtype)
    target = torch.rand(points, widths[-1], generator=generator, dtype=torch.float64)
    return inputs, target, layers, omega


def to_float64(case):
    inputs, target, layers, omega = case
    return inputs.double(), target, [layer.detach().double().requires_grad_() for layer in layers], omega


def forward_and_gradients(case, memory=None):
    inputs, _, layers, omega = case
    outputs = siren(inputs, layers, omega=omega, memory=memory)
    upstream = torch.linspace(-1, 2, outputs.numel(), dtype=outputs.dtype).cos().reshape(outputs.shape)
    return [outputs.detach(), *torch.autograd.grad(outputs, layers, upstream)]


def fit_and_gradients(case):
    inputs, target, layers, omega = case
    outputs, error = siren_fit(inputs, target, layers, omega=omega)
    assert not outputs.requires_grad
    return [outputs, error.detach(), *torch.autograd.grad(error, layers)]


def assert_close(actual, exact, tolerance, floor=1e-12):
    for number, (a, e) in enumerate(zip(actual, exact, strict=True)):
        largest = e.abs().max().item() if e.numel() else 0.0
        error = (a.double() - e).abs().max().item() if e.numel() else 0.0
        assert a.shape == e.shape and error <= tolerance * largest + floor, f"tensor {number}: {error} of {largest}"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("points", [1, 5, 95, 96, 97, 400])
def test_native_agrees_with_float64_at_every_size(points, count):
    require_native("siren")
    case = make_case(points)
    with threads(count):
        assert_close(forward_and_gradients(case), forward_and_gradients(to_float64(case)), 2e-5)
        assert_close(fit_and_gradients(case), fit_and_gradients(to_float64(case)), 2e-5)


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_native_agrees_with_float64_at_every_width(widths):
    require_native("siren")
    case = make_case(150, widths)
    assert_close(forward_and_gradients(case), forward_and_gradients(to_float64(case)), 2e-5)
    assert_close(fit_and_gradients(case), fit_and_gradients(to_float64(case)), 2e-5)


def test_native_rounds_no_worse_than_pytorch(monkeypatch):
    """A fit beyond 100 dB lives on float32's last bits: the kernel must not have fewer of them than torch."""
    require_native("siren")
    case = make_case(2000, (2, 256, 256, 256, 256, 1))
    exact = forward_and_gradients(to_float64(case))
    native = forward_and_gradients(case)
    monkeypatch.setenv("NERF_SSIM_BACKEND", "reference")
    plain = forward_and_gradients(case)
    for number, (a, b, e) in enumerate(zip(native, plain, exact, strict=True)):
        ours, theirs = ((t.double() - e).square().mean().sqrt().item() for t in (a, b))
        assert ours <= 2 * theirs + 1e-7 * e.abs().max().item(), f"tensor {number}: {ours} against {theirs}"


@pytest.mark.parametrize("scale", [20.0, 3000.0])
def test_angles_of_hundreds_and_of_hundreds_of_thousands_are_reduced_correctly(scale):
    require_native("siren")
    inputs, target, layers, omega = make_case(64, (2, 32, 1))
    with torch.no_grad():
        layers[0].mul_(scale).copy_((layers[0] * 64).round() / 64)  # exact products: only the reduction can err
        layers[1].zero_()
        inputs.copy_((inputs * 64).round() / 64)
    case = inputs, target, layers, 32.0
    angles = 32 * (inputs.double() @ layers[0].detach().double().T)
    assert angles.abs().max() > 200
    outputs = forward_and_gradients(case)[0]
    exact = angles.sin() @ layers[2].detach().double().T + layers[3].detach().double()
    assert (outputs.double() - exact).abs().max() < 1e-6


def test_fit_and_forward_give_the_same_outputs_bit_for_bit():
    case = make_case(300)
    assert torch.equal(forward_and_gradients(case)[0], fit_and_gradients(case)[0])


@pytest.mark.parametrize("count", [1, 2])
def test_kept_activations_give_the_same_bits_and_their_memory_is_used_again(count):
    require_native("siren")
    memory, addresses = ActivationMemory(), []
    with threads(count):
        for points, widths in ((400, "small"), (97, "odd"), (97, "odd"), (1, "colour"), (150, "deep_products")):
            case = make_case(points, WIDTHS[widths])
            kept = forward_and_gradients(case, memory)
            assert all(torch.equal(a, b) for a, b in zip(kept, forward_and_gradients(case), strict=True))
            addresses.append(memory._kept.data_ptr())
    assert addresses[1] == addresses[2]


def test_a_second_backward_computes_used_up_activations_again():
    require_native("siren")
    inputs, _, layers, omega = make_case(200)
    outputs = siren(inputs, layers, omega=omega, memory=ActivationMemory())
    first, second = (torch.autograd.grad(outputs.sum(), layers, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_activations_are_not_kept_where_they_are_large_or_no_gradient_follows(monkeypatch):
    require_native("siren")
    inputs, _, layers, omega = make_case(200)

    class Refusing(ActivationMemory):
        def take(self, floats):
            raise AssertionError("activations were kept")

    with torch.no_grad():
        siren(inputs, layers, omega=omega, memory=Refusing())
    floats = torch.ops.nerf_ssim.siren_activation_floats(inputs, layers, "float32")
    assert floats >= 200 * 4 * 2 * 64
    monkeypatch.setattr(siren_module, "KEPT_BYTES", 4 * floats - 1)
    siren(inputs, layers, omega=omega, memory=Refusing())
    monkeypatch.setattr(siren_module, "KEPT_BYTES", 4 * floats)
    with pytest.raises(AssertionError, match="were kept"):
        siren(inputs, layers, omega=omega, memory=Refusing())


@pytest.mark.parametrize("count", [1, 2])
def test_a_call_repeats_itself_bit_for_bit(count):
    case = make_case(1000)
    with threads(count):
        for run in (forward_and_gradients, fit_and_gradients):
            assert all(torch.equal(a, b) for a, b in zip(run(case), run(case), strict=True))


def test_inputs_targets_and_weights_may_be_strided():
    inputs, target, layers, omega = make_case(120)
    strided = torch.empty(120, 4)[:, ::2].copy_(inputs)
    crossed = [layer.detach().t().contiguous().t().requires_grad_() for layer in layers]
    wide = torch.empty(120, 3, dtype=torch.float64)[:, 1:2].copy_(target)
    assert not strided.is_contiguous() and not crossed[2].is_contiguous() and not wide.is_contiguous()
    for run in (forward_and_gradients, fit_and_gradients):
        for a, b in zip(run((inputs, target, layers, omega)), run((strided, wide, crossed, omega)), strict=True):
            assert torch.equal(a, b)


def test_no_points_give_no_outputs_and_zero_gradients():
    case = make_case(0)
    outputs, *gradients = forward_and_gradients(case)
    assert outputs.shape == (0, 1) and all((gradient == 0).all() for gradient in gradients)


def test_the_error_scales_and_adds_like_any_differentiable_value():
    inputs, target, layers, omega = make_case(130)
    _, error = siren_fit(inputs, target, layers, omega=omega)
    penalty = layers[0].double().square().sum()
    combined = torch.autograd.grad(3 * error + penalty, layers)
    alone = torch.autograd.grad(siren_fit(inputs, target, layers, omega=omega)[1], layers)
    torch.testing.assert_close(combined[2], 3 * alone[2])
    torch.testing.assert_close(combined[0], 3 * alone[0] + 2 * layers[0].detach(), rtol=1e-4, atol=1e-6)


def test_gradients_of_the_specification_agree_with_finite_differences():
    inputs, target, layers, omega = make_case(4, (2, 5, 3, 1), omega=3.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *tensors: siren(inputs, tensors, omega=omega), layers)
    assert torch.autograd.gradcheck(lambda *tensors: siren_fit(inputs, target, tensors, omega=omega)[1], layers)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_operators_pass_pytorchs_own_checks(precision):
    require_native("siren")
    inputs, target, layers, omega = make_case(20, (2, 9, 4, 2))
    ops = torch.ops.nerf_ssim
    torch.library.opcheck(ops.siren.default, (inputs, layers, omega, precision))
    detached = [layer.detach() for layer in layers]
    torch.library.opcheck(ops.siren_backward.default, (torch.rand(20, 2), inputs, detached, omega, precision))
    torch.library.opcheck(ops.siren_fit.default, (inputs, target, detached, omega, precision))
    activations = torch.empty(ops.siren_activation_floats(inputs, detached, precision))
    torch.library.opcheck(ops.siren_keeping.default, (inputs, detached, omega, activations, precision))
    with pytest.raises(RuntimeError, match="activations must be"):
        ops.siren_keeping(inputs, detached, omega, activations[:-1], precision)
    with pytest.raises(RuntimeError, match="unknown precision"):
        ops.siren(inputs, detached, omega, "bf16x4")


@pytest.mark.slow
@pytest.mark.parametrize("unit", bf16_units())
@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("points", [1, 31, 97, 400])
def test_bfloat16_terms_hold_the_digits_they_promise_on_every_unit(points, widths, unit):
    """Three terms are as exact as float32 forward; two have 16 bits. The sums of the gradients see a 2^-16 of each."""
    require_native("siren")
    inputs, target, layers, omega = make_case(points, widths)
    detached = [layer.detach() for layer in layers]
    exact = fit_and_gradients(to_float64((inputs, target, layers, omega)))
    for precision, forward, backward in (("bf16x3", 4e-6, 1e-4), ("bf16x2", 6e-4, 2e-3)):
        outputs, error, gradients = torch.ops.nerf_ssim.siren_fit(
            inputs, target, detached, omega, f"{precision}:{unit}"
        )
        assert_close([outputs, error], exact[:2], forward, floor=forward / 10)
        assert_close(gradients, exact[2:], backward)
        once = torch.ops.nerf_ssim.siren(inputs, detached, omega, f"{precision}:{unit}")
        assert torch.equal(once, outputs)


def test_three_terms_round_forward_about_as_float32_does():
    """More sums, each rounded: 1.7 times its error was seen."""
    require_native("siren")
    inputs, _, layers, omega = make_case(2000, (2, 256, 256, 256, 256, 1))
    exact = siren(inputs.double(), [layer.detach().double() for layer in layers], omega=omega)
    detached = [layer.detach() for layer in layers]

    def error_of(precision):
        outputs = torch.ops.nerf_ssim.siren(inputs, detached, omega, precision)
        return (outputs.double() - exact).square().mean().sqrt().item()

    assert error_of("bf16x3") <= 2.5 * error_of("float32")
    assert error_of("bf16x2") > 5 * error_of("float32")


@pytest.mark.parametrize("precision", ["bf16x3", "bf16x2"])
def test_bfloat16_terms_go_to_their_kernel_and_keep_or_recompute_the_same_bits(precision, monkeypatch):
    require_native("siren")
    pretend_bf16_unit(monkeypatch, "AMX")
    inputs, target, layers, omega = make_case(150, WIDTHS["odd"])
    upstream = torch.linspace(-1, 2, target.numel()).cos().reshape(target.shape)

    def run(memory):
        outputs = siren(inputs, layers, omega=omega, memory=memory, precision=precision)
        return [outputs.detach(), *torch.autograd.grad(outputs, layers, upstream)]

    memory = ActivationMemory()
    memory.give(torch.full((torch.ops.nerf_ssim.siren_activation_floats(inputs, layers, precision),), float("nan")))
    kept, recomputed = run(memory), run(None)
    assert all(torch.equal(a, b) for a, b in zip(kept, recomputed, strict=True))
    detached = [layer.detach() for layer in layers]
    assert torch.equal(kept[0], torch.ops.nerf_ssim.siren(inputs, detached, omega, precision))
    assert torch.equal(kept[0], siren_fit(inputs, target, layers, omega=omega, precision=precision)[0])
    assert not torch.equal(kept[0], siren(inputs, layers, omega=omega))
    exact = [layer.detach().double().requires_grad_() for layer in layers]
    outputs = siren(inputs.double(), exact, omega=omega)
    assert_close(kept[1:], torch.autograd.grad(outputs, exact, upstream.double()), 2e-3)


def test_bfloat16_terms_of_another_device_are_float32_without_asking_it():
    precision, reason = siren_module.effective_precision("bf16x3", "cuda")
    assert precision == "float32" and "CPU" in reason


def test_bfloat16_terms_without_hardware_are_float32_and_say_so(monkeypatch):
    pretend_bf16_unit(monkeypatch, "")
    precision, reason = siren_module.effective_precision("bf16x3")
    assert precision == "float32" and "bf16x3" in reason
    inputs, _, layers, omega = make_case(50)
    assert torch.equal(siren(inputs, layers, omega=omega, precision="bf16x3"), siren(inputs, layers, omega=omega))
    with pytest.raises(ValueError, match="fp8"):
        siren(inputs, layers, omega=omega, precision="fp8")


def test_float64_goes_to_the_specification():
    case = to_float64(make_case(3))
    assert backend.implementation("siren", case[0], *case[2]) == "reference"
    assert forward_and_gradients(case)[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda i, t, layers: (i[:, :1], t, layers), "layer 1"),
        (lambda i, t, layers: (i, t, layers[:2]), "two layers"),
        (lambda i, t, layers: (i, t, layers[:-1]), "two layers"),
        (lambda i, t, layers: (i, t[:-1], layers), "target"),
        (lambda i, t, layers: (i[0], t, layers), "inputs"),
    ],
)
def test_what_does_not_fit_together_is_named(change, named):
    inputs, target, layers, omega = make_case(10)
    with pytest.raises(ValueError, match=named):
        inputs, target, layers = change(inputs, target, layers)
        siren_fit(inputs, target, layers, omega=omega)
