"""The colour decoder: its formula, and the native kernel against the specification in float64."""

from __future__ import annotations

import math

import pytest
import torch

from nerf_ssim.ops.decoder import DecoderWeights, decode_color, positional_encoding
from nerf_ssim.ops.reference import decoder as reference
from tests.ops.decoder_cases import BESIDE_A_VECTOR, SHAPES, make_case, needs_native, values_and_gradients

SIZES = (0, 1, 7, 143, 144, 145, 255, 256, 257, 1000)


@pytest.fixture(params=[1, 2], ids=["1_thread", "2_threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def assert_close_to_float64(case, **options):
    features, directions, layers, frequencies = case
    exact = (
        features.detach().double().requires_grad_(),
        directions.double(),
        DecoderWeights(*(layer.detach().double().requires_grad_() for layer in layers)),
        frequencies,
    )
    rgb, gradients = values_and_gradients(case, **options)
    exact_rgb, exact_gradients = values_and_gradients(exact)
    torch.testing.assert_close(rgb.double(), exact_rgb, rtol=0, atol=2e-6)
    for name, gradient, expected in zip(("features", *DecoderWeights._fields), gradients, exact_gradients, strict=True):
        largest = expected.abs().max().item() if expected.numel() else 0.0
        torch.testing.assert_close(
            gradient.double(), expected, rtol=1e-5, atol=4e-6 * largest + 1e-9, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_encoding_is_every_sine_then_every_cosine_with_frequency_fastest():
    encoded = positional_encoding(torch.tensor([[0.3, -1.1]]), 2)
    angles = [0.3, 0.6, -1.1, -2.2]
    expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    torch.testing.assert_close(encoded, torch.tensor([expected]))


def test_zero_frequencies_leave_an_encoding_out():
    assert reference.decoder_input(torch.ones(2, 5), torch.ones(2, 3), 0, 0).shape == (2, 8)
    assert reference.decoder_input(torch.ones(2, 27), torch.ones(2, 3), 2, 2).shape == (2, 150)
    assert reference.decoder_input(torch.ones(2, 12), torch.ones(2, 3), 0, 4).shape == (2, 39)


def test_one_sample_agrees_with_the_formula_written_out():
    features, directions, layers, frequencies = make_case(1, "plain_odd", torch.float64)
    x, d = features[0].tolist(), directions[0].tolist()
    hidden = x + d + [math.sin(v) for v in x] + [math.cos(v) for v in x]
    for weight, bias, activation in (
        (layers.w1, layers.b1, lambda v: max(v, 0.0)),
        (layers.w2, layers.b2, lambda v: max(v, 0.0)),
        (layers.w3, layers.b3, lambda v: 1.0 / (1.0 + math.exp(-v))),
    ):
        rows = zip(weight.tolist(), bias.tolist(), strict=True)
        hidden = [activation(sum(w * h for w, h in zip(row, hidden, strict=True)) + b) for row, b in rows]
    rgb = decode_color(features, directions, layers, **frequencies)
    torch.testing.assert_close(rgb[0].tolist(), hidden)


@pytest.mark.slow
def test_gradients_of_the_specification_agree_with_finite_differences():
    features, directions, layers, frequencies = make_case(4, "plain_odd", torch.float64)

    def run(features, *layers):
        return decode_color(features, directions, DecoderWeights(*layers), **frequencies)

    assert torch.autograd.gradcheck(run, (features, *layers))


@needs_native
@pytest.mark.parametrize("samples", SIZES)
def test_native_agrees_with_float64_at_every_size(samples, threads):
    assert_close_to_float64(make_case(samples))


@needs_native
@pytest.mark.parametrize("shape", SHAPES)
def test_native_agrees_with_float64_at_every_width(shape):
    assert_close_to_float64(make_case(257, shape))


@needs_native
@pytest.mark.parametrize("shape", BESIDE_A_VECTOR)
@pytest.mark.parametrize("samples", [1, 2])
def test_native_agrees_with_float64_where_a_vector_would_read_past_the_last_feature(samples, shape):
    assert_close_to_float64(make_case(samples, shape))


@needs_native
def test_native_gradients_repeat_bit_for_bit_at_one_thread_count(threads):
    case = make_case(1000)
    first = values_and_gradients(case)[1]
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(first, values_and_gradients(case)[1], strict=True))


@needs_native
def test_native_takes_non_contiguous_input():
    features, directions, layers, frequencies = make_case(300)
    strided = features.detach().T.contiguous().T.requires_grad_()
    transposed = DecoderWeights(*(layer.detach().t().contiguous().t().requires_grad_() for layer in layers))
    strided_directions = torch.cat([directions, directions], dim=1)[:, :3]
    assert not strided.is_contiguous() and not transposed.w1.is_contiguous()
    expected = values_and_gradients((features, directions, layers, frequencies))
    actual = values_and_gradients((strided, strided_directions, transposed, frequencies))
    assert torch.equal(actual[0], expected[0])
    assert all(torch.equal(a, b) for a, b in zip(actual[1], expected[1], strict=True))


@needs_native
def test_native_sines_and_cosines_stay_within_two_units_in_the_last_place():
    """With one sample, a gradient of 1 at a hidden unit makes the unit's weight gradient the sample's input."""
    angles = torch.cat([torch.linspace(-1000, 1000, 20001), torch.linspace(-7, 7, 20001)])
    multiples = torch.arange(-600, 601) * (math.pi / 2)
    angles = torch.cat([angles, multiples.float(), multiples.float() * (1 + 2**-22)])
    layers = DecoderWeights(
        torch.zeros(1, 3 * 500 + 3), torch.ones(1), torch.ones(1, 1), torch.zeros(1), torch.tensor([[1.0], [0], [0]]),
        torch.tensor([-1.0, 0, 0]),
    )  # fmt: skip
    rgb, directions = torch.full((1, 3), 0.5), torch.zeros(1, 3)
    frequencies = {"feature_frequencies": 1, "view_frequencies": 0}
    assert torch.equal(decode_color(angles[None, :500], directions, layers, **frequencies), rgb)
    upstream = torch.tensor([[4.0, 0, 0]])  # the sigmoid's derivative is 1/4 there
    for features in angles.split(500):
        w1 = layers.w1[:, : 3 * len(features) + 3]
        gradients = torch.ops.nerf_ssim.decode_color_backward(
            upstream, rgb, features[None], directions, w1, *layers[1:], *frequencies.values(), False, "float32"
        )
        measured = gradients[1][0, len(features) + 3 :].double()
        exact = torch.cat([features.double().sin(), features.double().cos()])
        unit = 2.0 ** (torch.floor(torch.log2(exact.abs().clamp_min(1e-30))) - 23)
        assert ((measured - exact).abs() / unit).max() <= 2.0


@needs_native
def test_huge_and_undefined_features_go_through_as_in_the_specification():
    features, directions, layers, frequencies = make_case(200, "plain_odd")
    with torch.no_grad():
        features[3, 0] = 1e5
        features[150, 1] = float("nan")
        rgb = decode_color(features, directions, layers, **frequencies)
        expected = reference.decode_color(features, directions, *layers, *frequencies.values())
    torch.testing.assert_close(rgb, expected, rtol=0, atol=1e-4, equal_nan=True)
    assert rgb[150].isnan().all() and not rgb[149].isnan().any()


@needs_native
def test_features_without_gradient_cost_none():
    features, directions, layers, frequencies = make_case(50)
    rgb = decode_color(features.detach(), directions, layers, **frequencies)
    gradients = torch.autograd.grad(rgb.sum(), layers)
    both = torch.autograd.grad(decode_color(features, directions, layers, **frequencies).sum(), (features, *layers))
    assert all(torch.equal(a, b) for a, b in zip(gradients, both[1:], strict=True))


@pytest.mark.slow
@needs_native
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_opcheck(precision):
    features, directions, layers, frequencies = make_case(20, "plain_odd")
    arguments = (features, directions, *layers, *frequencies.values(), precision)
    torch.library.opcheck(torch.ops.nerf_ssim.decode_color.default, arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": torch.zeros(4, 6)}, "layer 1 must be"),
        ({"directions": torch.zeros(3, 3)}, "directions"),
        ({"precision": "fp8"}, "fp8"),
        ({"view_frequencies": -1}, "frequencies"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    features, directions, layers, frequencies = make_case(4, "plain_odd")
    arguments = {"features": features, "directions": directions, "layers": layers, **frequencies, **change}
    with pytest.raises(ValueError, match=words):
        decode_color(**arguments)
