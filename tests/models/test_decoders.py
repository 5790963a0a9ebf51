"""DVGO's indirect colour network against its formula."""

from __future__ import annotations

import torch

from nerf_ssim.models.parts.decoders import make_voxel_decoder


def test_the_indirect_network_adds_to_the_first_three_features():
    generator = torch.Generator().manual_seed(0)
    decoder = make_voxel_decoder(
        7, is_direct=False, depth=4, hidden=8, view_frequencies=2, generator=torch.Generator().manual_seed(1)
    )
    features, directions = torch.randn(5, 7, generator=generator), torch.randn(5, 3, generator=generator)
    angles = (directions[:, :, None] * torch.tensor([1.0, 2.0])).flatten(1)
    hidden = torch.cat([features[:, 3:], directions, angles.sin(), angles.cos()], dim=1)
    layers = decoder.network.layers
    assert len(layers) == 4
    for layer in layers[:-1]:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp_min(0)
    logits = hidden @ layers[-1].weight.T + layers[-1].bias
    expected = 1 / (1 + torch.exp(-(features[:, :3] + logits)))
    torch.testing.assert_close(decoder(directions, directions, features), expected)
