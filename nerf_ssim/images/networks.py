"""Networks from a pixel's place to its value, each with its published initialisation, behind one interface."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nerf_ssim.images.options import NetworkConfig
from nerf_ssim.models.parts.decoders import linear
from nerf_ssim.ops.reference.siren import squared_error
from nerf_ssim.ops.siren import ActivationMemory, siren, siren_fit

__all__ = ["CoordinateNetwork", "Finer", "FourierFeatures", "Gaussian", "Siren", "Wire", "make_coordinate_network"]


class CoordinateNetwork(nn.Module):
    """Base of the networks: hidden layers, then a linear one.

    A subclass gives `forward`; one that knows a faster way to squared error and gradient gives `fit` too.
    """

    def fit(self, coordinates: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Values and mean squared error.

        Args:
            coordinates: `[n, 2]` in [-1, 1].
            target: `[n, channels]`; the error is taken in its precision.
        Returns:
            values `[n, channels]`, detached; the error, 0-dim, differentiable in the parameters.
        """
        values = self(coordinates)
        return values.detach(), squared_error(values, target)


class Siren(CoordinateNetwork):
    """Sines all the way: `h = sin(omega (W h + b))`.

    Initial weights: uniform in ±1/2 in the first layer (two inputs), in ±sqrt(6/n)/omega after it, the last included;
    biases uniform in ±1/sqrt(n). `weight_scale` multiplies the weights of all layers but the last. `precision` is that
    of the products, see `ops.siren`.

    Source: Sitzmann et al. 2020, section 3.2 and the published code; the factor: Yeom et al. 2024, "Fast Training of
        Sinusoidal Neural Fields via Scaling Initialization".
    """

    def __init__(
        self,
        widths: list[int],
        generator: torch.Generator,
        *,
        omega: float = 30.0,
        weight_scale: float = 1.0,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.omega, self.precision = omega, precision
        self.layers = nn.ModuleList(sine_layers(widths, generator, omega, weight_scale))
        self.memory = ActivationMemory()

    def forward(self, coordinates: Tensor) -> Tensor:
        """Values `[n, channels]` at `coordinates [n, 2]`."""
        layers = self._tensors()
        return siren(coordinates, layers, omega=self.omega, memory=self.memory, precision=self.precision)

    def fit(self, coordinates: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """As `CoordinateNetwork.fit`, in one native pass where that is there."""
        return siren_fit(coordinates, target, self._tensors(), omega=self.omega, precision=self.precision)

    def _tensors(self) -> list[Tensor]:
        return list(self.layers.parameters())


class Finer(CoordinateNetwork):
    """Sines whose frequency grows with their argument: `h = sin(omega (|z| + 1) z)`, `z = W h + b`.

    Weights as SIREN's; the first biases are uniform in ±`spread`. The factor |z| + 1 counts as a constant in the
    gradient, as in the published code.

    Source: Liu et al. 2024, "FINER".
    """

    def __init__(
        self,
        widths: list[int],
        generator: torch.Generator,
        *,
        omega: float = 30.0,
        spread: float = 20.0,
        weight_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.omega = omega
        layers = sine_layers(widths, generator, omega, weight_scale)
        nn.init.uniform_(layers[0].bias, -spread, spread, generator=generator)
        self.layers = nn.ModuleList(layers)

    def forward(self, coordinates: Tensor) -> Tensor:
        """Values `[n, channels]` at `coordinates [n, 2]`."""
        hidden = coordinates
        for layer in self.layers[:-1]:
            z = layer(hidden)
            hidden = torch.sin(self.omega * (z.detach().abs() + 1) * z)
        return self.layers[-1](hidden)


class Gaussian(CoordinateNetwork):
    """Gaussian activations `h = exp(-z^2 / (2 spread^2))`, with PyTorch's default initialisation.

    Source: Ramasinghe and Lucey 2022, "Beyond Periodicity".
    """

    def __init__(self, widths: list[int], generator: torch.Generator, *, spread: float = 0.1) -> None:
        super().__init__()
        self.factor = -0.5 / spread**2
        self.layers = nn.ModuleList(linear(*pair, generator) for pair in pairs(widths))

    def forward(self, coordinates: Tensor) -> Tensor:
        """Values `[n, channels]` at `coordinates [n, 2]`."""
        hidden = coordinates
        for layer in self.layers[:-1]:
            hidden = torch.exp(self.factor * layer(hidden).square())
        return self.layers[-1](hidden)


class Wire(CoordinateNetwork):
    """Complex Gabor wavelets `h = exp(i omega z - |spread z|^2)`, whose last layer's real part is the value.

    Hidden layers are narrower by sqrt(2), so that complex numbers make no more parameters; PyTorch's default
    initialisation, for real and imaginary parts alike.

    Source: Saragadam et al. 2023, "WIRE".
    """

    def __init__(
        self, widths: list[int], generator: torch.Generator, *, omega: float = 20.0, spread: float = 10.0
    ) -> None:
        super().__init__()
        self.omega, self.spread = omega, spread
        hidden = [max(1, int(width / math.sqrt(2))) for width in widths[1:-1]]
        first, *others = pairs([widths[0], *hidden, widths[-1]])
        self.first = linear(*first, generator)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for n_in, n_out in others:
            bound = 1 / math.sqrt(n_in)
            for shape, to in (((n_out, n_in, 2), self.weights), ((n_out, 2), self.biases)):
                values = torch.empty(shape, device=generator.device).uniform_(-bound, bound, generator=generator)
                to.append(nn.Parameter(values))

    def forward(self, coordinates: Tensor) -> Tensor:
        """Values `[n, channels]` at `coordinates [n, 2]`."""
        hidden = self._wavelet(self.first(coordinates))
        *middle, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in middle:
            hidden = self._wavelet(hidden @ torch.view_as_complex(weight).mT + torch.view_as_complex(bias))
        weight, bias = last
        return (hidden @ torch.view_as_complex(weight).mT + torch.view_as_complex(bias)).real

    def _wavelet(self, z: Tensor) -> Tensor:
        size = z.abs().square() if z.is_complex() else z.square()
        return torch.exp(1j * self.omega * z - self.spread**2 * size)


class FourierFeatures(CoordinateNetwork):
    """Random Fourier features `[cos 2 pi B v, sin 2 pi B v]`, v in [0, 1]^2, then ReLU layers.

    `B` has `widths[1] / 2` rows (at least one) from a normal distribution of standard deviation `spread`; it is fixed,
    and kept in the state. Weights are Glorot-normal, biases normal with deviation 0.01, as in the published code;
    its final sigmoid is left out, as the other networks have none.

    Source: Tancik et al. 2020, "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains".
    """  # noqa: E501 - a title

    frequencies: Tensor

    def __init__(self, widths: list[int], generator: torch.Generator, *, spread: float = 10.0) -> None:
        super().__init__()
        count = max(1, widths[1] // 2)
        drawn = torch.randn(count, widths[0], generator=generator, device=generator.device)
        self.register_buffer("frequencies", spread * drawn)
        self.layers = nn.ModuleList()
        for n_in, n_out in pairs([2 * count, *widths[1:]]):
            layer = linear(n_in, n_out, generator)
            nn.init.xavier_normal_(layer.weight, generator=generator)
            nn.init.normal_(layer.bias, std=0.01, generator=generator)
            self.layers.append(layer)

    def forward(self, coordinates: Tensor) -> Tensor:
        """Values `[n, channels]` at `coordinates [n, 2]`."""
        angles = math.pi * (coordinates + 1) @ self.frequencies.T  # 2 pi times (coordinates + 1) / 2
        hidden = torch.cat([angles.cos(), angles.sin()], dim=-1)
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return self.layers[-1](hidden)


def make_coordinate_network(options: NetworkConfig, channels: int, generator: torch.Generator) -> CoordinateNetwork:
    """The network that the options describe, from two coordinates to `channels` values, drawn from `generator`."""
    networks = {"siren": Siren, "finer": Finer, "gaussian": Gaussian, "wire": Wire, "fourier": FourierFeatures}
    widths = [2, *[options.hidden] * options.hidden_layers, channels]
    given = {name: getattr(options, name) for name in ("omega", "spread") if getattr(options, name) is not None}
    if options.field in ("siren", "finer"):
        given["weight_scale"] = options.weight_scale
    if options.field == "siren":
        given["precision"] = options.precision
    return networks[options.field](widths, generator, **given)


def sine_layers(widths: list[int], generator: torch.Generator, omega: float, weight_scale: float) -> list[nn.Linear]:
    """SIREN's linear layers; see `Siren`."""
    layers = [linear(*pair, generator) for pair in pairs(widths)]
    for number, layer in enumerate(layers):
        bound = 1 / layer.in_features if number == 0 else math.sqrt(6 / layer.in_features) / omega
        scale = 1.0 if number == len(layers) - 1 else weight_scale
        nn.init.uniform_(layer.weight, -bound * scale, bound * scale, generator=generator)
    return layers


def pairs(widths: list[int]) -> Iterator[tuple[int, int]]:
    """Each layer's inputs and outputs."""
    return zip(widths, widths[1:], strict=False)
