"""The networks of a 2D fit: their formulas, their published initial weights."""

from __future__ import annotations

import math

import pytest
import torch

from nerf_ssim.images.networks import make_coordinate_network
from nerf_ssim.images.options import FIELDS, NetworkConfig


def make(channels=1, seed=0, **options):
    options = {"hidden": 64, "hidden_layers": 3, **options}
    return make_coordinate_network(NetworkConfig(**options), channels, torch.Generator().manual_seed(seed))


def points(count=50):
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(5)) * 2 - 1


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_fit_is_the_mean_squared_error_of_forward_and_every_parameter_has_a_gradient(field, channels):
    network, where = make(channels, field=field), points()
    target = torch.rand(50, channels, dtype=torch.float64)
    values, error = network.fit(where, target)
    expected = (network(where).double() - target).square().mean()
    assert values.shape == (50, channels) and not values.requires_grad and error.dtype == torch.float64
    torch.testing.assert_close(error, expected, rtol=1e-6, atol=0)
    parameters = list(network.parameters())
    for actual, wanted in zip(
        torch.autograd.grad(error, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-6 * float(wanted.abs().max()) + 1e-12)
        assert actual.abs().max() > 0


@pytest.mark.parametrize("field", FIELDS)
def test_a_seed_gives_the_same_network_and_another_seed_another(field):
    where = points()
    first, again, other = make(field=field)(where), make(field=field)(where), make(field=field, seed=1)(where)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_siren_is_its_formula():
    network, where = make(), points(3)
    hidden = where.double()
    for layer in network.layers[:-1]:
        hidden = (30 * (hidden @ layer.weight.double().T + layer.bias.double())).sin()
    expected = hidden @ network.layers[-1].weight.double().T + network.layers[-1].bias.double()
    torch.testing.assert_close(network(where).double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_sirens_weights_fill_their_published_bounds_and_the_scale_spares_the_last_layer(scale):
    network = make(hidden=256, weight_scale=scale)
    hidden = math.sqrt(6 / 256) / 30
    for layer, bound in zip(network.layers, (0.5 * scale, hidden * scale, hidden * scale, hidden), strict=True):
        largest = layer.weight.abs().max().item()
        assert 0.97 * bound < largest <= bound
        assert layer.bias.abs().max().item() <= 1 / math.sqrt(layer.in_features)


def test_siren_keeps_the_spread_of_its_activations_through_the_layers():
    network, hidden = make(hidden=256, hidden_layers=4), points(2000)
    for number, layer in enumerate(network.layers[:-1]):
        hidden = torch.sin(30 * layer(hidden))
        if number:
            assert hidden.std().item() == pytest.approx(math.sqrt(0.5), abs=0.03)


def test_finer_is_its_formula_and_its_first_biases_fill_their_range():
    network, where = make(field="finer", hidden_layers=1, spread=5.0), points(3)
    first, last = network.layers
    assert 4.0 < first.bias.abs().max() <= 5.0
    z = first(where)
    torch.testing.assert_close(network(where), last(torch.sin(30 * (z.abs() + 1) * z)))


def test_gaussian_and_fourier_are_their_formulas():
    network, where = make(field="gaussian", hidden_layers=1), points(3)
    z = network.layers[0](where)
    torch.testing.assert_close(network(where), network.layers[1](torch.exp(-(z**2) / (2 * 0.1**2))))
    network = make(field="fourier", hidden_layers=1)
    v = (where + 1) / 2
    angles = 2 * math.pi * v @ network.frequencies.T
    assert network.frequencies.shape == (32, 2) and network.frequencies.std().item() == pytest.approx(10, rel=0.3)
    expected = network.layers[1](torch.relu(network.layers[0](torch.cat([angles.cos(), angles.sin()], -1))))
    torch.testing.assert_close(network(where), expected, rtol=1e-3, atol=1e-4)


def test_wire_is_its_formula_with_narrower_complex_layers():
    network, where = make(field="wire", hidden_layers=1), points(3)
    z = network.first(where)
    assert z.shape[1] == int(64 / math.sqrt(2))
    hidden = torch.exp(1j * 20 * z - (10 * z) ** 2)
    weight, bias = torch.view_as_complex(network.weights[0]), torch.view_as_complex(network.biases[0])
    torch.testing.assert_close(network(where), (hidden @ weight.T + bias).real)
