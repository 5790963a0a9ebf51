"""The tests of the operators, over an extension that is compiled whole with sanitizers.

    python tests/sanitize.py              # both; `address` or `thread` for one of them
    python tests/sanitize.py thread -k voxel

`address` is AddressSanitizer and UndefinedBehaviorSanitizer over every test of the operators and over the table of odd
arguments; any finding ends the process. `thread` is ThreadSanitizer over the operators whose kernels share their work
among threads. GCC's own OpenMP is unknown to ThreadSanitizer, which then reports races that are none: LLVM's OpenMP
stands in for it, with Archer, which tells ThreadSanitizer what each thread waits for.

Each extension is built in a copy of the checkout below build/sanitize, so that nothing of the checkout is replaced. It
needs Linux, g++ with its sanitizers and, for `thread`, libomp and libarcher of LLVM (Debian: libomp-14-dev).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "sanitize"
COPIED = ("setup.py", "pyproject.toml", "nerf_ssim", "cuda_ext", "tests", "configs", "data/room")
OPS = "tests/ops"
ODD_ARGUMENTS = "tests/robustness/test_native_arguments.py"
# What is not about the extension's own code: programs that a test compiles itself, and generated code that is compiled
# under way.
NOT_OURS = "not lanes and not compile and not inductor"
BUILD = """
import sys
sys.path.insert(0, ".")
import setup as project
from setuptools import setup
(extension, *_), builder = project.extensions_and_builder()
flags, joined = sys.argv.pop(1).split(), sys.argv.pop(1)
extension.sources = [path for path in extension.sources if not path.startswith("cuda_ext/bindings")] + [joined]
extension.extra_compile_args += flags
extension.include_dirs.append(str(project.ROOT / "cuda_ext/bindings"))
extension.extra_link_args += [flag for flag in flags if flag.startswith("-fsanitize")]
setup(name="nerf_ssim", packages=["nerf_ssim"], ext_modules=[extension], cmdclass={"build_ext": builder})
"""


class Missing(Exception):
    """Something that is needed is not installed; the message says what."""


@dataclass(frozen=True)
class Sanitizer:
    """How an extension is compiled and tested.

    Attributes:
        flags: of the compiler, behind those of setup.py.
        preloaded: libraries that have to be there before Python is.
        environment: of the tests.
        tests: arguments of pytest.
        report: how a finding is recognised in what the tests print.
    """

    flags: tuple[str, ...]
    preloaded: tuple[str, ...]
    tests: tuple[str, ...]
    report: str
    environment: dict[str, str] = field(default_factory=dict)


def gcc_library(name: str) -> str:
    """The path of a library of the compiler's own."""
    found = subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        raise Missing(f"{name}: install the sanitizers of g++")
    return str(Path(found).resolve())


def llvm_library(name: str) -> str:
    """The path of a library of LLVM's OpenMP, of the newest version that is installed."""
    found = sorted(Path("/usr/lib").glob(f"llvm-*/lib/{name}"), key=lambda path: int(path.parts[3].split("-")[1]))
    if not found:
        raise Missing(f"{name}: install LLVM's OpenMP (Debian: libomp-14-dev)")
    return str(found[-1])


