"""The choice between native code and the reference."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from native_parity import require_native

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops import backend
from nerf_ssim.ops.declaration import Op


def test_every_op_says_what_it_uses_and_why():
    table = backend.describe()
    assert {"vm_density", "vm_features", "march_box", "composite", "planes_tv"} <= set(table)
    assert all(choice in ("native", "reference") and reason for choice, reason in table.values())


def test_reference_can_be_forced(monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", "reference")
    assert backend.implementation("vm_density", torch.ones(1)) == "reference"
    assert backend.describe()["vm_density"] == ("reference", "NERF_SSIM_BACKEND=reference")


def test_unknown_choice_is_an_error(monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", "fast")
    with pytest.raises(ConfigError, match="auto, reference or native"):
        backend.implementation("vm_density", torch.ones(1))


def test_other_dtypes_and_missing_kernels_fall_to_the_reference():
    assert backend.implementation("vm_density", torch.ones(1, dtype=torch.float64)) == "reference"
    assert backend.implementation("no_such_op", torch.ones(1)) == "reference"


def test_forcing_native_where_it_cannot_serve_says_why(monkeypatch):
    require_native("vm_density")
    monkeypatch.setenv("NERF_SSIM_BACKEND", "native")
    assert backend.implementation("vm_density", torch.ones(1), None, torch.ones(1, dtype=torch.int64)) == "native"
    with pytest.raises(ConfigError, match="float64"):
        backend.implementation("vm_density", torch.ones(1, dtype=torch.float64))


@pytest.mark.slow
def test_without_the_extension_everything_is_reference():
    program = (
        "from nerf_ssim.ops.backend import describe\n"
        "assert set(describe().values()) == {('reference', 'NERF_SSIM_NO_EXT is set')}, describe()"
    )
    environment = {**os.environ, "NERF_SSIM_NO_EXT": "1"}
    environment.pop("NERF_SSIM_BACKEND", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_extension_whose_operators_are_declared_otherwise_is_not_used(monkeypatch):
    """As after a pull that changed a binding, before the extension is built again."""
    require_native("composite")
    schema = "composite(Tensor sigma, Tensor delta, Tensor ray_offsets, float distance_scale, int more) -> Tensor"
    for name, operators in (("changed", {schema: None}), ("new", {"composite_anew(Tensor sigma) -> Tensor": None})):
        op = Op(name=name, operators=operators, reference=torch.clone, examples=lambda: iter(()))
        monkeypatch.setitem(backend._declared, name, op)
        how, reason = backend.describe()[name]
        assert how == "reference" and op.operator_names[0] in reason and "setup.py build_ext --inplace" in reason
        with pytest.raises(ConfigError, match="other sources"):
            monkeypatch.setenv("NERF_SSIM_BACKEND", "native")
            backend.implementation(name, torch.ones(1))
        monkeypatch.delenv("NERF_SSIM_BACKEND")
        backend._reasons.clear()
    assert backend.implementation("accumulate", torch.ones(1)) == "native", "the others serve on"


@pytest.mark.slow
def test_a_file_that_was_touched_slows_nothing():
    require_native("composite")
    binding = Path(backend.__file__).parents[2] / "cuda_ext" / "bindings" / "compositing.cpp"
    before = binding.stat()
    program = "from nerf_ssim.ops.backend import describe; assert describe()['composite'][0] == 'native', describe()"
    try:
        binding.touch()
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    finally:
        os.utime(binding, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert done.returncode == 0, done.stderr


def test_an_op_that_is_not_trusted_is_served_by_the_reference(monkeypatch):
    require_native("composite")
    monkeypatch.setattr(backend, "_distrusted", {})
    backend.distrust("composite", "cpu", "it disagrees")
    try:
        assert backend.describe()["composite"] == ("reference", "it disagrees")
        assert backend.implementation("composite", torch.ones(1)) == "reference"
        assert backend.implementation("accumulate", torch.ones(1)) == "native"
    finally:
        backend._distrusted.clear()
        backend._reasons.clear()
