"""Build the package, with its native extension where a C++ compiler and PyTorch are there and as pure Python elsewhere.

The build uses the PyTorch that is installed: `pip install --no-build-isolation -e .`; an isolated build would fetch
another one and so builds without the extension. `NERF_SSIM_NO_EXT=1` asks for pure Python.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
LOG = Path("build/extension.log")
BUNDLED = ("configs", "data/room")

CORE = ["torch>=2.6", "numpy", "imageio", "opencv-python", "ConfigArgParse", "tqdm"]
EVALUATE = ["lpips", "torchvision", "scikit-image"]
EXTRAS = {
    "eval": EVALUATE,
    "view": ["viser"],
    "export": ["trimesh", "scikit-image", "safetensors"],
    "report": ["matplotlib", "pandas"],
    "sweep": ["ray"],
    "dev": [*EVALUATE, "matplotlib", "tensorboard", "ruff", "pytest", "ninja"],
}


def say(message: str) -> None:
    """Print the one line that tells how the package is built."""
    print(f"nerf_ssim: {message}", flush=True)


def reason_for_pure_python() -> str | None:
    """Why the extension cannot or shall not be built, or None."""
    if os.environ.get("NERF_SSIM_NO_EXT", "0") not in ("", "0"):
        return "NERF_SSIM_NO_EXT is set"
    try:
        import torch  # noqa: F401
    except ImportError:
        return "PyTorch is not visible to the build (install it first and use pip install --no-build-isolation)"
    compilers = shlex.split(os.environ.get("CXX", ""))[:1] or ["g++", "c++", "clang++"]
    if not any(shutil.which(compiler) for compiler in compilers):
        return f"no C++ compiler ({', '.join(compilers)})"
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


def extension_and_builder() -> tuple[list, type[build_ext]]:
    """The native extension and the command that builds it without ever failing the installation."""
    reason = reason_for_pure_python()
    if reason is not None:
        say(f"pure Python, without the native extension: {reason}")
        return [], build_ext
    with output_to(LOG):  # the import remarks on CUDA toolkits that this extension does not use
        from torch.utils.cpp_extension import BuildExtension, CppExtension

    flags = ["-O3", "-std=c++20", "-fvisibility=hidden", "-Wall", "-Wno-unknown-pragmas", "-Wno-psabi"]
    link = []
    if sys.platform == "linux":
        flags.append("-fopenmp")  # calls resolve to PyTorch's own OpenMP, so torch.set_num_threads governs them
        link.append("-fopenmp")
    native = ROOT / "cuda_ext"
    sources = [str(path.relative_to(ROOT)) for part in ("cpu", "bindings") for path in (native / part).glob("*.cpp")]
    headers = [str(path.relative_to(ROOT)) for path in native.rglob("*.h")]
    scripts = Path(sys.executable).parent  # ninja, where it was installed beside this Python
    os.environ["PATH"] = f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"
    extension = CppExtension(
        "nerf_ssim._C",
        sorted(sources),
        depends=sorted(headers),
        extra_compile_args=flags,
        extra_link_args=link,
    )

    class OptionalBuild(BuildExtension):
        """Build the extension; where that fails, say why in one line and install pure Python."""

        def run(self) -> None:
            if not self.extensions:
                return
            try:
                with output_to(LOG):
                    super().run()
            except Exception as error:
                say(f"pure Python, the native extension did not build: {first_error(LOG, error)} (all of it: {LOG})")
                self.extensions.clear()
            else:
                say("native extension built")

    return [extension], OptionalBuild


class BuildWithResources(build_py):
    """Copy the configurations and the bundled scene into the package, as `nerf_ssim/bundled`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # a checkout has them at its root
            return
        for name in BUNDLED:
            source, target = ROOT / name, Path(self.build_lib) / "nerf_ssim" / "bundled" / name
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)


def main() -> None:
    """Describe the package to setuptools."""
    os.chdir(ROOT)
    version = re.search(r'^__version__ = "(.+)"', (ROOT / "nerf_ssim/__init__.py").read_text(), re.M)
    assert version is not None
    readme = ROOT / "README.md"
    extensions, builder = extension_and_builder()
    setup(
        name="nerf_ssim",
        version=version.group(1),
        description="Neural fields trained with SSIM for part of the way",
        long_description=readme.read_text() if readme.exists() else "",
        long_description_content_type="text/markdown",
        python_requires=">=3.10",
        packages=find_packages(include=["nerf_ssim", "nerf_ssim.*"]),
        package_data={"nerf_ssim": ["py.typed"]},
        install_requires=CORE,
        extras_require=EXTRAS,
        ext_modules=extensions,
        cmdclass={"build_ext": builder, "build_py": BuildWithResources},
        entry_points={"console_scripts": ["nerf-ssim = nerf_ssim.cli.main:main"]},
        zip_safe=False,
    )


if __name__ == "__main__":
    main()
