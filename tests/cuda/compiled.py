"""What nvcc and ptxas say of the kernels: errors, registers, shared memory and the occupancy that follows."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import subprocess
import tempfile
import threading
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from simulator import CACHE, NATIVE, ROOT

SOURCES = tuple(sorted(path.name for path in (NATIVE / "cuda").glob("*.cu")))
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120, 121)
BUDGETED = (80,)  # in every run; before a release each of LIMITS
# Spills, other local memory and double precision are errors, as is every warning.
STRICT = ("-Xptxas", "-v,-warn-spills,-warn-lmem-usage,-warn-double-usage,-Werror", "-Werror", "all-warnings")
HOST = ("-Xcompiler", "-fPIC,-fvisibility=hidden,-g0")  # as setup.py compiles them, for an extension to link
_LOCKS = {source: threading.Lock() for source in SOURCES}  # jobs that want the same file wait for one compilation


@dataclass(frozen=True)
class Limits:
    """Of one multiprocessor; source: CUDA C++ programming guide, table of technical specifications."""

    threads: int
    blocks: int
    registers: int
    shared: int  # bytes, of which each block takes a further kibibyte


LIMITS = {
    80: Limits(2048, 32, 65536, 164 * 1024),
    86: Limits(1536, 16, 65536, 100 * 1024),
    89: Limits(1536, 24, 65536, 100 * 1024),
    90: Limits(2048, 32, 65536, 228 * 1024),
    120: Limits(1536, 24, 65536, 100 * 1024),
}
BYTES_OF_INSTRUCTION = 16  # from sm_70 on


@dataclass(frozen=True)
class Usage:
    """Of one __global__ function on one architecture; `threads` are its launch bounds'.

    `instructions` is the length of its code, with the divisions that it calls and what fills up its last line.
    """

    threads: int
    registers: int
    shared: int
    instructions: int = 0

    def occupancy(self, architecture: int) -> float:
        """Theoretical share of the multiprocessor's threads that run at once, 0 to 1."""
        limits = LIMITS[architecture]
        warps = -(-self.threads // 32)
        registers_of_warp = -(-self.registers * 32 // 256) * 256  # given out by 256
        by_registers = limits.registers // registers_of_warp // warps
        by_shared = limits.shared // (-(-self.shared // 128) * 128 + 1024)
        blocks = min(limits.threads // self.threads, limits.blocks, by_registers, by_shared)
        return blocks * self.threads / limits.threads


@cache
def nvcc() -> Path | None:
    """The compiler that setup.py finds, or None."""
    file = importlib.util.spec_from_file_location("nerf_ssim_setup", ROOT / "setup.py")
    assert file is not None and file.loader is not None
    setup = importlib.util.module_from_spec(file)
    file.loader.exec_module(setup)
    home = setup.find_cuda_home()
    return home / "bin" / "nvcc" if home else None


@cache
def usage_of(source: str, architectures: tuple[int, ...] = BUDGETED) -> dict[str, dict[int, Usage]]:
    """By __global__ function and architecture; compiled unless that was done already.

    Raises:
        RuntimeError: what nvcc or ptxas object to.
    """
    saved = json.loads(record_of(source, architectures).read_text())
    return {entry: {int(a): Usage(**usage) for a, usage in by.items()} for entry, by in saved.items()}


def object_of(source: str, architectures: tuple[int, ...] = BUDGETED) -> Path:
    """The object file that was compiled for `usage_of`, with its host part, for an extension to link."""
    return record_of(source, architectures).with_suffix(".o")


def record_of(source: str, architectures: tuple[int, ...]) -> Path:
    """The file of what the compilers said, beside the object of the same name; compiled unless both are there."""
    headers = ("cuda/*.h", "cuda/*.cuh", "include/*.h")
    texts = [path.read_bytes() for pattern in headers for path in NATIVE.glob(pattern)]
    key = hashlib.sha256(
        b"".join(
            [
                repr((STRICT, HOST, architectures, [each.name for each in fields(Usage)])).encode(),
                (NATIVE / "cuda" / source).read_bytes(),
                *sorted(texts),
            ]
        )
    )
    record = CACHE / f"{Path(source).stem}-{key.hexdigest()[:16]}.json"
    with _LOCKS[source]:
        if not (record.exists() and record.with_suffix(".o").exists()):
            record.parent.mkdir(parents=True, exist_ok=True)
            table = _compile(source, architectures, record.with_suffix(".o"))
            record.write_text(json.dumps({e: {a: asdict(u) for a, u in by.items()} for e, by in table.items()}))
    return record


def _compile(source: str, architectures: tuple[int, ...], compiled: Path) -> dict[str, dict[int, Usage]]:
    targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    targets.append(f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}")
    with tempfile.TemporaryDirectory() as folder:
        flags = ["-O3", "-std=c++20", *STRICT, *targets, "--threads", "2", "--keep", "--keep-dir", folder]
        command = [str(nvcc()), *flags, *HOST, "-c", str(NATIVE / "cuda" / source), "-o", str(compiled)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = _demangled(done.stdout + done.stderr)
            raise RuntimeError(
                "\n".join(line for line in said.splitlines() if "ptxas info" not in line and "bytes stack" not in line)
            )
        bounds = {}
        for ptx in Path(folder).glob("*.ptx"):
            bounds |= {
                name: int(n) for name, n in re.findall(r"\.entry (\w+)\([^)]*\)\s*\.maxntid (\d+)", ptx.read_text())
            }
        instructions = {
            (name, int(re.findall(r"_(\d+)", cubin.stem)[-1])): size // BYTES_OF_INSTRUCTION
            for cubin in Path(folder).glob("*.cubin")
            for name, size in _code_sizes(cubin).items()
        }
    table: dict[str, dict[int, Usage]] = {}
    report = re.finditer(
        r"Compiling entry function '(\w+)' for 'sm_(\d+)'.*?Used (\d+) registers(?:.*?, (\d+) bytes smem)?",
        re.sub(r"\n(?!.*Compiling)", " ", done.stdout + done.stderr),
    )
    for name, architecture, registers, shared in (match.groups() for match in report):
        length = instructions[name, int(architecture)]
        usage = Usage(bounds[name], int(registers), int(shared or 0), length)
        table.setdefault(_entry(name), {})[int(architecture)] = usage
    return table


def _code_sizes(cubin: Path) -> dict[str, int]:
    """Bytes of the code of each function, which has a section of its own."""
    done = subprocess.run(["readelf", "-SW", str(cubin)], capture_output=True, text=True, check=True)
    sections = re.findall(r" \.text\.(\w+) +PROGBITS +\w+ +\w+ +(\w+)", done.stdout)
    return {name: int(size, 16) for name, size in sections}


def _demangled(text: str) -> str:
    return subprocess.run(["c++filt"], input=text, capture_output=True, text=True, check=True).stdout


def _entry(mangled: str) -> str:
    """`name<arguments>` of a __global__ function."""
    full = _demangled(mangled).strip().removeprefix("void ").replace("(anonymous namespace)::", "")
    name = full[: _end_of_name(full)]
    return re.sub(r"^.*::(?=\w+(<|$))", "", name).replace("(bool)1", "true").replace("(bool)0", "false")


def _end_of_name(signature: str) -> int:
    """Where the parameters begin: the first parenthesis outside angle brackets."""
    depth = 0
    for place, character in enumerate(signature):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "(" and depth == 0:
            return place
    return len(signature)
