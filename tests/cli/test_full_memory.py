"""What is said of a GPU whose memory is full."""

from __future__ import annotations

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
