"""Checkpoints: nothing but plain values goes in or comes out, and no moment of death leaves half a file."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from nerf_ssim.atomic import atomic_file, remove_leftovers
from nerf_ssim.errors import CheckpointError, UserError
from nerf_ssim.training import checkpoints
from nerf_ssim.training.checkpoints import CheckpointFolder, TornCheckpoint, load_checkpoint, save_checkpoint


def payload(iteration: int = 5, **more) -> dict:
    return {
        "model": "TensorVMSplit",
        "iteration": iteration,
        "field": OrderedDict(plane=torch.arange(24.0).reshape(2, 3, 4), mask=torch.tensor([True, False])),
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.ones(2, dtype=torch.float64)}}, "lr": [0.02, 1e-3]},
        "schedule": {"removed_at": None, "mode": "auto", "betas": (0.9, 0.99)},
        **more,
    }


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


def in_subprocess(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_kill_9_in_the_middle_of_a_save_leaves_the_previous_file(tmp_path):
    code = """
        import os, sys, time, torch
        from nerf_ssim.training import checkpoints
        folder = checkpoints.CheckpointFolder(sys.argv[1])
        big = {"model": "m", "iteration": 1, "big": torch.ones(300_000)}
        folder.save(big, 1)
        real, written = checkpoints._Sink.write, 0
        def slow(self, data):
            global written
            count = real(self, data)
            written += count
            if written > 500_000:
                self._file.flush()
                print("in the middle", flush=True)
                time.sleep(60)
            return count
        checkpoints._Sink.write = slow
        folder.save(big | {"iteration": int(sys.argv[2])}, int(sys.argv[2]))
    """
    # Under a new name, and over the existing file; side by side because starting Python is what takes the time.
    children = {iteration: in_subprocess(code, tmp_path / str(iteration), iteration) for iteration in (2, 1)}
    for iteration, child in children.items():
        assert child.stdout.readline() == "in the middle\n", child.communicate()[1]
        child.kill()
        child.communicate()
        folder = CheckpointFolder(tmp_path / str(iteration))
        partial = list(folder.folder.glob(".*.partial"))
        assert [path.stat().st_size > 500_000 for path in partial] == [True]  # it really was half-way
        assert folder.latest() == folder.path(1)
        assert load_checkpoint(folder.path(1))["big"].sum() == 300_000
        assert folder.paths() == [folder.path(1)]
        folder.save(payload(3), 3)  # the next save sweeps up
        assert list(folder.folder.glob(".*")) == []


def test_a_full_disk_is_one_line_and_keeps_the_old_checkpoint(tmp_path):
    code = """
        import resource, sys, torch
        from nerf_ssim.errors import CheckpointError
        from nerf_ssim.training.checkpoints import CheckpointFolder
        folder = CheckpointFolder(sys.argv[1], keep=1)
        folder.save({"model": "m", "small": torch.ones(10)}, 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            folder.save({"model": "m", "big": torch.ones(300_000)}, 2)
        except CheckpointError as error:
            print(error)
    """
    child = in_subprocess(code, tmp_path)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert "000002.pt: the checkpoint couldn't be written (File too large)" in out
    assert out.count("\n") == 1
    folder = CheckpointFolder(tmp_path)
    assert folder.latest() == folder.path(1)
    assert [path.name for path in folder.folder.iterdir()] == ["000001.pt"]


def test_a_failed_sync_counts_as_a_failed_save(tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "a.pt", payload(1))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_checkpoint(tmp_path / "a.pt", payload(2))
    assert load_checkpoint(tmp_path / "a.pt")["iteration"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_the_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, real=real, name=name: (order.append(name), real(*given))[1])
    save_checkpoint(tmp_path / "a.pt", payload())
    assert order == ["fsync", "replace", "fsync"]  # file, name, folder


def test_an_interrupted_atomic_file_leaves_no_trace(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "a.txt") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_leftovers_are_only_our_temporaries(tmp_path):
    (tmp_path / ".a.pt.123.partial").touch()
    (tmp_path / ".gitignore").touch()
    (tmp_path / "a.partial").touch()
    assert [path.name for path in remove_leftovers(tmp_path)] == [".a.pt.123.partial"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "a.partial"]


def test_a_folder_keeps_the_newest_and_orders_them_as_numbers(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2)
    assert folder.latest() is None
    for iteration in (999_998, 999_999, 1_000_000):
        path = folder.save(payload(iteration), iteration)
    assert path == tmp_path / "checkpoints" / "1000000.pt"
    assert [path.name for path in folder.paths()] == ["999999.pt", "1000000.pt"]
    assert folder.latest() == path
    assert folder.path(123).name == "000123.pt"


def test_saving_at_an_earlier_iteration_drops_the_abandoned_future(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2)
    for iteration in (100, 200, 50):
        folder.save(payload(iteration), iteration)
    assert folder.paths() == [folder.path(50)]


def test_the_iteration_in_the_name_and_in_the_payload_can_not_differ(tmp_path):
    with pytest.raises(ValueError, match="5 in the payload"):
        CheckpointFolder(tmp_path).save(payload(5), 6)


def test_a_torn_newest_falls_back_with_one_warning(tmp_path):
    lines = []
    folder = CheckpointFolder(tmp_path, keep=3, warn=lines.append)
    for iteration in (10, 20, 30):
        folder.save(payload(iteration), iteration)
    assert folder.latest() == folder.path(30)
    assert lines == []
    folder.path(30).write_bytes(folder.path(30).read_bytes()[:-100])
    path, record = folder.load_latest(model="TensorVMSplit")
    assert path == folder.path(20)
    assert record["iteration"] == 20
    assert len(lines) == 1
    assert "000030.pt" in lines[0]


def test_nothing_but_torn_checkpoints_is_an_error_not_a_fresh_start(tmp_path):
    folder = CheckpointFolder(tmp_path, warn=lambda line: None)
    folder.save(payload(), 5)
    folder.path(5).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="none of its 1"):
        folder.latest()


def test_a_sound_newest_of_another_model_is_refused_not_passed_over(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(payload(10), 10)
    folder.save(payload(20) | {"model": "TensorCP"}, 20)
    with pytest.raises(CheckpointError, match="TensorCP"):
        folder.load_latest(model="TensorVMSplit")


def test_clearing_removes_the_checkpoints_and_nothing_else(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.clear()  # nothing there yet
    folder.save(payload(10), 10)
    folder.path(20).write_bytes(b"torn")
    (folder.folder / "best.pt").touch()
    folder.clear()
    assert folder.latest() is None
    assert [path.name for path in folder.folder.iterdir()] == ["best.pt"]
