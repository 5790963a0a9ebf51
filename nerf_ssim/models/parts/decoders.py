"""From appearance features and viewing directions to colour: the published TensoRF shading modes by name."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.decoder import DecoderWeights, decode_color, positional_encoding

__all__ = [
    "FeatureMLPDecoder",
    "MLPDecoder",
    "RGBDecoder",
    "ResidualDecoder",
    "SigmoidDecoder",
    "SphericalHarmonicsDecoder",
    "make_decoder",
    "make_voxel_decoder",
]


class MLPDecoder(nn.Module):
    """Encodings, hidden ReLU layers and a sigmoid: the shading modes `MLP` and `MLP_PE`, of three layers.

    The input is `[feature, direction, PE(direction)]`; with `position_frequencies` (mode `MLP_PE`) also the sample's
    normalised position and its encoding. (The published `MLP_PE` leaves the plain position out of a layer that was
    sized for it, and so cannot run; it is put in here.)
    """

    def __init__(
        self,
        n_features: int,
        hidden: int,
        generator: torch.Generator,
        *,
        view_frequencies: int,
        position_frequencies: int | None = None,
        depth: int = 3,
    ) -> None:
        super().__init__()
        self.view_frequencies = view_frequencies
        self.position_frequencies = position_frequencies
        width = n_features + 3 * (1 + 2 * view_frequencies)
        if position_frequencies is not None:
            width += 3 * (1 + 2 * position_frequencies)
        self.layers = linear_stack([width, *[hidden] * (depth - 1), 3], generator)

    def forward(self, positions: Tensor, directions: Tensor, features: Tensor) -> Tensor:
        """Colour `[samples, 3]` in (0, 1) of `features [samples, n_features]` seen along `directions [samples, 3]`."""
        return torch.sigmoid(self.logits(positions, directions, features))

    def logits(self, positions: Tensor, directions: Tensor, features: Tensor) -> Tensor:
        """The colour before the sigmoid, `[samples, 3]`."""
        inputs = [features, directions]
        if self.position_frequencies is not None:
            inputs += [positions, positional_encoding(positions, self.position_frequencies)]
        inputs.append(positional_encoding(directions, self.view_frequencies))
        hidden = torch.cat(inputs, dim=-1)
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return self.layers[-1](hidden)


class FeatureMLPDecoder(nn.Module):
    """The canonical shading mode `MLP_Fea`: `[feature, direction, PE(feature), PE(direction)]` through the same MLP."""

    def __init__(
        self,
        n_features: int,
        hidden: int,
        generator: torch.Generator,
        *,
        feature_frequencies: int,
        view_frequencies: int,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.precision = precision
        self.feature_frequencies = feature_frequencies
        self.view_frequencies = view_frequencies
        width = n_features * (1 + 2 * feature_frequencies) + 3 * (1 + 2 * view_frequencies)
        self.layers = linear_stack([width, hidden, hidden, 3], generator)

    def forward(self, positions: Tensor, directions: Tensor, features: Tensor) -> Tensor:
        """Colour `[samples, 3]` in (0, 1); `positions` are not used by this mode."""
        weights = DecoderWeights(*self.layers.parameters())
        return decode_color(
            features,
            directions,
            weights,
            feature_frequencies=self.feature_frequencies,
            view_frequencies=self.view_frequencies,
            precision=self.precision,
        )


class SphericalHarmonicsDecoder(nn.Module):
    """Shading mode `SH`: features are three sets of degree-2 spherical harmonics, so `data_dim_color` is 27."""

    def forward(self, positions: Tensor, directions: Tensor, features: Tensor) -> Tensor:
        """Colour `[samples, 3]`, at least 0."""
        basis = spherical_harmonics(directions)
        return torch.relu((features.view(-1, 3, basis.shape[-1]) * basis[:, None]).sum(-1) + 0.5)


class RGBDecoder(nn.Module):
    """Shading mode `RGB`: the three features are the colour."""

    def forward(self, positions: Tensor, directions: Tensor, features: Tensor) -> Tensor:
        """The features, `[samples, 3]`."""
        return features


class SigmoidDecoder(nn.Module):
    """The three features are the colour before a sigmoid: DVGO's coarse stage."""

    def forward(self, positions: Tensor, directions: Tensor, features: Tensor) -> Tensor:
        """Colour `[samples, 3]` in (0, 1)."""
        return torch.sigmoid(features)


