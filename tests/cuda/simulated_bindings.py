"""A pytest plugin that puts the CUDA bindings and kernels, run by the simulator, in the place of the CPU's kernels.

The bindings are compiled with NERF_SSIM_SIMULATED: they take CPU tensors and register for the CPU key, where the last
registration counts. `pytest tests/ops -p simulated_bindings` with this folder on PYTHONPATH.
"""

from __future__ import annotations

import hashlib
import subprocess
import sysconfig
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from simulator import (
    CACHE,
    COMMON_FLAGS,
    NATIVE,
    THREADS_AT_ONCE,
    joined_bindings,
    library_object,
    library_of,
    runtime_objects,
)

# What only a device that can be waited for does.
DESELECTED = (
    "test_s3im_refuses_an_order_that_names_no_ray",
    "test_a_ray_that_does_not_exist_is_refused",
    "test_a_pixel_that_no_view_has_is_refused",
    "test_a_chosen_sample_of_a_ray_that_does_not_exist_is_refused",
)


def build() -> Path:
    """The library of all CUDA bindings over the simulator."""
    from torch.utils.cpp_extension import include_paths, library_paths

    includes = [f"-isystem{path}" for path in (*include_paths(), sysconfig.get_paths()["include"])]
    includes += ["-I", str(NATIVE / "simulator"), "-iquote", str(NATIVE / "bindings" / "cuda")]
    flags = ["-O0", *COMMON_FLAGS, "-g0", "-DNERF_SSIM_SIMULATED", "-D_GLIBCXX_USE_CXX11_ABI=1", *includes]
    with ThreadPoolExecutor(THREADS_AT_ONCE) as pool:
        bindings = pool.submit(library_object, joined_bindings(), flags)
        kernels = pool.map(plain_object, sorted(path.name for path in NATIVE.glob("cuda/*.cu")))
        objects = [bindings.result(), *kernels, *runtime_objects("plain")]
    key = hashlib.sha256(repr(objects).encode()).hexdigest()[:16]
    library = CACHE / f"bindings-{key}.so"
    if not library.exists():
        libraries = [f"-L{path}" for path in library_paths()] + ["-ltorch", "-ltorch_cpu", "-lc10"]
        subprocess.run(["g++", "-shared", *map(str, objects), *libraries, "-o", str(library)], check=True)
    return library


def plain_object(source: str) -> Path:
    """A kernel's object file, as the tests of kernels themselves run it."""
    return library_of(source, "plain").with_suffix(".o")


def pytest_configure() -> None:
    """Load the CPU extension, then the simulated kernels over it."""
    from nerf_ssim.ops import backend

    backend.describe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.ops.load_library(str(build()))
    assert "bindings/cuda/ssim.cpp" in torch._C._dispatch_dump("nerf_ssim::ssim_mean"), "the CPU's kernel still serves"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not hold for CUDA."""
    items[:] = [item for item in items if item.originalname not in DESELECTED]
