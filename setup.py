"""Build the package, with its native extension where a C++ compiler and PyTorch are there and as pure Python elsewhere.

The build uses the PyTorch that is installed, in pip's isolated builds too (see `build_backend.py`).
`NERF_SSIM_NO_EXT=1` asks for pure Python. pip hides what a build prints, so the reason for a package without kernels is
kept in it, in `WHY_NOT`, for the first command that runs. `NERF_SSIM_CXXFLAGS` adds flags of the compiler for every C++
file, as sanitizers need them.

CUDA kernels are an extension of their own, `nerf_ssim._C_cuda`. It is built where nvcc fits PyTorch's CUDA and a GPU is
visible or TORCH_CUDA_ARCH_LIST names some; `NERF_SSIM_CUDA=1` builds it without a GPU, `NERF_SSIM_CUDA=0` never. nvcc
is taken from CUDA_HOME, the path, the packages of pip, or /usr/local/cuda.

What the package is and needs is in pyproject.toml.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
LOG = Path("build/extension.log")
CUDA_LOG = Path("build/cuda.log")
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)  # where NERF_SSIM_CUDA=1 finds no GPU to ask, if nvcc knows them
CPU_MINUTES, CUDA_SECONDS = 6, {".cu": 4, ".cpp": 20}  # of one core: the whole CPU part; a CUDA file, .cu each target
JOINED_FILES = 3  # into so many the bindings go, side by side
BUNDLED = ("configs", "data/room")
WHY_NOT = "without_kernels.txt"


def say(message: str) -> None:
    """Print the one line that tells how the package is built."""
    print(f"nerf_ssim: {message}", flush=True)


def keep_reason(reason: str | None, parent: str | Path) -> None:
    """Keep in the package below `parent` why it has no kernels, or that it has them."""
    path = Path(parent) / "nerf_ssim" / WHY_NOT
    if reason is None:
        path.unlink(missing_ok=True)
    elif path.parent.is_dir():
        path.write_text(reason + "\n", encoding="utf-8")


def reason_for_pure_python() -> str | None:
    """Why the extension cannot or shall not be built, or None."""
    if os.environ.get("NERF_SSIM_NO_EXT", "0") not in ("", "0"):
        return "NERF_SSIM_NO_EXT is set"
    try:
        import torch  # noqa: F401
    except ImportError:
        return (
            "PyTorch was not in sight of the build; install it first, then this package again "
            "(uv and `python -m build` hide it: pip install --no-build-isolation, with setuptools and ninja there)"
        )
    compilers = shlex.split(os.environ.get("CXX", ""))[:1] or ["g++", "c++", "clang++"]
    if not any(shutil.which(compiler) for compiler in compilers):
        return f"no C++ compiler ({', '.join(compilers)})"
    return None


def find_cuda_home() -> Path | None:
    """The folder of the CUDA toolkit that holds bin/nvcc and the headers."""
    nvcc = shutil.which("nvcc")
    on_path = str(Path(nvcc).resolve().parents[1]) if nvcc else ""
    named = (os.environ.get("CUDA_HOME", ""), os.environ.get("CUDA_PATH", ""), on_path, *from_pip(), "/usr/local/cuda")
    folders = [Path(name) for name in named if name]
    parts = ("bin/nvcc", "include/cuda_runtime.h")
    return next((folder for folder in folders if all((folder / part).exists() for part in parts)), None)


def from_pip() -> list[str]:
    """Folders in which pip puts CUDA toolkits beside PyTorch: nvidia/cu13 of nvidia-cuda-nvcc, the newest first."""
    places = [Path(place) / "nvidia" for place in sys.path]
    found = [folder for place in places if place.is_dir() for folder in place.glob("cu[0-9]*")]
    return [str(folder) for folder in sorted(found, key=lambda folder: int(folder.name[2:] or 0), reverse=True)]


def known_architectures(nvcc: Path) -> list[int]:
    """Those of `ARCHITECTURES` that this nvcc compiles for."""
    done = subprocess.run([str(nvcc), "--list-gpu-arch"], capture_output=True, text=True)
    known = {int(number) for number in re.findall(r"compute_(\d+)", done.stdout)}
    return [number for number in ARCHITECTURES if number in known] or list(ARCHITECTURES)


def architecture_list(nvcc: Path) -> str:
    """What TORCH_CUDA_ARCH_LIST is set to where nobody has set it.

    With GPUs in sight: theirs, and PTX of the oldest that nvcc knows, which every other GPU of a mixed cluster compiles
    for itself at its first start. Without: all that nvcc knows, and PTX of the newest for those to come.
    """
    import torch

    known = known_architectures(nvcc)
    if not torch.cuda.is_available():
        return ";".join(dotted(number) for number in known) + "+PTX"
    devices = (torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))
    own = sorted({10 * major + minor for major, minor in devices})
    return ";".join([f"{dotted(known[0])}+PTX", *(dotted(number) for number in own if number != known[0])])


def dotted(number: int) -> str:
    """A compute capability as PyTorch writes it: 8.6 for 86."""
    return f"{number // 10}.{number % 10}"


def expected_minutes(sources: list[str], targets: int = 0) -> int:
    """How long a build will take here, in whole minutes: roughly, and longer where other programs are at work.

    Args:
        targets: GPUs that each .cu file is compiled for, 0 for the part for CPUs.
    """
    jobs = int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1) if shutil.which("ninja") else 1
    if not targets:
        return max(1, round(CPU_MINUTES / jobs))
    seconds = sum(CUDA_SECONDS[".cpp"] if name.endswith(".cpp") else CUDA_SECONDS[".cu"] * targets for name in sources)
    return max(1, round(seconds / 60 / jobs))


def reason_for_no_cuda(cuda_home: Path | None) -> str | None:
    """Why the CUDA kernels cannot or shall not be built, or None."""
    import torch

    asked = os.environ.get("NERF_SSIM_CUDA", "")
    if asked == "0":
        return "NERF_SSIM_CUDA is 0"
    if torch.version.cuda is None:
        return "PyTorch is a build without CUDA"
    if cuda_home is None:
        return "no nvcc (set CUDA_HOME)"
    done = subprocess.run([str(cuda_home / "bin" / "nvcc"), "--version"], capture_output=True, text=True)
    release = re.search(r"release (\d+)\.(\d+)", done.stdout)
    if release is None or release.group(1) != torch.version.cuda.split(".")[0]:
        found = release.group(0) if release else "of unknown release"
        return f"nvcc is {found}, PyTorch's CUDA {torch.version.cuda}"
    if not asked and not os.environ.get("TORCH_CUDA_ARCH_LIST") and not torch.cuda.is_available():
        return "no GPU is visible (NERF_SSIM_CUDA=1 builds them all the same)"
    return None


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Send what this process and its children print to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)


def first_error(log: Path, error: Exception) -> str:
    """The compiler's first complaint, else the exception's first line."""
    for line in log.read_text(errors="replace").splitlines():
        if re.search(r"\b(fatal )?error\b:", line):
            return line.strip()
    return (str(error).splitlines() or [type(error).__name__])[0]


def sources_in(*patterns: str) -> list[str]:
    """Files of cuda_ext, relative to the root."""
    native = ROOT / "cuda_ext"
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in native.glob(pattern))


def joined(sources: list[str], name: str) -> list[str]:
    """A few files of `build` that include `sources`: reading PyTorch's headers is most of what compiling one takes."""
    (ROOT / "build").mkdir(exist_ok=True)
    files = []
    for group in range(min(JOINED_FILES, len(sources))):
        path = ROOT / "build" / f"{name}_{group}.cpp"
        text = "".join(f'#include "../{source}"\n' for source in sources[group::JOINED_FILES])
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # a file that is younger is compiled anew
            path.write_text(text, encoding="utf-8")
        files.append(str(path.relative_to(ROOT)))
    return files


