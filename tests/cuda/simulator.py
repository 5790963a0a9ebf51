"""The kernels' own sources on the CPU: how they are compiled for the simulator, and what a kernel under test is."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from simulated_call import Argument, Outcome, Run, arrays_in
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "cuda_ext"
SOURCES = (NATIVE / "cuda", ROOT / "tests" / "cuda")
CACHE = ROOT / "build" / "simulator"
THREADS_AT_ONCE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
SECONDS_APART = 120  # that a process of its own may take

COMMON_FLAGS = ("-std=c++20", "-fPIC", "-g1", "-Wall", "-Wno-unknown-pragmas", "-ffp-contract=off")
# Two checks for what is out of bounds, one for races, none for values. Kernels run so briefly that compiling them is
# what takes long; but the tracer counts the accesses of optimised code.
BUILDS = {
    "plain": (("-O0",), ()),
    "traced": (("-O1", "-fsanitize=thread", "-fno-tree-sra"), ()),  # a float4 stays one access
    "sanitized": (
        ("-O0", "-fsanitize=address,undefined,bounds-strict", "-fno-sanitize-recover=undefined"),
        ("-fsanitize=address",),
    ),
}  # name: (flags of the kernel, flags of the simulator)
RUNTIME = {"plain": ("device", "fibre"), "traced": ("device", "fibre", "trace"), "sanitized": ("device", "fibre")}


@dataclass(frozen=True)
class Mutation:
    """A planted defect: `find`, which `file` (the kernel's own source by default) has once, becomes `replace`.

    `caught_by` is the check that must find it: "value" (a wrong or NaN result in one of the thread orders), "race" (the
    tracer), "bounds" (AddressSanitizer or UBSan) or "named" (the simulator says what is wrong).
    """

    name: str
    find: str
    replace: str
    caught_by: str
    file: str = ""


@dataclass(frozen=True)
class Case:
    """One call of a launcher and what it must write.

    Args:
        arguments: by name, in the launcher's order without its stream; see `simulated_call.Argument`. Each run gets
            copies.
        expected: the arrays to compare, by the same names and inside the same structs; floats within `tolerance` times
            the largest expected size (at least 1e-3), NaN where NaN is expected; integers exactly.
        shares_addresses: several blocks write one address here.
        elements, floor: of the case whose bytes docs/kernels.md reports: what is counted, how many of it, and the
            fewest bytes read and written for each.
    """

    name: str
    launcher: str
    arguments: dict[str, Argument]
    expected: dict[str, Argument]
    tolerance: float = 3e-6
    shares_addresses: bool = False
    elements: int = 0
    floor: tuple[float, float] = (0, 0)

    def run(self, library: Path, order: str = "ascending", seed: int = 0) -> Run:
        """The call on fresh copies of the arguments."""
        copies = {name: _copied(argument) for name, argument in self.arguments.items()}
        return Run(str(library), self.launcher, copies, order, seed)

    def error_of(self, outcome: Outcome) -> str:
        """What is wrong with what a run wrote, or ""."""
        written = arrays_in(outcome.arguments)
        for name, expected in arrays_in(self.expected).items():
            actual = written[name].reshape(expected.shape)
            if not np.issubdtype(expected.dtype, np.floating):
                if not np.array_equal(actual, expected):
                    return f"{name}: {int((actual != expected).sum())} of {expected.size} entries differ"
                continue
            if not np.array_equal(np.isnan(actual), np.isnan(expected)):
                return f"{name}: {int(np.isnan(actual).sum())} of {expected.size} entries are NaN"
            if expected.size:
                error = float(np.nanmax(np.abs(actual.astype(np.float64) - expected), initial=0.0))
                largest = float(np.nanmax(np.abs(expected), initial=0.0))
                if error > self.tolerance * max(1e-3, largest):
                    return f"{name}: error {error:.3g} of {largest:.3g}"
        return ""


@dataclass(frozen=True)
class Kernel:
    """A kernel under test.

    Args:
        name: of the op's pass, unique.
        source: its file in one of SOURCES.
        what: at most five lines for docs/kernels.md.
        entries: the __global__ functions that its launchers use.
        cases: makes them; called when they are needed.
    """

    name: str
    source: str
    what: str
    entries: tuple[str, ...]
    cases: Callable[[], Sequence[Case]]
    mutations: tuple[Mutation, ...] = field(default=())


def _copied(argument: Argument) -> Argument:
    """The same argument with copies of all its arrays."""
    if isinstance(argument, dict):
        return {name: _copied(value) for name, value in argument.items()}
    if isinstance(argument, tuple):
        return tuple(_copied(value) for value in argument)
    return _aligned_copy(argument) if isinstance(argument, np.ndarray) else argument


def _aligned_copy(array: np.ndarray) -> np.ndarray:
    """A copy that begins where a device allocation would, so that its sectors are counted right."""
    memory = np.empty(array.nbytes + 256, np.uint8)
    start = -memory.ctypes.data % 256
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def unwritten(*shape: int) -> np.ndarray:
    """A float32 output that nobody has written."""
    return np.full(shape, np.nan, dtype=np.float32)


def single(tensor: Tensor) -> np.ndarray:
    """Double-precision values as the launchers take them."""
    return tensor.detach().numpy().astype(np.float32)


def missing_tool() -> str:
    """Why nothing can be simulated here, or ""."""
    if sys.platform != "linux":
        return "the simulator is written for Linux"
    return "" if shutil.which("g++") else "needs g++"


def library_of(source: str, build: str, mutation: Mutation | None = None) -> Path:
    """The shared library of a kernel's source with the simulator, compiled unless it is there already.

    The kernel's object file lies beside it.

    Raises:
        RuntimeError: the compiler's errors.
        ValueError: a mutation whose text is not in its file exactly once.
    """
    changed = mutated(source, mutation) if mutation else {}
    name = _digest(source, build, changed)
    library = CACHE / f"{Path(source).stem}-{build}-{name}.so"
    if not (library.exists() and library.with_suffix(".o").exists()):
        with tempfile.TemporaryDirectory() as folder:
            # All headers go along, so that one that is changed is the only one of its name.
            headers = [path for pattern in ("*.h", "*.cuh") for path in (NATIVE / "cuda").glob(pattern)]
            for path in [_path(source), *headers]:
                (Path(folder) / path.name).write_text(changed.get(path.name) or path.read_text())
            _compile_kernel(Path(folder) / source, build, library)
    return library


def _path(source: str) -> Path:
    return next(folder / source for folder in SOURCES if (folder / source).exists())


def mutated(source: str, mutation: Mutation) -> dict[str, str]:
    """The text of the file that a planted defect changes, by its name."""
    file = mutation.file or source
    text = _path(file).read_text()
    if text.count(mutation.find) != 1:
        raise ValueError(f"{mutation.name}: {file} has {mutation.find!r} {text.count(mutation.find)} times, not once")
    return {file: text.replace(mutation.find, mutation.replace)}


def _digest(source: str, build: str, changed: dict[str, str]) -> str:
    """Of everything that the library is made of."""
    digest = hashlib.sha256(repr((COMMON_FLAGS, BUILDS[build], RUNTIME[build])).encode())
    patterns = ("cuda/*.h", "cuda/*.cuh", "simulator/*", "include/*")
    files = [path for pattern in patterns for path in sorted(NATIVE.glob(pattern))]
    for path in [_path(source), *files]:
        digest.update((changed.get(path.name) or path.read_text()).encode())
    return digest.hexdigest()[:16]


def _compile_kernel(source: Path, build: str, library: Path) -> None:
    kernel_flags, _ = BUILDS[build]
    headers = ("-I", str(NATIVE / "simulator"), "-iquote", str(NATIVE / "cuda"))
    linked = map(str, runtime_objects(build))
    link_flags = [flag for flag in kernel_flags if flag != "-fsanitize=thread"]  # trace.cpp stands in for its library
    compiled = library.with_suffix(".o")
    _run_to(compiled, ["g++", *COMMON_FLAGS, *kernel_flags, *headers, "-x", "c++", "-c", str(source), "-o"])
    _run_to(library, ["g++", *COMMON_FLAGS, *link_flags, "-shared", str(compiled), *linked, "-o"])


def runtime_objects(build: str) -> list[Path]:
    """The simulator itself, compiled for one of the builds."""
    flags = ["-O2", *COMMON_FLAGS, *BUILDS[build][1]]
    return [library_object(NATIVE / "simulator" / f"{name}.cpp", flags) for name in RUNTIME[build]]


def library_object(source: Path, flags: Sequence[str]) -> Path:
    """A file of cuda_ext compiled as C++ for a library, unless it is there already."""
    digest = hashlib.sha256(repr(tuple(flags)).encode() + source.read_bytes())
    for path in sorted(path for pattern in ("**/*.h", "**/*.cuh") for path in NATIVE.glob(pattern)):
        digest.update(path.read_bytes())
    target = CACHE / f"{source.stem}-{digest.hexdigest()[:16]}.o"
    if not target.exists():
        _run_to(target, ["g++", *flags, "-x", "c++", "-c", str(source), "-o"])
    return target


def joined_bindings() -> Path:
    """All CUDA bindings as one C++ file, which compiles like a file of `cuda_ext/bindings/cuda`.

    Reading PyTorch's headers is most of what compiling a binding takes. Their names may therefore not clash.
    """
    paths = sorted(path for path in (NATIVE / "bindings" / "cuda").glob("*.cpp") if path.name != "module.cpp")
    joined = CACHE / "bindings.cpp"
    joined.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f'#line 1 "{path.relative_to(ROOT)}"\n{path.read_text()}' for path in paths)
    if not joined.exists() or joined.read_text() != text:
        joined.write_text(text)
    return joined


def _run_to(target: Path, command: list[str]) -> None:
    """Run a command that writes a file, so that no other process ever sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}")
    _run([*command, str(part)])
    part.rename(target)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


