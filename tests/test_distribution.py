"""The source distribution and the wheel made of it: what they hold, what they say of themselves, and that they work."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from nerf_ssim import __version__

ROOT = Path(__file__).resolve().parents[1]
PURE = {"NERF_SSIM_NO_EXT": "1"}


def command(folder: Path, *words: object, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a copy of what git would check out, so that nothing unversioned gets in."""
    folder = tmp_path_factory.mktemp("sdist")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("needs a git checkout, whose list of files is taken")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    command(folder, "setup.py", "--quiet", "sdist", "--dist-dir", folder / "dist", **PURE)
    return next((folder / "dist").glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, without kernels."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        filtered = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python before 3.10.12 and 3.11.4
        archive.extractall(folder, **filtered)
    source = next(folder.iterdir())
    command(source, "-c", "import build_backend; build_backend.build_wheel('.')", **PURE)
    return next(source.glob("*.whl"))


@pytest.mark.slow
def test_the_source_distribution_has_what_a_build_a_test_and_a_reader_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        *("setup.py", "pyproject.toml", "build_backend.py", "README.md", "LICENSE", "CHANGELOG.md", "mkdocs.yml"),
        *("docs/api.md", "docs/values.md", "docs/images/room.png", "examples/loop.py", "Dockerfile", ".ci/smoke.py"),
        *("cuda_ext/cpu/ssim.cpp", "cuda_ext/cuda/ssim.cu", "cuda_ext/include/ssim.h", "configs/room.txt"),
        *("data/room/meta_data.json", "tests/ssim/test_values.py", "tests/conftest.py", "benchmarks/ssim.py"),
    ):
        assert name in names, name
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o"))]


@pytest.mark.slow
def test_the_wheel_says_everything_of_itself(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(path))
        names = archive.namelist()
    assert metadata["Name"] == "nerf_ssim" and metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License"] or metadata["License-Expression"]
    assert metadata["Author"] and metadata["Keywords"] and metadata["Summary"]
    assert metadata["Description-Content-Type"] == "text/markdown" and "# nerf_ssim" in metadata.get_payload()
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.13"} <= set(metadata.get_all("Classifier"))
    needed = metadata.get_all("Requires-Dist")
    core = {re.split(r"[<>=!;\[ ]", each)[0].lower() for each in needed if "extra ==" not in each}
    assert core == {"torch", "numpy", "imageio", "pillow", "opencv-python", "configargparse", "tqdm"}
    unbound = [each for each in needed if not re.search(r"[>=]=", each.partition(";")[0])]
    assert all(each.startswith(("types-", "nerf_ssim[")) for each in unbound), unbound
    for name in ("nerf_ssim/py.typed", "nerf_ssim/bundled/configs/room.txt", "nerf_ssim/without_kernels.txt"):
        assert name in names, name
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "examples"))]


@pytest.mark.slow
def test_the_wheel_works_where_it_is_installed(wheel, tmp_path):
    """As a target of its own, in front of the environment's packages; nothing is fetched."""
    target = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    command(tmp_path, ROOT / ".ci/smoke.py", PYTHONPATH=str(target), OMP_WAIT_POLICY="passive")
