"""A run killed at any file operation goes on to the same bits, and nothing of the killed start is left behind."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import torch
from run_fixtures import one_thread  # noqa: F401 - pytest finds it here
from tiny_scene import command_line, tiny_config

OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate")
COMPARED = (
    "model",
    "iteration",
    "network",
    "optimizer",
    "recipe",
    "schedule",
    "generators",
    "batches",
    "s3im",
    "scores",
)
SHORT = {"n_iters": 4, "upsamp_list": [2], "update_AlphaMask_list": [1], "save_every": 1, "save_at": [2]}
SHORT |= {"vis_every": 2, "N_vis": 1}
MOST_OPERATIONS = 4096
PATIENCE = 600.0  # seconds for a run of a few; so many that a busy machine is no fault


def killed_at(folder: Path, number: int | None, counter: mmap.mmap) -> Callable[[], None]:
    """For a child: counts the file operations under `folder`, and kills the process before that of this number.

    The count is the first eight bytes of `counter`; a byte behind them for each operation says which of `OPERATIONS`.
    """

    def prepare() -> None:
        def on_event(event: str, arguments: tuple) -> None:
            if event in OPERATIONS and _is_under(folder, arguments):
                count = struct.unpack("q", counter[:8])[0] + 1
                counter[:8] = struct.pack("q", count)
                counter[7 + count] = OPERATIONS.index(event)
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(on_event)

    return prepare


def _is_under(folder: Path, arguments: tuple) -> bool:
    """Whether an operation's first argument is a path in a folder."""
    named = arguments[0] if arguments else None
    return isinstance(named, (str, bytes, os.PathLike)) and os.fsdecode(named).startswith(str(folder))


def state_of(run: Path) -> dict:
    """What the newest checkpoint holds of all that the next update depends on."""
    (*_, newest) = sorted((run / "checkpoints").glob("*.pt"))
    record = torch.load(newest, weights_only=True)
    return {key: record[key] for key in COMPARED if key in record}


def files_of(run: Path) -> set[str]:
    """The files of a run, relative to its folder, but for TensorBoard's: each start has one of its own."""
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith("tensorboard/")}


def same(ours: object, theirs: object) -> bool:
    """Whether two nested states are equal bit for bit."""
    if isinstance(ours, torch.Tensor):
        return isinstance(theirs, torch.Tensor) and ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def commands(scene: Path, folder: Path) -> dict[str, list[str]]:
    """A short training and a short fit, whose runs' folder is `folder/tiny`."""
    fit = ["fit-image", "--image", str(scene / "000.png"), "--size", "0", "--hidden", "8", "--hidden_layers", "2"]
    fit += ["--n_iters", "4", "--save_every", "1", "--permute", "1", "--ssim_remove_at", "3"]
    fit += ["--basedir", str(folder), "--expname", "tiny"]
    return {"train": command_line(tiny_config(scene, folder, alpha_mask_thre=1e-8, **SHORT)), "fit-image": fit}


def spread(numbers: list[int], count: int) -> list[int]:
    """So many of the numbers, evenly over all of them; each at most once."""
    count = min(count, len(numbers))
    return [numbers[index * len(numbers) // count] for index in range(count)]


def check_kills(command: str, scene: Path, folder: Path, kills: int) -> list[str]:
    """Kills a run before each of so many operations, spread over it; returns what did not go as promised.

    Half of them are renames, before which a file is there under another name.
    """
    folder.mkdir(exist_ok=True)
    run, words = folder / "tiny", commands(scene, folder)[command]
    counter = mmap.mmap(-1, 8 + MOST_OPERATIONS)
    assert forked.run(words, prepare=killed_at(run, None, counter), seconds=PATIENCE).code == 0
    operations, whole = struct.unpack("q", counter[:8])[0], state_of(run)
    kinds = counter[8 : 8 + operations]
    renames = [number for number, kind in enumerate(kinds, 1) if OPERATIONS[kind] == "os.rename"]
    others = [number for number in range(1, operations + 1) if number not in renames]
    of_renames = min(len(renames), kills // 2)
    numbers = spread(renames, of_renames) + spread(others, kills - of_renames)
    files = files_of(run)
    assert operations > 40 and not any(name.endswith(".partial") for name in files)
    faults, with_leftovers = [], 0
    for number in numbers:
        shutil.rmtree(run)
        counter[:8] = struct.pack("q", 0)
        killed = forked.run(words, prepare=killed_at(run, number, counter), seconds=PATIENCE)
        with_leftovers += any(run.rglob("*.partial"))
        again = forked.run([*words, "--resume"], seconds=PATIENCE)
        if (killed.code, again.code) != (-signal.SIGKILL, 0):
            faults.append(f"operation {number}: exit codes {killed.code}, {again.code}: {again.line}")
            continue
        if not same(state_of(run), whole):
            faults.append(f"operation {number}: other bits")
        if left := files_of(run) - files:
            faults.append(f"operation {number}: leaves {sorted(left)}")
        if missing := files - files_of(run):
            faults.append(f"operation {number}: lacks {sorted(missing)}")
    assert with_leftovers, "no kill came between a file's first byte and its name"
    return faults


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children are forked")
@pytest.mark.parametrize("command", ["train", "fit-image"])
def test_a_run_killed_at_a_file_operation_goes_on_to_the_same_bits(command, scene, tmp_path):
    assert check_kills(command, scene, tmp_path / "runs", 5) == []


@pytest.mark.release
@pytest.mark.skipif(sys.platform != "linux", reason="children are forked")
@pytest.mark.parametrize("command", ["train", "fit-image"])
def test_and_at_each_of_a_hundred(command, scene, tmp_path):
    assert check_kills(command, scene, tmp_path / "runs", 100) == []
