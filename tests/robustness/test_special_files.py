"""Pipes and devices in the place of the files of a run: nobody waits for them, and nobody reads them for ever."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import forked
import numpy as np
import pytest
from tiny_scene import command_line, tiny_config

from nerf_ssim.cli.main import main
from nerf_ssim.datasets.depths import DepthFile, load_depth
from nerf_ssim.datasets.formats.llff import _read_rows
from nerf_ssim.datasets.formats.monosdf import _read_matrices
from nerf_ssim.datasets.ply import read_points
from nerf_ssim.errors import UserError

CHECKPOINT = "checkpoints/000001.pt"
KINDS = {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero")}


@pytest.fixture(scope="module")
def finished(scene, tmp_path_factory) -> Path:
    """The folder of a run of one update."""
    runs = tmp_path_factory.mktemp("finished")
    assert main(command_line(tiny_config(scene, runs, n_iters=1, upsamp_list=[], update_AlphaMask_list=[]))) == 0
    return runs / "tiny"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "command"),
    [
        *((CHECKPOINT, command) for command in ("evaluate", "resume", "render")),
        *(("manifest.json", command) for command in ("evaluate", "resume")),
        *(("metrics.csv", command) for command in ("resume", "report")),
        *(("results.json", command) for command in ("report",)),
    ],
)
def test_special_files_of_a_run_are_refused(finished, tmp_path, name, command, kind):
    run = Path(shutil.copytree(finished, tmp_path / "tiny"))
    (run / name).unlink()
    KINDS[kind](run / name)
    resume = ["train", "--basedir", tmp_path, "--expname", "tiny", "--resume", "--n_iters", "2"]
    words = {"resume": resume, "render": ["render", run, "--out", tmp_path / "out"]}.get(command, [command, run])
    assert forked.run(words, seconds=30).problem() is None


READERS = {
    "depth.npy": lambda path: load_depth(DepthFile(path, "frame 0", None), (4, 4), (4, 4)),
    "poses_bounds.npy": _read_rows,
    "cameras.npz": _read_matrices,
    "points.ply": read_points,
}


@pytest.mark.parametrize("name", READERS)
def test_special_files_of_a_scene_are_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="named pipe"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", ["depth.npy", "poses_bounds.npy"])
def test_a_header_of_more_numbers_than_the_file_has_is_refused(tmp_path, name):
    np.save(tmp_path / name, np.zeros((3, 4)))
    content = (tmp_path / name).read_bytes()
    shape = content.index(b"(3, 4), }")
    wide = b"(300000000000, 4), }".ljust(40)
    (tmp_path / name).write_bytes(content[:shape] + wide + content[shape + len(wide) :])
    with pytest.raises(UserError):
        READERS[name](tmp_path / name)


def test_a_manifest_nested_too_deeply_is_refused(finished, tmp_path):
    run = Path(shutil.copytree(finished, tmp_path / "tiny"))
    (run / "manifest.json").write_text("[" * 100_000)
    assert forked.run(["evaluate", run]).problem() is None


@pytest.mark.slow
def test_an_endless_cell_of_a_log_is_dropped_or_refused(finished, tmp_path, capsys):
    run = Path(shutil.copytree(finished, tmp_path / "tiny"))
    log = run / "metrics.csv"
    log.write_text(log.read_text() + "1," + "x" * 200_000 + "\n")
    assert forked.run(["report", run]).problem() is None
    # In this process, since updates in a forked one fail wherever this one has had a gradient.
    assert main(["train", "--basedir", str(tmp_path), "--expname", "tiny", "--resume", "--n_iters", "2"]) == 0
    assert "1 damaged row(s) dropped" in capsys.readouterr().err
