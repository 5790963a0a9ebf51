"""The tests of the operators, over an extension that is compiled whole with sanitizers.

    python tests/sanitize.py                          # both; other options are pytest's
    python tests/sanitize.py --only thread -k voxel

`address` is AddressSanitizer and UndefinedBehaviorSanitizer over the tests of the operators and over the table of odd
arguments; the first finding ends the process. `thread` is ThreadSanitizer over the operators whose kernels share their
work among threads. ThreadSanitizer does not understand GCC's OpenMP and reports races there that are none. LLVM's
OpenMP takes its place, with Archer, which tells ThreadSanitizer what each thread waits for.

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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "sanitize"
COPIED = (
    *("setup.py", "pyproject.toml", "README.md", "LICENSE", "nerf_ssim", "cuda_ext", "benchmarks", "tests"),
    *("configs", "data/room"),
)


class Missing(Exception):
    """Something that is needed is not installed; the message says what."""


@dataclass(frozen=True)
class Sanitizer:
    """How an extension is compiled and tested.

    Attributes:
        flags: for the compiler and the linker.
        optimisation: for the compiler alone.
        preloaded: libraries that have to be there before Python is.
        environment: of the tests.
        tests: arguments of pytest.
    """

    flags: str
    preloaded: tuple[str, ...]
    environment: dict[str, str]
    tests: tuple[str, ...]
    optimisation: str = "-O1 -g1 -fno-omit-frame-pointer"


def gcc_library(name: str) -> str:
    """The path of a library of the compiler's own."""
    found = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout
    if not Path(found.strip()).is_absolute():
        raise Missing(f"{name}: install the sanitizers of g++")
    return str(Path(found.strip()).resolve())


def llvm_library(name: str) -> str:
    """The path of a library of LLVM's OpenMP, of the newest version that is installed."""
    found = sorted(Path("/usr/lib").glob(f"llvm-*/lib/{name}"), key=lambda path: int(path.parts[3].split("-")[1]))
    if not found:
        raise Missing(f"{name}: install LLVM's OpenMP (Debian: libomp-14-dev)")
    return str(found[-1])


def address() -> Sanitizer:
    """Finds accesses outside what was allocated, and undefined behaviour."""
    return Sanitizer(
        flags="-fsanitize=address,undefined,float-cast-overflow -fno-sanitize=vptr -fno-sanitize-recover=all",
        # The C++ library comes with it, whose exceptions AddressSanitizer intercepts; Python would load it too late.
        preloaded=(gcc_library("libasan.so"), gcc_library("libstdc++.so")),
        environment={
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
        tests=("tests/ops", "tests/robustness/test_native_arguments.py", "-k", OURS),
    )


def thread() -> Sanitizer:
    """Finds memory that two threads use at once, one of them writing."""
    return Sanitizer(
        flags="-fsanitize=thread",
        preloaded=(gcc_library("libtsan.so"), llvm_library("libomp.so")),
        environment={
            "OMP_TOOL_LIBRARIES": llvm_library("libarcher.so"),
            "OMP_NUM_THREADS": "4",
            # PyTorch's own libraries are not compiled so, and what they do among themselves is no finding.
            "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:report_signal_unsafe=0:exitcode=66",
        },
        tests=("tests/ops", "-k", OURS),
    )


# Without programs that a test compiles or starts itself and what torch.compile makes, which are not compiled with
# sanitizers; and without the last digits of sines, which rest on fused multiply-add: -O1 makes none.
OURS = "not lanes and not compile and not inductor and not driver and not last_place"
SANITIZERS = {"address": address, "thread": thread}


def copied(name: str) -> Path:
    """A copy of the checkout for one sanitizer, in which only what was built before is kept."""
    target = FOLDER / name
    for part in COPIED:
        shutil.rmtree(target / part, ignore_errors=True)
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *COPIED]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in filter(None, listed.split("\0")):
        if (ROOT / path).is_file():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target / path)  # with its age, so that only what has changed is compiled
    return target


def build(sanitizer: Sanitizer, folder: Path) -> None:
    """Compiles the extension in a copy of the checkout."""
    environment = os.environ | {
        "NERF_SSIM_CUDA": "0",
        "NERF_SSIM_CXXFLAGS": f"{sanitizer.optimisation} {sanitizer.flags}",
        "LDFLAGS": sanitizer.flags,
    }
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=folder, env=environment)
    if not list(folder.glob("nerf_ssim/_C*.so")):
        raise Missing(f"the extension did not build: {folder / 'build' / 'extension.log'} says why")


def findings_of_tests(sanitizer: Sanitizer, folder: Path, extra: list[str]) -> tuple[int, int]:
    """Runs the tests over the extension in `folder`; returns how much was found and the exit status of pytest."""
    environment = os.environ | sanitizer.environment
    environment |= {"LD_PRELOAD": ":".join(sanitizer.preloaded), "PYTHONPATH": str(folder)}
    # Sanitizers map memory at fixed places, which a randomised layout may already hold.
    command = ["setarch", "--addr-no-randomize", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    found = 0
    # Without capture (-s), since a report in a test that passes would go unseen.
    with subprocess.Popen(
        [*command, "-s", *sanitizer.tests, *extra], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            found += "runtime error:" in line or ("Sanitizer:" in line and ("ERROR" in line or "WARNING" in line))
            print(line, end="", flush=True)
    return found, process.returncode


def main() -> int:
    """Builds and tests what is asked for; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(SANITIZERS), help="one of them in place of both")
    options, extra = parser.parse_known_args()
    is_clean = True
    for name in [options.only] if options.only else SANITIZERS:
        started = time.monotonic()
        try:
            sanitizer = SANITIZERS[name]()
            folder = copied(name)
            build(sanitizer, folder)
        except Missing as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        found, status = findings_of_tests(sanitizer, folder, extra)
        minutes = (time.monotonic() - started) / 60
        print(f"{name}: {found} findings, pytest ended with {status}, {minutes:.0f} minutes", flush=True)
        is_clean = is_clean and not found and not status
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
