"""What the build finds and chooses: nvcc, the GPUs that it compiles for, and how long it says it will take."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def build(monkeypatch):
    """setup.py as a module, in an environment that says nothing of CUDA."""
    file = importlib.util.spec_from_file_location("nerf_ssim_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(file)
    file.loader.exec_module(module)
    for name in ("CUDA_HOME", "CUDA_PATH", "MAX_JOBS", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    return module


def toolkit(folder: Path, architectures: str = "") -> Path:
    """A toolkit whose nvcc lists these architectures."""
    (folder / "bin").mkdir(parents=True)
    (folder / "include").mkdir()
    (folder / "include" / "cuda_runtime.h").touch()
    nvcc = folder / "bin" / "nvcc"
    lines = "\n".join(f"echo compute_{number}" for number in architectures.split())
    nvcc.write_text(f"#!/bin/sh\n{lines}\n")
    nvcc.chmod(0o755)
    return nvcc


def test_the_newest_nvcc_of_pip_is_found(build, tmp_path, monkeypatch):
    toolkit(tmp_path / "nvidia" / "cu13")
    toolkit(tmp_path / "nvidia" / "cu9")
    (tmp_path / "nvidia" / "cu14" / "include").mkdir(parents=True)  # headers and libraries without a compiler
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert build.find_cuda_home() == tmp_path / "nvidia" / "cu13"


def test_cuda_home_comes_before_pip(build, tmp_path, monkeypatch):
    toolkit(tmp_path / "nvidia" / "cu13")
    toolkit(tmp_path / "own")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "own"))
    assert build.find_cuda_home() == tmp_path / "own"


def test_without_a_gpu_all_that_nvcc_knows_is_compiled(build, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    of_cuda_13 = toolkit(tmp_path / "13", "75 80 86 87 89 90 100 103 120 121")
    of_cuda_12 = toolkit(tmp_path / "12", "50 60 70 75 80 86 89 90")
    assert build.architecture_list(of_cuda_13) == "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"
    assert build.architecture_list(of_cuda_12) == "7.5;8.0;8.6;8.9;9.0+PTX"


def test_with_gpus_theirs_and_ptx_that_every_other_can_take(build, tmp_path, monkeypatch):
    capabilities = [(9, 0), (8, 6), (9, 0)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
    nvcc = toolkit(tmp_path, "75 80 86 90 100")
    assert build.architecture_list(nvcc) == "7.5+PTX;8.6;9.0"
    capabilities[:] = [(7, 5)]
    assert build.architecture_list(nvcc) == "7.5+PTX"


def test_time_that_a_build_will_take_is_shared_by_its_jobs(build, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: "/usr/bin/ninja" if name == "ninja" else None)
    cuda = ["cuda_ext/cuda/a.cu"] * 20 + ["cuda_ext/bindings/cuda/b.cpp"] * 14
    for jobs, cpu_part in ((1, 6), (2, 3), (64, 1)):
        monkeypatch.setenv("MAX_JOBS", str(jobs))
        assert build.expected_minutes(["cuda_ext/cpu/a.cpp"]) == cpu_part
    monkeypatch.setenv("MAX_JOBS", "2")
    assert build.expected_minutes(cuda, targets=7) > build.expected_minutes(cuda, targets=1) >= 1
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert build.expected_minutes(["cuda_ext/cpu/a.cpp"]) == 6, "without ninja files are compiled one by one"


def test_bindings_are_compiled_in_a_few_files_which_change_only_with_their_list(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    sources = [f"cuda_ext/bindings/{name}.cpp" for name in "abcdefg"]
    files = [tmp_path / name for name in build.joined(sources, "bindings")]
    assert len(files) == build.JOINED_FILES and all(path.parent == tmp_path / "build" for path in files)
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert sorted(lines) == [f'#include "../{source}"' for source in sources]
    before = [path.stat().st_mtime_ns for path in files]
    build.joined(sources, "bindings")
    assert [path.stat().st_mtime_ns for path in files] == before
    build.joined([*sources, "cuda_ext/bindings/h.cpp"], "bindings")
    assert [path.stat().st_mtime_ns == age for path, age in zip(files, before, strict=True)].count(False) == 1
    assert build.joined(sources[:1], "one") == ["build/one_0.cpp"]
