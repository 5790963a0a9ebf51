"""The comparison of kernels on the user's device: what is wrong is found, named, served by PyTorch and remembered."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest
import torch

from nerf_ssim.cli import main as command
from nerf_ssim.ops import backend, nvidia, verification
from nerf_ssim.ops.verification import Verdict
from nerf_ssim.runs import device as run_device
from tests.ops.native_parity import require_native

GPU = {"gpu": "NVIDIA Test", "driver": "580.1", "torch": "2.14.1", "extension": "abc", "version": "1"}


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """Nothing that a test finds stays behind."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("_distrusted", "_reasons", "_load_failures"):
        monkeypatch.setattr(backend, name, dict(getattr(backend, name)) if name == "_load_failures" else {})
    monkeypatch.setattr(verification, "_verdicts", {})


def halved(needs, resource, planes, factors):
    return torch.ops.nerf_ssim.planes_tv(planes, factors) / 2


def doubled(call):
    return [2 * each for each in torch.ops.nerf_ssim.planes_tv_backward(*call.upstream, *call.args)]


def failing(*_):
    return torch.zeros(2) @ torch.zeros(3)


def not_a_number(needs, resource, planes, factors):
    return torch.ops.nerf_ssim.planes_tv(planes, factors) * float("nan")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"forward": halved}, "example 1: result 0 is off by"),
        ({"gradient": doubled}, "example 1: gradient 0 is off by"),
        ({"forward": not_a_number}, "example 1: result 0 is off by nan"),
        ({"forward": failing}, "RuntimeError: "),
    ],
)
def test_a_kernel_that_is_wrong_on_purpose_is_found(monkeypatch, changes, said):
    require_native("planes_tv")
    monkeypatch.setitem(backend._declared, "planes_tv", replace(backend.declared()["planes_tv"], **changes))
    others = [op for op in backend.declared() if op != "planes_tv"]
    records = list(verification._records("cpu", others))
    found = next(record for record in records if "op" in record or "error" in record)
    assert said in str(found.get("reason", found.get("error")))


@pytest.fixture
def process(monkeypatch, tmp_path):
    """Puts a few lines of Python in the place of the comparison; `left_out` are the ops that it is not to try."""

    def install(program: str) -> None:
        file = tmp_path / "process.py"
        file.write_text(f"import json, os, sys\ndevice, *left_out = sys.argv[1:]\n{TELL}{program}\n")
        monkeypatch.setattr(verification, "PROCESS", (sys.executable, str(file)))

    return install


TELL = "def tell(**record): print(json.dumps(record), flush=True)\n"
WRONG = """
tell(begins="device"); tell(begins="extension"); tell(compared=3)
tell(begins="planes_tv"); tell(op="planes_tv", reason="example 1: result 0 is off by 1, of 0.1 allowed")
tell(begins="siren"); tell(op="siren", reason="")
tell(finished=True)
"""
CRASHING = """
tell(begins="device"); tell(begins="extension"); tell(compared=3)
for op in ("planes_tv", "siren", "s3im"):
    if op in left_out: continue
    tell(begins=op)
    if op == "siren": os.abort()
    if op == "s3im": tell(error="RuntimeError: an illegal memory access"); sys.exit(1)
    tell(op=op, reason="")
tell(finished=True)
"""


def test_a_kernel_that_ends_the_process_or_fails_does_not_keep_the_others_from_being_compared(process):
    process(CRASHING)
    verdict = verification.compare("cuda")
    assert verdict.compared == 3 and not verdict.failure and not verdict.part_failure
    assert list(verdict.disagreements) == ["siren", "s3im"]
    assert "SIGABRT" in verdict.disagreements["siren"] and "illegal memory access" in verdict.disagreements["s3im"]


def test_an_extension_that_ends_the_process_is_not_loaded(process):
    process('tell(begins="device"); tell(begins="extension"); os.abort()')
    verdict = verification.compare("cuda")
    assert "cannot be loaded" in verdict.part_failure and "SIGABRT" in verdict.part_failure
    backend._load_failures.pop("cuda", None)
    verification.keep_to(verdict, "cuda")
    assert all(how == "reference" for how, _ in backend.describe("cuda").values())
    assert backend._load_failure("cuda") == verdict.part_failure


def test_a_comparison_that_does_not_start_is_no_fault_of_the_gpu(process):
    process('sys.exit("no module")')
    verdict = verification.compare("cuda")
    assert not verdict.failure and "no module" in verdict.part_failure