def compiler_flags() -> list[str]:
    """Of every C++ file, with those of NERF_SSIM_CXXFLAGS last."""
    flags = ["-O3", "-std=c++20", "-fvisibility=hidden", "-Wall", "-Wno-unknown-pragmas", "-Wno-psabi"]
    # Calls of OpenMP resolve to PyTorch's own, so that torch.set_num_threads governs them.
    openmp = ["-fopenmp"] if sys.platform == "linux" else []
    return [*flags, *openmp, *shlex.split(os.environ.get("NERF_SSIM_CXXFLAGS", ""))]


def cuda_extension() -> list:
    """The CUDA kernels' extension, or nothing and one line that says why."""
    kernels, bindings = sources_in("cuda/*.cu"), sources_in("bindings/cuda/*.cpp")
    if not kernels:
        return []
    cuda_home = find_cuda_home()
    reason = reason_for_no_cuda(cuda_home)
    if reason is not None:
        say(f"without CUDA kernels: {reason}")
        return []

    os.environ["CUDA_HOME"] = str(cuda_home)
    assert cuda_home is not None
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", architecture_list(cuda_home / "bin" / "nvcc"))
    with output_to(CUDA_LOG):  # what the import remarks on the toolkit
        from torch.utils.cpp_extension import CUDAExtension

    return [
        CUDAExtension(
            "nerf_ssim._C_cuda",
            [*kernels, *joined(bindings, "cuda_bindings")],
            depends=[*bindings, *sources_in("**/*.h", "**/*.cuh")],
            extra_compile_args={
                "cxx": compiler_flags(),
                "nvcc": ["-O3", "-std=c++20", "-Xcompiler=-fvisibility=hidden,-g0"],
            },
        )
    ]


