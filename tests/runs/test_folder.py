"""The folder of a run: held by one process, resumed with its own options and on its own device."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.images.options import ImageConfig
from nerf_ssim.ops import backend, verification
from nerf_ssim.runs import device as run_device
from nerf_ssim.runs.folder import RunFolder


def open_folder(basedir, **options) -> RunFolder[ImageConfig]:
    config = ImageConfig().replace(basedir=str(basedir), expname="run", **options)
    return RunFolder(config, model="siren", required=("weights",))


@pytest.fixture()
def saved(tmp_path):
    """A run of one checkpoint after 5 updates."""
    folder = open_folder(tmp_path)
    folder.save({"weights": torch.ones(2), "image_hash": "ours"}, 5)
    folder.close()
    return tmp_path


def test_a_run_is_neither_joined_nor_taken_over_unasked(saved):
    with pytest.raises(ConfigError, match="already holds a run"):
        open_folder(saved)
    held = open_folder(saved, resume=True)
    assert held.resumed_at == 5 and torch.equal(held.resumed[1]["weights"], torch.ones(2))
    held.close()
    fresh = open_folder(saved, overwrite=True)
    assert fresh.resumed is None and fresh.resumed_at is None


def test_an_option_may_change_exactly_where_its_declaration_says_so(saved):
    with pytest.raises(CheckpointError, match="lr was 0.0004"):
        open_folder(saved, resume=True, lr=1.0)
    assert open_folder(saved, resume=True, save_every=7, workers=2).config.run.save_every == 7


def test_other_data_and_an_end_in_the_past_are_refused(saved):
    folder = open_folder(saved, resume=True)
    folder.refuse_other_data("image_hash", "ours", "--image x.png")
    folder.refuse_past_the_end(5, "give a later one")
    with pytest.raises(CheckpointError, match="--image x.png"):
        folder.refuse_other_data("image_hash", "another", "--image x.png")
    with pytest.raises(ConfigError, match="already seen 5 updates, more than --stop_at 4"):
        folder.refuse_past_the_end(4, "give a later one")


def test_auto_takes_a_gpu_where_there_is_one_and_a_resumed_run_keeps_its_device(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(verification, "trusted", lambda device: verification.Verdict())
    memory = SimpleNamespace(total_memory=80 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU's name")
    assert open_folder(tmp_path / "new", device="auto").config.run.device == "cuda"
    memory.total_memory = 1 << 20
    with pytest.raises(ConfigError, match=r"GiB of memory and the GPU \(a GPU's name\) has 0.0; lower --"):
        open_folder(tmp_path / "newer", device="auto")
    assert open_folder(saved, device="auto", resume=True).config.run.device == "cpu"


def test_a_gpu_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="--device cuda:1: there is no such GPU"):
        open_folder(tmp_path, device="cuda:1")


def test_the_start_line_counts_what_falls_to_plain_pytorch_and_says_why(monkeypatch):
    plain = ("reference", "no cpu kernel")
    table = {"a": ("native", "compiled CPU kernel"), "b": plain, "c": plain}
    monkeypatch.setattr(backend, "describe", lambda device: table)
    line = run_device.start_line("cpu")
    assert "1 of 3 operations in native CPU kernels" in line and "2 in plain PyTorch: b, c (no cpu kernel)" in line
    assert "\n" not in line


def test_a_device_without_kernels_is_not_described_by_the_processors():
    assert all(how == "reference" for how, _ in backend.describe("meta").values())