@pytest.mark.slow
def test_right_kernels_agree_and_doctor_says_so(capsys):
    require_native("planes_tv")
    assert command.main(["doctor", "--check"]) == 0
    native = sum(how == "native" for how, _ in backend.describe().values())
    assert f"{native} of {native} agree" in capsys.readouterr().out


def test_doctor_check_names_a_wrong_kernel_which_plain_pytorch_serves_then(process, capsys):
    require_native("planes_tv")
    process(WRONG)
    assert command.main(["doctor", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any("planes_tv on cpu" in line and "is off by 1" in line for line in lines)
    assert any("2 of 3 agree" in line for line in lines)
    assert any("planes_tv" in line and "reference (its kernel disagrees" in line for line in lines)
    assert backend.implementation("planes_tv", torch.ones(1)) == "reference"
    assert "1 in plain PyTorch: planes_tv (its kernel disagrees" in run_device.start_line("cpu")


@pytest.fixture
def gpu(monkeypatch):
    """PyTorch seems to see a GPU; how often its kernels were compared."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: GPU["gpu"])
    monkeypatch.setattr(verification, "machine_of", lambda device: dict(GPU))
    compare, calls = verification.compare, []
    monkeypatch.setattr(verification, "compare", lambda device: calls.append(device) or compare(device))
    return calls


def test_the_first_start_on_a_gpu_compares_and_later_ones_remember(process, gpu, monkeypatch):
    require_native("planes_tv")
    process(WRONG)
    assert run_device.choose_device("auto") == "cuda"
    assert run_device.choose_device("cuda:0") == "cuda:0"
    assert gpu == ["cuda"], "the second start remembers, by GPU and not by the name asked for"
    assert backend.describe("cuda")["planes_tv"][1].startswith("its kernel disagrees")
    line = run_device.start_line("cuda")
    assert "planes_tv (its kernel disagrees" in line and GPU["gpu"] in line and "native CUDA kernels" in line
    monkeypatch.setattr(verification, "_verdicts", {})
    monkeypatch.setitem(GPU, "driver", "590.2")
    run_device.choose_device("cuda")
    assert gpu == ["cuda", "cuda"], "another driver is compared anew"


def test_where_cuda_does_not_compute_the_run_goes_to_the_processor_and_says_so(process, gpu):
    process('tell(begins="device"); tell(error="RuntimeError: CUDA error: out of order"); sys.exit(1)')
    assert run_device.choose_device("cuda") == "cpu"
    line = run_device.start_line("cpu")
    assert "CUDA does not compute here, hence the processor (RuntimeError: CUDA error" in line and "\n" not in line
    assert verification.remembered(GPU) is None, "a driver may be repaired"


def test_a_damaged_memory_or_a_folder_that_cannot_be_written_only_costs_the_comparison(tmp_path, monkeypatch):
    verdict = Verdict(3, {"planes_tv": "it disagrees"})
    verification.remember(GPU, verdict)
    assert verification.remembered(GPU) == verdict
    file = tmp_path / "cache" / "nerf_ssim" / "verified.json"
    for damaged in ("{", "[]", json.dumps({"verdicts": [{"machine": GPU, "verdict": {"other": 1}}, 3]})):
        file.write_text(damaged)
        assert verification.remembered(GPU) is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    verification.remember(GPU, verdict)
    assert verification.remembered(GPU) is None


@pytest.mark.parametrize(
    ("driver", "built_for", "said"),
    [
        ("570.12", "13.0", "needs driver 580; update the driver"),
        ("580.12", "13.0", "finds no GPU"),
        ("570.12", None, "is a build without CUDA"),
        ("", "13.0", ""),
    ],
)
def test_the_start_line_says_why_a_gpu_with_a_driver_is_not_used(monkeypatch, driver, built_for, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(nvidia, "driver_version", lambda: driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    line = run_device.start_line("cpu")
    assert said in line and ("NVIDIA driver" in line) == bool(said)


def test_the_driver_is_read_where_linux_has_it_and_else_asked_for(tmp_path, monkeypatch):
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build\nGCC 12.2.0")
    monkeypatch.setattr(nvidia, "DRIVER_FILE", file)
    assert nvidia.driver_version() == "570.133.20"
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 535.54\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    file.unlink()
    assert nvidia.driver_version() == "535.54"
    program.unlink()
    assert nvidia.driver_version() == ""
