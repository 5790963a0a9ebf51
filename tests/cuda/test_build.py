"""The kernels compile without a warning, stay within their budget, link and import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from budget import FILE, faults, measured
from compiled import ARCHITECTURES, BUDGETED, SOURCES, Usage, nvcc, object_of, usage_of
from kernels import KERNELS
from simulator import ROOT, joined_bindings, missing_tool

from nerf_ssim.ops import backend

needs_nvcc = pytest.mark.skipif(nvcc() is None, reason="needs nvcc")
needs_simulated_bindings = pytest.mark.skipif(
    bool(missing_tool()) or backend.describe()["ssim_mean"][0] != "native",
    reason=missing_tool() or "needs the native extension",
)
# Ops of the CPU that are matrix products: on CUDA PyTorch's operators, which call cuBLAS, serve them.
WITHOUT_KERNEL = {
    *("decode_color", "decode_color_backward"),
    *("siren", "siren_activation_floats", "siren_backward", "siren_fit", "siren_keeping", "siren_kept_backward"),
}


def usage_everywhere(source: str) -> dict[str, dict[int, Usage]]:
    """Of a file, on every architecture that the project compiles for."""
    return usage_of(source, ARCHITECTURES)


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_no_warning_spill_local_memory_or_double(source, result):
    assert result
    for entry, by_architecture in result.items():
        assert set(by_architecture) == set(BUDGETED), entry


@needs_nvcc
@pytest.mark.release
@pytest.mark.parametrize("source", SOURCES)
def test_nor_on_any_other_architecture(source, result):
    assert result
    for entry, by_architecture in result.items():
        assert set(by_architecture) == set(ARCHITECTURES), entry


@needs_nvcc
@pytest.mark.slow
def test_no_kernel_is_worse_than_its_budget():
    assert faults(measured(architectures=BUDGETED), json.loads(FILE.read_text())) == []


@needs_nvcc
@pytest.mark.release
def test_nor_on_any_architecture_of_the_budget():
    assert faults(measured(), json.loads(FILE.read_text())) == []


def test_a_kernel_that_got_worse_or_is_not_budgeted_is_named():
    budget = {"a": {"sm_80": {"registers": 32, "shared": 0, "occupancy": 100}}}
    assert faults({"a": {"sm_80": {"registers": 32, "shared": 0, "occupancy": 100}}}, budget) == []
    worse = {"a": {"sm_80": {"registers": 33, "shared": 4, "occupancy": 75}}, "b": {}}
    assert [fault.split(":")[1].split()[0] for fault in faults(worse, budget)] == [
        "occupancy",
        "registers",
        "shared",
        "not",
    ]


@pytest.mark.parametrize(
    ("usage", "architecture", "percent"),
    [
        (Usage(256, 32, 13 * 1024), 80, 100),
        (Usage(512, 32, 35936), 80, 100),
        (Usage(512, 33, 0), 80, 75),  # 40 registers are given out
        (Usage(512, 32, 48 * 1024), 80, 75),  # by shared memory
        (Usage(512, 32, 48 * 1024), 90, 100),
        (Usage(32, 16, 0), 80, 50),  # 32 blocks
        (Usage(1024, 64, 0), 90, 50),
    ],
)
def test_occupancy_is_that_of_the_published_calculator(usage, architecture, percent):
    assert round(100 * usage.occupancy(architecture)) == percent


@needs_nvcc
@pytest.mark.slow
def test_every_compiled_kernel_is_tested_in_the_simulator():
    compiled = {entry for source in SOURCES for entry in usage_of(source)}
    assert compiled == {entry for kernel in KERNELS for entry in kernel.entries}


BUILD = """
import os, sys
sys.path.insert(0, ".")
import setup as project
from setuptools import setup
(extension,) = project.cuda_extension()
bindings, *extension.extra_objects = sys.argv.pop(1).split(os.pathsep)
extension.sources = [source for source in extension.sources if source.endswith("module.cpp")] + [bindings]
extension.include_dirs.append(str(project.ROOT / "cuda_ext/bindings/cuda"))
from torch.utils.cpp_extension import BuildExtension
setup(license="MIT", ext_modules=[extension], cmdclass={"build_ext": BuildExtension}, script_args=sys.argv[1:])
"""
IMPORT = """
import sys, torch
from nerf_ssim.ops import backend
backend.describe()
torch.ops.load_library(sys.argv[1])
ops = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("nerf_ssim::")]
has = torch._C._dispatch_has_kernel_for_dispatch_key
print(*(op.split("::")[1] for op in ops if has(op, "CPU") and not has(op, "CUDA")))
"""


def ops_without_cuda_kernel() -> set[str]:
    """Links the kernels that were compiled for their budget into an extension, and imports it.

    Returns:
        the operators of the CPU that have no CUDA kernel.
    """
    home = nvcc().parents[1]
    environment = {**os.environ, "NERF_SSIM_CUDA": "1", "TORCH_CUDA_ARCH_LIST": "8.0", "CUDA_HOME": str(home)}
    with tempfile.TemporaryDirectory() as folder:
        folders = ["--build-lib", folder, "--build-temp", str(ROOT / "build" / "cuda-check")]
        bindings = str(joined_bindings().relative_to(ROOT))
        parts = os.pathsep.join([bindings, *(str(object_of(source)) for source in SOURCES)])
        build = [sys.executable, "-c", BUILD, parts, "--quiet", "build_ext", *folders]
        done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (library,) = Path(folder).glob("nerf_ssim/_C_cuda*.so")
        done = subprocess.run([sys.executable, "-c", IMPORT, str(library)], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@needs_nvcc
@pytest.mark.slow
@pytest.mark.skipif(torch.version.cuda is None, reason="PyTorch is a build without CUDA")
@pytest.mark.skipif(backend.describe()["ssim_mean"][0] != "native", reason="needs the native extension")
def test_the_extension_links_imports_and_has_a_kernel_for_each_op(result):
    assert result == WITHOUT_KERNEL, "keep the list of those without true"


WITHOUT_OPS_OF_CUDA = ("decoder", "decoder_bf16", "decoder_lanes", "siren")


def over_the_simulator(*targets: str) -> subprocess.CompletedProcess:
    """Tests of ops again, with the CUDA bindings and kernels in the place of the CPU's."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests" / "cuda")))}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "simulated_bindings"]
    return subprocess.run([*command, *targets], cwd=ROOT, env=environment, capture_output=True, text=True)


def declared_ops_over_the_simulator() -> subprocess.CompletedProcess:
    """What each op promises: its values, and every derivative."""
    return over_the_simulator("tests/ops/test_declared.py")


def ops_tests_over_the_simulator() -> subprocess.CompletedProcess:
    """The whole room, but for ops without a CUDA kernel."""
    return over_the_simulator("tests/ops", *(f"--ignore=tests/ops/test_{name}.py" for name in WITHOUT_OPS_OF_CUDA))


@pytest.mark.slow
@needs_simulated_bindings
def test_the_bindings_serve_every_declared_op_over_the_simulator(result):
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


@pytest.mark.release
@needs_simulated_bindings
def test_the_bindings_serve_the_ops_own_tests_over_the_simulator(result):
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


JOBS = {
    "test_no_warning_spill_local_memory_or_double": usage_of,
    "test_nor_on_any_other_architecture": usage_everywhere,
    "test_the_extension_links_imports_and_has_a_kernel_for_each_op": ops_without_cuda_kernel,
    "test_the_bindings_serve_every_declared_op_over_the_simulator": declared_ops_over_the_simulator,
    "test_the_bindings_serve_the_ops_own_tests_over_the_simulator": ops_tests_over_the_simulator,
}