def outcomes_apart(runs: Sequence[Run], sanitized: bool = False) -> Iterator[Outcome]:
    """The runs in a process of their own, each outcome as soon as it is there, for as long as the caller wants more.

    Where that process crashes or takes longer than SECONDS_APART, the last outcome says so in `crash`.
    """
    environment = dict(os.environ)
    if sanitized:
        environment.update(
            LD_PRELOAD=_sanitizer_library(), ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=0"
        )
    command = [sys.executable, str(Path(__file__).with_name("simulated_call.py"))]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(SECONDS_APART, process.kill)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                pickle.dump(list(runs), process.stdin)
            yield from _pickles(process.stdout)
            if process.wait():
                said.seek(0)
                yield Outcome(crash=said.read().strip() or f"exit status {process.returncode}")
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()


def _pickles(stream: IO[bytes]) -> Iterator[Outcome]:
    while True:
        try:
            yield pickle.load(stream)
        except (EOFError, pickle.UnpicklingError):
            return


@cache
def _sanitizer_library() -> str:
    return subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()


def source_lines(library: Path, races: Sequence[str]) -> list[str]:
    """The tracer's races with `file:line` for its code offsets."""
    lines = []
    for race in races:
        *kind, first, second, times = race.split()
        command = ["addr2line", "-s", "-e", str(library), first.removeprefix("+"), second.removeprefix("+")]
        done = subprocess.run(command, capture_output=True, text=True)
        places = done.stdout.split("\n") if done.returncode == 0 else [first, second]
        lines.append(f"{' '.join(kind)}: {places[0]} and {places[1]}, {times} times")
    return lines
