"""What is said of a GPU whose memory is full."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nerf_ssim.cli import main
from nerf_ssim.cli.memory import explain_full_memory

TEXT = (
    "CUDA out of memory. Tried to allocate {wanted}. GPU 0 has a total capacity of 23.64 GiB of which 120.00 MiB is "
    "free. Of the allocated memory 17.02 GiB is allocated by PyTorch, and {pieces} is reserved by PyTorch but "
    "unallocated. If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True."
)


def error(wanted, pieces):
    return torch.OutOfMemoryError(TEXT.format(wanted=wanted, pieces=pieces))


def test_memory_that_lies_in_pieces_names_the_setting_that_joins_them(monkeypatch):
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    line = explain_full_memory(error("2.00 GiB", "5.31 GiB"))
    assert "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True" in line and "5.31 GiB" in line and "\n" not in line


def test_memory_that_is_used_names_what_uses_less():
    line = explain_full_memory(error("2.00 GiB", "300.00 MiB"))
    assert "expandable_segments" not in line and "--batch_size" in line and "2.00 GiB more" in line


def test_a_setting_that_is_there_is_not_advised(monkeypatch):
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    assert "expandable_segments" not in explain_full_memory(error("2.00 GiB", "5.31 GiB"))


def test_another_error_is_not_explained():
    assert explain_full_memory(RuntimeError("CUDA error: an illegal memory access")) == ""


def test_the_command_line_prints_one_line(monkeypatch, capsys):
    def dispatch(words):
        raise error("2.00 GiB", "300.00 MiB")

    monkeypatch.setattr(main, "_dispatch", dispatch)
    assert main.main(["train"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_line_raises_other_errors_as_they_are(monkeypatch):
    def dispatch(words):
        raise RuntimeError("something else")

    monkeypatch.setattr(main, "_dispatch", dispatch)
    with pytest.raises(RuntimeError, match="something else"):
        main.main(["train"])


def test_the_machines_memory_is_said_to_be_full_too():
    for raised in (lambda: torch.empty(2**46), lambda: np.zeros(2**50)):
        with pytest.raises((RuntimeError, MemoryError)) as full:
            raised()
        line = explain_full_memory(full.value)
        assert line.startswith("the machine's memory is full") and "lower" in line and "\n" not in line


def test_what_was_asked_for_is_told_in_a_unit_that_one_reads():
    text = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 281474976710656 bytes. Error code 12"
    assert "(256.00 TiB more were asked for)" in explain_full_memory(RuntimeError(text))