def remove_cuda_part(folder: Path) -> None:
    """Remove the CUDA kernels of an earlier build from a folder.

    Beside an extension that defines its operators otherwise they would end the process that imports them.
    """
    for pattern in ("_C_cuda*.so", "_C_cuda*.pyd"):
        for path in folder.glob(pattern):
            path.unlink()


def extensions_and_builder() -> tuple[list, type[build_ext]]:
    """The native extensions and the command that builds them without ever failing the installation."""
    reason = reason_for_pure_python()
    if reason is not None:
        say(f"pure Python, without the native extension: {reason}")
        keep_reason(reason, ROOT)
        return [], build_ext
    with_cuda = cuda_extension()
    with output_to(LOG):  # the import remarks on CUDA toolkits
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    scripts = Path(sys.executable).parent  # ninja, where it was installed beside this Python
    os.environ["PATH"] = f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    bindings = sources_in("bindings/*.cpp")
    extension = CppExtension(
        "nerf_ssim._C",
        [*sources_in("cpu/**/*.cpp"), *joined(bindings, "bindings")],
        depends=[*bindings, *sources_in("**/*.h")],
        extra_compile_args=compiler_flags(),
        extra_link_args=["-fopenmp"] if sys.platform == "linux" else [],
    )

    class OptionalBuild(BuildExtension):
        """Build each extension; where one fails, say why in one line and install without it."""

        def run(self) -> None:
            wanted = self.extensions
            remove_cuda_part(ROOT / "nerf_ssim")  # what is built below is copied here again
            problem = self.problem_with(extension)
            if problem is None:  # the CUDA kernels serve operators that it defines
                self.extensions = [extension, *(each for each in wanted[1:] if self.problem_with(each) is None)]
            else:
                self.extensions = []
            if len(self.extensions) < 2:
                remove_cuda_part(Path(self.build_lib) / "nerf_ssim")
            keep_reason(problem, ROOT if self.inplace else self.build_lib)

        def problem_with(self, each: Extension) -> str | None:
            """Build one of them; what went wrong, or None."""
            is_cuda = each is not extension
            log = CUDA_LOG if is_cuda else LOG
            self.extensions = [each]
            targets = len(re.split("[ ;]+", os.environ["TORCH_CUDA_ARCH_LIST"])) if is_cuda else 0
            what = "the CUDA kernels" if is_cuda else "the native extension"
            say(f"building {what}, which takes about {expected_minutes(each.sources, targets)} min (progress: {log})")
            try:
                with output_to(log):
                    super().run()
            except Exception as error:
                without = "without CUDA kernels, they" if is_cuda else "pure Python, the native extension"
                problem = f"did not build: {first_error(log, error)}"
                say(f"{without} {problem} (all of it: {log})")
                return f"the extension {problem}"
            say("CUDA kernels built" if is_cuda else "native extension built")
            return None

    return [extension, *with_cuda], OptionalBuild


class BuildWithResources(build_py):
    """Copy the configurations and the bundled scene into the package, as `nerf_ssim/bundled`."""

    def run(self) -> None:
        """Builds as setuptools does, then copies."""
        super().run()
        if self.editable_mode:  # a checkout has them at its root
            return
        without = ROOT / "nerf_ssim" / WHY_NOT
        if without.is_file() and not self.distribution.ext_modules:
            shutil.copy(without, Path(self.build_lib) / "nerf_ssim")
        for name in BUNDLED:
            source, target = ROOT / name, Path(self.build_lib) / "nerf_ssim" / "bundled" / name
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)


def main() -> None:
    """Build what pyproject.toml describes."""
    os.chdir(ROOT)
    extensions, builder = extensions_and_builder()
    setup(
        license="MIT",
        ext_modules=extensions,
        cmdclass={"build_ext": builder, "build_py": BuildWithResources},
    )


if __name__ == "__main__":
    main()
