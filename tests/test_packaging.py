"""The build never fails for want of a compiler, says in one line what it did, and ships its resources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nerf_ssim.errors import ConfigError
from nerf_ssim.resources import find_resource

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that the build reads, with one small native source."""
    for name in ("setup.py", "pyproject.toml", "build_backend.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "nerf_ssim", tmp_path / "nerf_ssim", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "cuda_ext" / "cpu").mkdir(parents=True)
    (tmp_path / "cuda_ext" / "bindings").mkdir()
    shutil.copy(ROOT / "cuda_ext/bindings/module.cpp", tmp_path / "cuda_ext/bindings/module.cpp")
    return tmp_path


def run_setup(folder, *arguments, **environment):
    variables = {key: value for key, value in os.environ.items() if key != "NERF_SSIM_NO_EXT"}
    command = [sys.executable, "setup.py", "--quiet", *arguments]
    return subprocess.run(command, cwd=folder, env={**variables, **environment}, capture_output=True, text=True)


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("nerf_ssim:")]


@pytest.mark.slow
def test_extension_can_be_declined(checkout):
    done = run_setup(checkout, "build_ext", "--inplace", NERF_SSIM_NO_EXT="1")
    assert lines_of(done) == ["nerf_ssim: pure Python, without the native extension: NERF_SSIM_NO_EXT is set"]
    assert not list(checkout.rglob("*.so"))


@pytest.mark.slow
def test_missing_compiler_is_named_and_the_first_command_can_tell(checkout):
    (line,) = lines_of(run_setup(checkout, "build_ext", "--inplace", CXX="no-such-compiler"))
    assert "no C++ compiler (no-such-compiler)" in line
    program = (
        "import sys; sys.meta_path = [finder for finder in sys.meta_path if 'Editable' not in repr(finder)]\n"
        "from nerf_ssim.ops.backend import describe; print(describe()['s3im'])"
    )
    variables = {key: value for key, value in os.environ.items() if key != "NERF_SSIM_NO_EXT"}
    variables["PYTHONPATH"] = str(checkout)
    done = subprocess.run([sys.executable, "-c", program], cwd=checkout, env=variables, capture_output=True, text=True)
    assert "the extension is not built: no C++ compiler (no-such-compiler)" in done.stdout


@pytest.mark.slow
def test_a_wheel_without_kernels_carries_the_reason(checkout):
    lines_of(run_setup(checkout, "build_py", "--build-lib", "out", CXX="no-such-compiler"))
    assert "no-such-compiler" in (checkout / "out" / "nerf_ssim" / "without_kernels.txt").read_text()


@pytest.mark.slow
def test_an_isolated_build_sees_the_pytorch_that_is_installed(checkout):
    """As pip runs it: without the environment's packages on the path, but with setuptools."""
    program = (
        "import sys, sysconfig; here = sysconfig.get_paths()['purelib']\n"
        "import setuptools, importlib.util\n"
        "sys.path = [path for path in sys.path if path != here]\n"
        "assert importlib.util.find_spec('torch') is None\n"
        "before = list(sys.path)\n"
        "import build_backend; build_backend.see_the_environment()\n"
        "assert importlib.util.find_spec('torch') is not None\n"
        "assert sys.path[:len(before)] == before and here in sys.path[len(before):]"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_failed_compilation_is_one_line_with_its_cause_and_no_failure(checkout):
    if not any(shutil.which(compiler) for compiler in ("g++", "c++")):
        pytest.skip("needs a C++ compiler")
    (checkout / "cuda_ext/cpu/broken.cpp").write_text('#error "planted"\n')
    started, line = lines_of(run_setup(checkout, "build_ext", "--inplace"))
    assert "takes about" in started
    assert "did not build" in line and "broken.cpp:1:2: error" in line and "build/extension.log" in line
    assert not list(checkout.rglob("*.so"))


@pytest.mark.slow
def test_build_carries_the_configurations_and_the_type_marker(checkout):
    lines_of(run_setup(checkout, "build_py", "--build-lib", "out", NERF_SSIM_NO_EXT="1"))
    package = checkout / "out" / "nerf_ssim"
    assert (package / "py.typed").exists()
    assert (package / "bundled/configs/room.txt").read_text() == (ROOT / "configs/room.txt").read_text()


def test_resources_are_found_by_name_and_stay_inside_their_folder():
    assert find_resource("configs", "room.txt").is_file()
    with pytest.raises(ConfigError, match="room.txt"):
        find_resource("configs", "no_such.txt")
    with pytest.raises(ConfigError):
        find_resource("configs", "../setup.py")