def address() -> Sanitizer:
    """Accesses outside what was allocated, and undefined behaviour."""
    return Sanitizer(
        flags=(
            *("-O1", "-g1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined,float-cast-overflow"),
            *("-fno-sanitize=vptr", "-fno-sanitize-recover=all"),
        ),
        # The C++ library too: its exceptions are intercepted, and Python by itself would load it too late.
        preloaded=(gcc_library("libasan.so"), gcc_library("libstdc++.so")),
        environment={
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_segv=1:detect_stack_use_after_return=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
        tests=(OPS, ODD_ARGUMENTS, "-k", NOT_OURS),
        report="Sanitizer",
    )


def thread() -> Sanitizer:
    """Memory that two threads use at once, one of them writing."""
    return Sanitizer(
        flags=("-O1", "-g1", "-fsanitize=thread"),
        preloaded=(gcc_library("libtsan.so"), llvm_library("libomp.so")),
        environment={
            "OMP_TOOL_LIBRARIES": llvm_library("libarcher.so"),
            "OMP_NUM_THREADS": "4",
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:halt_on_error=0:exitcode=66:report_signal_unsafe=0",
        },
        tests=(OPS, "-k", f"{NOT_OURS} and not subprocess"),
        report="ThreadSanitizer",
    )


SANITIZERS = {"address": address, "thread": thread}


def copied(name: str) -> Path:
    """A copy of the checkout for one sanitizer; files that have not changed keep their age, and so what is built."""
    target = FOLDER / name
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *COPIED],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    wanted = {path for path in listed if path and (ROOT / path).is_file()}
    for path in wanted:
        source, copy = ROOT / path, target / path
        if not copy.exists() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    for folder in COPIED:
        for path in sorted((target / folder).rglob("*")):
            is_built = (
                "__pycache__" in path.parts or path.suffix in (".so", ".pyd") or path.name == "without_kernels.txt"
            )
            if path.is_file() and not is_built and str(path.relative_to(target)) not in wanted:
                path.unlink()
    return target


def joined_bindings(folder: Path) -> Path:
    """The extension's bindings as one file: reading PyTorch's headers is most of what compiling one takes."""
    paths = sorted((folder / "cuda_ext" / "bindings").glob("*.cpp"))
    text = "".join(f'#line 1 "{path.relative_to(folder)}"\n{path.read_text()}' for path in paths)
    # Beside the bindings' folder, from where their relative includes lead to the same files.
    joined = folder / "cuda_ext" / "joined" / "bindings.cpp"
    joined.parent.mkdir(exist_ok=True)
    if not joined.exists() or joined.read_text() != text:
        joined.write_text(text)
    return joined


def build(sanitizer: Sanitizer, folder: Path) -> None:
    """Compiles the extension in a copy of the checkout."""
    environment = os.environ | {"NERF_SSIM_CUDA": "0", "PYTHONPATH": str(folder)}
    joined = str(joined_bindings(folder).relative_to(folder))
    command = [sys.executable, "-c", BUILD, " ".join(sanitizer.flags), joined, "--quiet", "build_ext", "--inplace"]
    for old in folder.glob("nerf_ssim/_C*.so"):
        old.unlink()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    if not list(folder.glob("nerf_ssim/_C*.so")):
        raise Missing(f"the extension did not build: {folder / 'build' / 'extension.log'} says why")


def test(sanitizer: Sanitizer, folder: Path, extra: list[str]) -> int:
    """Runs the tests over the extension in `folder`; returns 0 where they pass and nothing was found."""
    environment = os.environ | sanitizer.environment
    environment |= {"LD_PRELOAD": ":".join(sanitizer.preloaded), "PYTHONPATH": str(folder)}
    # Sanitizers map memory at fixed places, which a randomised layout may already hold.
    command = ["setarch", "--addr-no-randomize", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-s", "-rN", *sanitizer.tests, *extra]
    findings, process = 0, subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        findings += sanitizer.report in line and ("ERROR" in line or "WARNING" in line)
        findings += "runtime error:" in line
        print(line, end="", flush=True)
    code = process.wait()
    print(f"{findings} findings, pytest ended with {code}")
    return 1 if findings or code else 0


def main() -> int:
    """Builds and tests what is asked for; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", choices=[[], *SANITIZERS], default=[], help="address, thread (both)")
    options, extra = parser.parse_known_args()
    failed = []
    for name in options.which or SANITIZERS:
        started = time.monotonic()
        try:
            sanitizer = SANITIZERS[name]()
            folder = copied(name)
            build(sanitizer, folder)
        except Missing as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        if test(sanitizer, folder, extra):
            failed.append(name)
        print(f"{name}: {'NOT clean' if name in failed else 'clean'}, {(time.monotonic() - started) / 60:.0f} minutes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
