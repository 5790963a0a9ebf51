"""What no linter states about the files: their length, and that every room stands in the import contract.

Who may import whom is in pyproject.toml, as contracts of import-linter, which `make lint` checks.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "nerf_ssim"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 320
CONTRACTS = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.importlinter]")[2]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_room_stands_in_the_import_contract():
    layers = set(re.findall(r'"(\w+)"', CONTRACTS.partition("layers = [")[2].partition("]")[0]))
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} - {"__init__", "__main__"}
    assert rooms == layers


def test_every_folder_is_packaged():
    assert {path.parent for path in FILES} == {path.parent for path in FILES if path.stem == "__init__"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_train_py_only_hands_over():
    assert len((ROOT / "train.py").read_text(encoding="utf-8").splitlines()) <= 40


def test_a_forbidden_import_breaks_the_contract(tmp_path):
    """The contracts see this package: a lower room that imports a higher one is named."""
    pytest.importorskip("importlinter")
    package = tmp_path / "nerf_ssim"
    for path in FILES:
        target = package / path.relative_to(PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (tmp_path / "contracts.toml").write_text(f"[tool.importlinter]{CONTRACTS}", encoding="utf-8")
    linter = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", linter, "--no-cache", "contracts.toml"]
    kept = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    (package / "ops" / "ssim.py").open("a", encoding="utf-8").write("\nimport nerf_ssim.training.loop\n")
    broken = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert broken.returncode == 1
    assert "nerf_ssim.ops.ssim -> nerf_ssim.training.loop" in broken.stdout
