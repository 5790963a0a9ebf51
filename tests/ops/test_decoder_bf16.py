"""The colour decoder with operands rounded to bfloat16: each implementation against the specification."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nerf_ssim.ops import decoder as ops
from nerf_ssim.ops import decoder_bf16
from nerf_ssim.ops.reference import decoder as reference
from tests.ops.decoder_cases import BESIDE_A_VECTOR, SHAPES, make_case, needs_native, values_and_gradients
from tests.ops.native_parity import bf16_units, pretend_bf16_unit, threads


def test_bfloat16_products_are_near_float32_and_differ_from_it(monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", "reference")
    case = make_case(500)
    rgb, gradients = values_and_gradients(case)
    rounded, rounded_gradients = values_and_gradients(case, precision="bf16")
    assert 1e-5 < (rgb - rounded).abs().max() < 0.02
    for gradient, other in zip(gradients, rounded_gradients, strict=True):
        assert 0 < (gradient - other).norm() < 0.1 * gradient.norm()  # some ReLUs switch


@pytest.mark.slow
@needs_native
@pytest.mark.parametrize("unit", bf16_units())
@pytest.mark.parametrize(
    ("samples", "shape"),
    [
        *((samples, shape) for samples in (0, 1, 2, 31, 33, 143, 145, 300) for shape in SHAPES),
        *((samples, shape) for samples in (1, 2) for shape in BESIDE_A_VECTOR),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_native_bfloat16_agrees_with_its_specification_on_every_unit(samples, shape, unit, count):
    """To float32 rounding: operands are rounded alike, so what is left is the order of the sums. Where a sum's last bit
    moves a number across a rounding boundary, that operand differs by 2^-8 of itself."""
    features, directions, layers, frequencies = make_case(samples, shape)
    upstream = torch.linspace(-1.0, 2.0, 3 * samples).reshape(samples, 3)

    def gradients_of(rgb):
        return rgb.detach(), *torch.autograd.grad((rgb * upstream).sum(), (features, *layers))

    arguments = (features, directions, *layers, *frequencies.values())
    expected = gradients_of(reference.decode_color(*arguments, linear=reference.linear_bfloat16))
    with threads(count):
        results = gradients_of(torch.ops.nerf_ssim.decode_color(*arguments, f"bf16:{unit}"))
    for result, exact in zip(results, expected, strict=True):
        assert (result - exact).norm() <= 2e-4 * exact.norm()


@needs_native
def test_bf16_goes_to_the_native_kernel_of_that_precision(monkeypatch):
    pretend_bf16_unit(monkeypatch, "AMX")
    features, directions, layers, frequencies = case = make_case(50)
    rgb, gradients = values_and_gradients(case, precision="bf16")
    direct = torch.ops.nerf_ssim.decode_color(features, directions, *layers, *frequencies.values(), "bf16")
    assert torch.equal(rgb, direct) and not torch.equal(rgb, values_and_gradients(case)[0])
    upstream = torch.linspace(-1.0, 2.0, rgb.numel()).reshape(rgb.shape)
    expected = torch.autograd.grad((direct * upstream).sum(), (features, *layers))
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected, strict=True))


@needs_native
@pytest.mark.parametrize("unit", bf16_units())
def test_undefined_features_stay_undefined_in_native_bfloat16(unit):
    features, directions, layers, frequencies = make_case(40, "plain_odd")
    with torch.no_grad():
        features[7, 1] = float("nan")
        rgb = torch.ops.nerf_ssim.decode_color(features, directions, *layers, *frequencies.values(), f"bf16:{unit}")
    assert rgb[7].isnan().all() and not rgb[torch.arange(40) != 7].isnan().any()


@needs_native
@pytest.mark.parametrize("precision", ["fp8", "bf16:abacus"])
def test_a_precision_or_unit_that_is_not_there_is_refused(precision):
    features, directions, layers, frequencies = make_case(4, "plain_odd")
    with pytest.raises((RuntimeError, ValueError), match=precision.split(":")[-1]):
        torch.ops.nerf_ssim.decode_color(features, directions, *layers, *frequencies.values(), precision)


def test_tiled_bfloat16_agrees_with_its_specification(monkeypatch):
    monkeypatch.setattr(decoder_bf16, "TILE", 64)
    features, directions, layers, frequencies = make_case(150)
    rgb = decoder_bf16.decode_color(features, directions, *layers, *frequencies.values())
    expected = reference.decode_color(
        features, directions, *layers, *frequencies.values(), linear=reference.linear_bfloat16
    )
    torch.testing.assert_close(rgb, expected, rtol=0, atol=8e-3)
    upstream = torch.linspace(-1.0, 2.0, rgb.numel()).reshape(rgb.shape)
    gradients = torch.autograd.grad((rgb * upstream).sum(), (features, *layers))
    expected_gradients = torch.autograd.grad((expected * upstream).sum(), (features, *layers))
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        assert (gradient - other).norm() < 0.06 * other.norm()  # the roundings its docstring names


def test_bf16_without_hardware_is_float32_and_says_so(monkeypatch):
    pretend_bf16_unit(monkeypatch, "")
    precision, reason = ops.effective_precision("bf16")
    assert precision == "float32" and "no bfloat16" in reason
    case = make_case(30)
    assert torch.equal(values_and_gradients(case, precision="bf16")[0], values_and_gradients(case)[0])


@needs_native
@pytest.mark.parametrize(
    ("unit", "vendor", "precision"),
    [
        ("AMX", "GenuineIntel", "bf16"),
        ("AVX512_BF16", "AuthenticAMD", "bf16"),
        ("AVX512_BF16", "GenuineIntel", "float32"),
        ("AVX512_BF16", "", "float32"),
    ],
)
def test_bf16_is_promised_only_where_it_was_measured_to_be_faster(unit, vendor, precision, monkeypatch):
    monkeypatch.delenv("NERF_SSIM_BACKEND", raising=False)
    monkeypatch.setattr(ops.bf16_units, "native_unit", lambda: unit)
    monkeypatch.setattr(torch.ops.nerf_ssim, "processor_vendor", lambda: vendor)
    ran, reason = ops.effective_precision("bf16")
    assert ran == precision and unit in reason


@needs_native
def test_the_processor_names_its_maker():
    information = Path("/proc/cpuinfo")
    if not information.exists() or "vendor_id" not in information.read_text():
        pytest.skip("the system does not name the processor's maker")
    assert f": {torch.ops.nerf_ssim.processor_vendor()}\n" in information.read_text()


@pytest.mark.parametrize(
    ("index", "capability", "precision", "words"),
    [(6, (7, 5), "float32", "T4, compute capability 7.5 has no bfloat16"), (7, (8, 0), "bf16", "tensor cores")],
)
def test_bf16_on_a_gpu_depends_on_its_capability(index, capability, precision, words, monkeypatch):
    monkeypatch.delenv("NERF_SSIM_BACKEND", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "T4")
    ran, reason = ops.effective_precision("bf16", f"cuda:{index}")
    assert ran == precision and words in reason


def test_bfloat16_products_and_their_gradients_stay_on_their_device():
    """Without data: mixing devices or reading a value is an error on the meta device."""
    features, directions, layers, frequencies = make_case(20, "plain_odd")
    moved = [tensor.detach().to("meta").requires_grad_() for tensor in (features, *layers)]
    rgb = decoder_bf16.decode_color(moved[0], directions.to("meta"), *moved[1:], *frequencies.values())
    gradients = torch.autograd.grad(rgb.sum(), moved)
    assert {(tensor.device.type, tensor.dtype) for tensor in (rgb, *gradients)} == {("meta", torch.float32)}
