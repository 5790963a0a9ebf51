"""The kernels that are compiled once for each processor level."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

LEVELS = Path(__file__).resolve().parents[2] / "cuda_ext" / "cpu" / "levels"
NAMESPACES = {
    "avx2": "avx2", "avx2_networks": "avx2", "avx512": "avx512", "avx512_networks": "avx512",
    "avx512_bf16": "avx512_bf16",
}  # fmt: skip


def inline_functions(compiled: Path) -> dict[str, str]:
    """The code of the functions of which the linker keeps one copy for all files that define them."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "-C", str(compiled)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sections = re.split(r"^Disassembly of section ", listing, flags=re.M)
    functions = {}
    for section in sections:
        for name, code in re.findall(r"^\w+ <(.*)>:\n((?:.+\n)*)", section, re.M):
            if section.startswith(".text._Z"):  # a group of its own, which is what can be dropped
                functions[name] = code
    return functions


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have one level")
@pytest.mark.skipif(not all(map(shutil.which, ("g++", "objdump"))), reason="needs g++ and objdump")
@pytest.mark.parametrize("name", NAMESPACES)
def test_what_a_level_shares_with_other_files_runs_on_any_processor(name, tmp_path):
    source, compiled = LEVELS / f"{name}.cpp", tmp_path / "level.o"
    flags = ["-std=c++20", "-O0", "-w", "-fvisibility=hidden"]
    subprocess.run(["g++", *flags, "-c", str(source), "-o", str(compiled)], check=True)
    functions = inline_functions(compiled)
    shared = {each: code for each, code in functions.items() if f"nerf_ssim::{NAMESPACES[name]}::" not in each}
    assert len(shared) < len(functions)
    needs_avx = [each for each, code in shared.items() if re.search(r"\t(v[a-z]|[a-z]+ .*%[yz]mm)", code)]
    assert needs_avx == []
