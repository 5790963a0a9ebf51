"""The choice between native code and the reference."""

import os
import subprocess
import sys
import types

import pytest
import torch
from native_parity import require_native

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops import backend


def test_every_op_says_what_it_uses_and_why():
    table = backend.describe()
    assert {"vm_density", "vm_features", "march_box", "composite", "plane_tv"} <= set(table)
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


def test_without_the_extension_everything_is_reference():
    program = (
        "from nerf_ssim.ops.backend import describe\n"
        "assert set(describe().values()) == {('reference', 'NERF_SSIM_NO_EXT is set')}, describe()"
    )
    environment = {**os.environ, "NERF_SSIM_NO_EXT": "1"}
    environment.pop("NERF_SSIM_BACKEND", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("definitions", ["cuda_ext/bindings", "cuda_ext/bindings/cuda"])
def test_an_extension_older_than_its_definitions_is_not_used(monkeypatch, tmp_path, definitions):
    built = tmp_path / "nerf_ssim" / "_C.so"
    definition = tmp_path / definitions / "grids.cpp"
    for path in (definition, built):
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda _: types.SimpleNamespace(origin=str(built)))
    monkeypatch.setattr(backend.importlib, "import_module", lambda _: None)
    os.utime(definition, (1, 1))
    assert backend._load("nerf_ssim._C", "the extension", definitions) is None
    os.utime(definition, (4e9, 4e9))
    assert "build it again" in backend._load("nerf_ssim._C", "the extension", definitions)
