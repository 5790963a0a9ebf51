"""Copies of the log for other programs: the same values, and never the end of a training."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_scene import command_line, tiny_config, write_tiny_scene

from nerf_ssim.cli.main import main
from nerf_ssim.runs import writers
from nerf_ssim.runs.writers import Copies, Destination


class Failing:
    """A writer that fails at a step, or when it is closed."""

    def __init__(self, at: int, error: Exception) -> None:
        self.at, self.error, self.steps = at, error, []

    def write(self, values, step):
        if step == self.at:
            raise self.error
        self.steps.append(step)

    def close(self):
        if self.at < 0:
            raise self.error


def copies_of(monkeypatch, folder: Path, **made) -> tuple[Copies, list[str]]:
    monkeypatch.setattr(writers, "WRITERS", {name: lambda destination, one=one: one for name, one in made.items()})
    lines: list[str] = []
    return Copies(list(made), Destination(folder, {}), lines.append), lines


def test_a_writer_that_fails_is_named_once_and_the_others_go_on(tmp_path, monkeypatch):
    failing, other = Failing(1, RuntimeError("the service\nis gone")), Failing(100, OSError())
    copies, lines = copies_of(monkeypatch, tmp_path, wandb=failing, tensorboard=other)
    for step in range(4):
        copies.write({"mse": 1.0}, step)
    copies.close()
    assert failing.steps == [0] and other.steps == [0, 1, 2, 3]
    assert len(lines) == 1 and "Weights & Biases" in lines[0] and "the service" in lines[0]
    assert "\n" not in lines[0]


def test_a_writer_that_fails_at_its_end_or_its_beginning_is_a_line_too(tmp_path, monkeypatch):
    copies, lines = copies_of(monkeypatch, tmp_path, tensorboard=Failing(-1, OSError(28, "No space left on device")))
    copies.close()
    copies.close()
    assert len(lines) == 1 and "TensorBoard's events end here" in lines[0] and "No space left" in lines[0]

    def refuse(destination):
        raise ModuleNotFoundError("No module named 'wandb'", name="wandb")

    monkeypatch.setattr(writers, "WRITERS", {"wandb": refuse})
    lines.clear()
    Copies(["wandb"], Destination(tmp_path, {}), lines.append).write({}, 0)
    assert len(lines) == 1 and "nerf_ssim[log]" in lines[0]


@pytest.mark.slow
def test_tensorboard_has_the_same_scalars_and_drops_the_rest_on_resume(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard isn't installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def scalars() -> list[tuple[int, float]]:
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        return [(event.step, event.value) for event in events.Scalars("mse")]

    def write(resume_iteration: int | None, values: dict[int, float]) -> None:
        copies = Copies(["tensorboard"], Destination(tmp_path, {}, resume_iteration), pytest.fail)
        for step, value in values.items():
            copies.write({"mse": value}, step)
        copies.close()

    write(None, {0: 0.0, 10: 2.5, 20: 5.0})
    assert scalars() == [(0, 0.0), (10, 2.5), (20, 5.0)]
    time.sleep(1.1)  # event files are named by the second, and read in the order of their names
    write(10, {10: 7.0})
    assert scalars() == [(0, 0.0), (10, 7.0)]
    time.sleep(1.1)
    write(None, {0: 1.0})
    assert scalars() == [(0, 1.0)]


def test_without_tensorboard_it_is_silent(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nerf_ssim.runs.events", None)
    copies = Copies(["tensorboard"], Destination(tmp_path, {}), pytest.fail)
    copies.write({"mse": 1.0}, 0)
    copies.close()
    assert not list(tmp_path.iterdir())


def test_an_unknown_program_is_refused(capsys):
    assert main(["train", "--log_to", "tensorbord"]) == 2
    assert "log_to" in capsys.readouterr().err


@pytest.mark.slow
def test_weights_and_biases_has_the_rows_and_the_options_without_a_network(tmp_path):
    pytest.importorskip("wandb", reason="Weights & Biases isn't installed")
    scene = write_tiny_scene(tmp_path / "scene")
    config = tiny_config(scene, tmp_path, n_iters=4, upsamp_list=[], update_AlphaMask_list=[], log_to="wandb")
    folder = Path(config.run.basedir, config.run.expname)
    # Names are resolved nowhere: an attempt to reach the network would be an error.
    code = (
        "import socket, sys\n"
        "from nerf_ssim.training import scoring; scoring.lpips_scorers = lambda weights: ()\n"
        "from nerf_ssim.cli.main import main\n"
        f"sys.exit(main({command_line(config)!r}))\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment |= {"HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=180)
    assert done.returncode == 0 and "Weights & Biases" not in done.stderr, done.stderr
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = records(file)
    rows = [one.history for one in found if one.WhichOneof("record_type") == "history"]
    names = {item.key or "/".join(item.nested_key) for row in rows for item in row.item}
    assert len(rows) == len((folder / "metrics.csv").read_text().splitlines()) - 1 and {"mse", "ssim"} <= names
    options = {item.key for one in found if one.WhichOneof("record_type") == "run" for item in one.run.config.update}
    assert {"s3im_weight", "seed"} <= options


def records(file: Path) -> list:
    """What Weights & Biases kept of a run: protobuf records in the log format of LevelDB, after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, begun, found = file.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:  # a header is never cut by a block's end
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        begun += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # the whole record, or its last piece
            found.append(Record.FromString(begun))
            begun = b""
    return found
