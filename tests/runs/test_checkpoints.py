"""Checkpoint files: nothing but plain values goes in or comes out, and what does not fit is refused."""

from __future__ import annotations

import os
import pickle
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_payload import payload

from nerf_ssim.errors import CheckpointError, UserError
from nerf_ssim.runs import checkpoints
from nerf_ssim.runs.checkpoints import TornCheckpoint, load_checkpoint, save_checkpoint


def test_what_is_saved_comes_back_exactly(tmp_path):
    save_checkpoint(tmp_path / "a.pt", payload())
    loaded = load_checkpoint(tmp_path / "a.pt", model="TensorVMSplit", required=("field", "schedule"))
    expected = payload()
    assert torch.equal(loaded["field"]["plane"], expected["field"]["plane"])
    assert torch.equal(loaded["field"]["mask"], expected["field"]["mask"])
    moment = loaded["optimizer"]["state"][0]["exp_avg"]
    assert moment.dtype == torch.float64
    assert torch.equal(moment, torch.ones(2, dtype=torch.float64))
    assert loaded["optimizer"]["lr"] == [0.02, 1e-3]
    assert loaded["schedule"] == expected["schedule"]
    assert loaded["iteration"] == 5
    assert loaded["project_version"]


def test_saving_detaches_and_does_not_change_the_payload(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    given = payload(weight=weight)
    save_checkpoint(tmp_path / "a.pt", given)
    assert given["weight"] is weight
    assert type(load_checkpoint(tmp_path / "a.pt")["weight"]) is torch.Tensor


def test_a_small_view_does_not_drag_its_whole_storage_into_the_file(tmp_path):
    whole = torch.zeros(1_000_000)
    save_checkpoint(tmp_path / "a.pt", payload(view=whole[:10]))
    assert (tmp_path / "a.pt").stat().st_size < 100_000
    assert load_checkpoint(tmp_path / "a.pt")["view"].shape == (10,)


def test_a_transposed_tensor_keeps_its_values(tmp_path):
    tensor = torch.arange(6.0).reshape(2, 3).T
    save_checkpoint(tmp_path / "a.pt", payload(view=tensor))
    assert torch.equal(load_checkpoint(tmp_path / "a.pt")["view"], tensor)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"deep": [1, {"path": Path("x")}]}, r"extra\.deep\[1\]\.path: \w*Path"),
        (np.float64(1.0), "extra: float64"),
        (signal.SIGINT, "extra: Signals"),
        ({1.5: "x"}, "extra: key 1.5 is a float"),
        ((1, {2}), r"extra\[1\]: set"),
        (torch.nn.Linear(1, 1), "extra: Linear"),
    ],
)
def test_anything_else_in_the_payload_is_a_type_error_that_says_where(tmp_path, value, where):
    with pytest.raises(TypeError, match=where):
        save_checkpoint(tmp_path / "a.pt", payload(extra=value))
    assert list(tmp_path.iterdir()) == []


def test_a_payload_needs_model_and_iteration_and_leaves_our_keys_alone(tmp_path):
    with pytest.raises(ValueError, match="iteration"):
        save_checkpoint(tmp_path / "a.pt", {"model": "x"})
    with pytest.raises(ValueError, match="format_version"):
        save_checkpoint(tmp_path / "a.pt", payload(format_version=3))


def one_line(error: Exception) -> str:
    assert isinstance(error, UserError)
    assert "\n" not in str(error)
    return str(error)


def test_missing_other_model_and_missing_keys_are_refused_in_one_line(tmp_path):
    path = tmp_path / "a.pt"
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(path) in one_line(caught.value)
    save_checkpoint(path, payload())
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, model="TensorCP")
    assert "TensorVMSplit" in one_line(caught.value)
    assert "TensorCP" in one_line(caught.value)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, required=("field", "generators"))
    assert "generators" in one_line(caught.value)
    assert "field," not in one_line(caught.value)


def test_another_format_version_is_refused_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", 2)
    save_checkpoint(tmp_path / "a.pt", payload())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="checkpoint format 2, this version reads 1") as caught:
        load_checkpoint(tmp_path / "a.pt")
    assert not isinstance(caught.value, TornCheckpoint)


def test_every_truncation_is_refused_as_torn(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, payload())
    whole = path.read_bytes()
    for length in [*range(0, len(whole), max(1, len(whole) // 40)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(TornCheckpoint):
            load_checkpoint(path)


def test_one_flipped_bit_in_a_tensor_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, payload(big=torch.full((1000,), 1.25)))
    content = bytearray(path.read_bytes())
    place = content.index(torch.full((20,), 1.25).numpy().tobytes())
    content[place + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(TornCheckpoint):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", bytes(5000), b"PK\x03\x04" + bytes(200)])
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(TornCheckpoint):
        load_checkpoint(path)


def test_files_of_other_programs_are_refused(tmp_path):
    torch.save({"kwargs": {}, "state_dict": {}}, tmp_path / "published.th")
    with pytest.raises(CheckpointError, match="not a nerf_ssim checkpoint"):
        load_checkpoint(tmp_path / "published.th")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="not a nerf_ssim checkpoint"):
        load_checkpoint(tmp_path / "list.pt")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "other.pt")


class Bomb:
    """Unpickling this makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def test_a_pickle_bomb_is_refused_and_does_not_go_off(tmp_path):
    exploded = tmp_path / "exploded"
    record = payload(bomb=Bomb(exploded)) | {"format": checkpoints.FORMAT, "format_version": checkpoints.FORMAT_VERSION}
    torch.save(record, tmp_path / "zip.pt")
    torch.save(record, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(record))
    for name in ("zip.pt", "legacy.pt", "plain.pt"):
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(tmp_path / name)
        one_line(caught.value)
        assert not exploded.exists()
    torch.load(tmp_path / "zip.pt", weights_only=False)
    assert exploded.exists()  # the bomb itself was live