class ResidualDecoder(nn.Module):
    """The first three features are a colour before a sigmoid, to which a network of the others adds: DVGO's indirect
    colour network."""

    def __init__(self, network: MLPDecoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, positions: Tensor, directions: Tensor, features: Tensor) -> Tensor:
        """Colour `[samples, 3]` in (0, 1)."""
        return torch.sigmoid(features[:, :3] + self.network.logits(positions, directions, features[:, 3:]))


def make_voxel_decoder(
    n_features: int,
    *,
    is_direct: bool = True,
    depth: int,
    hidden: int,
    view_frequencies: int,
    generator: torch.Generator,
    precision: str = "float32",
) -> nn.Module:
    """DVGO's colour network of `depth` layers, on `[feature, direction, PE(direction)]`; none for 0 features.

    `precision` is of three layers only, with `is_direct`; without, the network adds to the first three features.
    """
    if n_features == 0:
        return SigmoidDecoder()
    if not is_direct:
        return ResidualDecoder(
            MLPDecoder(n_features - 3, hidden, generator, view_frequencies=view_frequencies, depth=depth)
        )
    if depth == 3:  # the same network, which has a native kernel
        return FeatureMLPDecoder(
            n_features,
            hidden,
            generator,
            feature_frequencies=0,
            view_frequencies=view_frequencies,
            precision=precision,
        )
    return MLPDecoder(n_features, hidden, generator, view_frequencies=view_frequencies, depth=depth)


def make_decoder(
    mode: str,
    n_features: int,
    *,
    hidden: int,
    position_frequencies: int,
    view_frequencies: int,
    feature_frequencies: int,
    generator: torch.Generator,
    precision: str = "float32",
) -> nn.Module:
    """The decoder of the published name `mode`: MLP_Fea, MLP_PE, MLP, SH or RGB; `precision` is of MLP_Fea only."""
    if mode == "MLP_Fea":
        return FeatureMLPDecoder(
            n_features,
            hidden,
            generator,
            feature_frequencies=feature_frequencies,
            view_frequencies=view_frequencies,
            precision=precision,
        )
    if mode == "MLP_PE":
        return MLPDecoder(
            n_features, hidden, generator, view_frequencies=view_frequencies, position_frequencies=position_frequencies
        )
    if mode == "MLP":
        return MLPDecoder(n_features, hidden, generator, view_frequencies=view_frequencies)
    expected = {"SH": 27, "RGB": 3}
    if mode not in expected:
        raise ConfigError(f"shadingMode {mode} is unknown: use MLP_Fea, MLP_PE, MLP, SH or RGB")
    if n_features != expected[mode]:
        raise ConfigError(f"shadingMode {mode} needs data_dim_color = {expected[mode]}, not {n_features}")
    return SphericalHarmonicsDecoder() if mode == "SH" else RGBDecoder()


def linear_stack(widths: list[int], generator: torch.Generator) -> nn.ModuleList:
    """Linear layers with PyTorch's default initialisation drawn from `generator`; the last bias is 0, as published."""
    layers = [linear(n_in, n_out, generator) for n_in, n_out in zip(widths, widths[1:], strict=False)]
    nn.init.zeros_(layers[-1].bias)
    return nn.ModuleList(layers)


def linear(n_in: int, n_out: int, generator: torch.Generator, *, bias: bool = True) -> nn.Linear:
    """A linear layer with uniform weights in ±1/sqrt(n_in) (PyTorch's default) drawn from `generator`."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias, device=generator.device)
    bound = 1 / math.sqrt(n_in)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Real spherical harmonics up to degree 2 of unit `directions [n, 3]`: `[n, 9]`, in PlenOctrees' order."""
    x, y, z = directions.unbind(-1)
    c0 = 0.5 * math.sqrt(1 / math.pi)
    c1 = math.sqrt(3 / (4 * math.pi))
    c2 = 0.5 * math.sqrt(15 / math.pi)
    c20 = 0.25 * math.sqrt(5 / math.pi)
    return torch.stack(
        [
            torch.full_like(x, c0),
            -c1 * y,
            c1 * z,
            -c1 * x,
            c2 * x * y,
            -c2 * y * z,
            c20 * (2 * z * z - x * x - y * y),
            -c2 * x * z,
            0.5 * c2 * (x * x - y * y),
        ],
        dim=-1,
    )
