"""A run's checkpoints: no moment of death leaves half a file, and the newest sound one is found."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
from checkpoint_payload import payload

from nerf_ssim.errors import CheckpointError
from nerf_ssim.files import atomic_file, remove_leftovers
from nerf_ssim.runs import checkpoints
from nerf_ssim.runs.checkpoints import CheckpointFolder, load_checkpoint, save_checkpoint


def in_subprocess(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_save_leaves_the_previous_file(tmp_path):
    code = """
        import os, sys, time, torch
        from nerf_ssim.runs import checkpoints
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


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_old_checkpoint(tmp_path):
    code = """
        import resource, sys, torch
        from nerf_ssim.errors import CheckpointError
        from nerf_ssim.runs.checkpoints import CheckpointFolder
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


def test_lasting_checkpoints_stay_whatever_later_starts_ask_for(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=1, lasting=(10, 30))
    for iteration in (10, 20, 30):
        folder.save(payload(iteration), iteration)
    resumed = CheckpointFolder(tmp_path, keep=1)
    resumed.save(payload(40), 40)
    lasting = folder.folder / "lasting"
    assert [path.name for path in sorted(lasting.iterdir())] == ["000010.pt", "000030.pt"]
    assert load_checkpoint(lasting / "000010.pt")["iteration"] == 10
    assert resumed.paths() == [folder.path(40)]
    resumed.save(payload(20), 20)  # what comes after belongs to an abandoned future
    assert [path.name for path in lasting.iterdir()] == ["000010.pt"]
    resumed.clear()
    assert list(lasting.iterdir()) == []


def test_going_on_removes_what_a_kill_kept_from_being_removed(tmp_path):
    folder = CheckpointFolder(tmp_path, keep=2)
    for iteration in (1, 2, 3, 4):
        save_checkpoint(folder.path(iteration), payload(iteration))
    folder.prune(3)  # the fourth is a damaged one, say, that was passed over
    assert folder.paths() == [folder.path(2), folder.path(3), folder.path(4)]
    folder.prune(4)
    assert folder.paths() == [folder.path(3), folder.path(4)]


def test_a_lasting_checkpoint_is_there_before_the_one_that_a_start_goes_on_from(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path, lasting=(5,))
    written = []
    monkeypatch.setattr(checkpoints, "save_checkpoint", lambda path, payload: written.append(path))
    folder.save(payload(5), 5)
    assert written == [folder.folder / "lasting" / "000005.pt", folder.path(5)]


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
