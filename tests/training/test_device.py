"""What a training step asks of the device: where it waits for an answer, and that it mixes no devices."""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path

import pytest
import torch
from tiny_scene import tiny_config, write_tiny_scene
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nerf_ssim.fields import rendering, tensorf
from nerf_ssim.ops import backend
from nerf_ssim.ops.compositing import Composited
from nerf_ssim.ops.marching import Samples
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.training.objective import photometric_terms
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step

# Operators whose result the CPU reads: on a GPU it waits there until everything before is done.
READS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal"}
# The places where a step may do so: sizes that depend on the data, and one coin. A new place is a slower GPU.
ALLOWED = {
    ("rays/batches.py", "_next_pixels"): "which of the next pixels are kept, and where the cursor stops",
    ("rays/permutation.py", "__call__"): "how many positions fall outside the pixels and walk on",
    ("training/tensorf_recipe.py", "render"): "the coin that chooses the background",
    ("fields/tensorf.py", "step_size"): "the distance between samples, from the box",
    ("fields/thinning.py", "above_threshold"): "how many samples get a colour",
    ("ops/compositing.py", "check_offsets"): "offsets are checked on the CPU only",
    ("ops/adam.py", "step"): "the number of updates, which is kept on the CPU",
}


class Reads(TorchDispatchMode):
    """Counts what the CPU reads, by file and function of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in READS:
            frames = [frame for frame in traceback.extract_stack() if "/nerf_ssim/" in frame.filename]
            if frames:
                file = Path(frames[-1].filename)
                self.places[f"{file.parent.name}/{file.name}", frames[-1].name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture()
def session(tmp_path):
    scene = write_tiny_scene(tmp_path / "scene")
    return Session(tiny_config(scene, tmp_path, upsamp_list=[], update_AlphaMask_list=[]))


@pytest.mark.skipif(backend.describe()["composite"][0] != "native", reason="the reference reads sizes on the host")
def test_a_step_waits_for_the_device_only_where_it_is_known_to(session):
    with Reads() as reads:
        for iteration in range(2):
            take_step(session.recipe, session.batches, session.s3im, 1.0, iteration)
    assert set(reads.places) <= set(ALLOWED)
    assert reads.places["fields/thinning.py", "above_threshold"] == 2, "the count itself does not work"


def composite_without_data(ray_index: Tensor, n_rays: int):
    """What `composite` returns, in form."""

    def composite(sigma: Tensor, delta: Tensor, ray_offsets: Tensor, *, distance_scale: float) -> Composited:
        weights = sigma * delta * distance_scale
        return Composited(weights, weights.new_zeros(n_rays).index_add(0, ray_index, weights), weights)

    return composite


def test_render_losses_and_gradients_run_without_data_on_one_device(session, monkeypatch):
    """On the meta device: reading a value or mixing devices is an error there."""
    n_rays, per_ray, device = 64, 5, "meta"
    n = n_rays * per_ray
    field = session.recipe.field.to(device)
    field.aabb = field.aabb.to(device)
    monkeypatch.setattr(tensorf.TensoRF, "step_size", 0.05)
    offsets = torch.empty(n_rays + 1, dtype=torch.int64, device=device)
    index = torch.empty(n, dtype=torch.int64, device=device)
    floats = {name: torch.empty(n, device=device) for name in ("t", "delta")}
    samples = Samples(torch.empty(n, 3, device=device), floats["t"], floats["delta"], index, offsets)
    monkeypatch.setattr(tensorf, "march_box", lambda *_: samples)
    # Which samples get a colour depends on their weights: here, the first half.
    half = torch.empty(n // 2, dtype=torch.int64, device=device)
    monkeypatch.setattr(rendering, "above_threshold", lambda weights, _: (half, weights[half]))

    # The reference composites chunks of rays whose size depends on the data; native code does not.
    monkeypatch.setattr(rendering, "composite", composite_without_data(index, n_rays))

    rays = Rays(torch.empty(n_rays, 3, device=device), torch.empty(n_rays, 3, device=device))
    render = field.render(rays, n_samples=per_ray, jitter=torch.empty(n_rays, device=device))
    s3im = S3IM(patch_height=8, patch_width=8)
    terms, _ = photometric_terms(render.rgb, torch.empty(n_rays, 3, device=device), s3im, 1.0)
    terms |= session.recipe.regularizers(0, render, render.rgb)
    sum(terms.values()).backward()
    assert {parameter.grad.device.type for parameter in field.parameters()} == {"meta"}
