"""`nerf-ssim report`: the figures of the runs' own files, by updates and by time."""

from __future__ import annotations

import json

import pytest

from nerf_ssim.cli.main import main

SCORES = {"psnr": 20.0, "ssim": 0.75, "lpips_alex": 0.25, "lpips_vgg": None}


def write_run(folder, psnr_test, results=()):
    """A run that was scored after each of the updates in `psnr_test`, and wholly as `results` says."""
    folder.mkdir(parents=True)
    rows = [f"{updates - 1},{updates * 2.5},30.0,{psnr}" for updates, psnr in psnr_test.items()]
    (folder / "metrics.csv").write_text("\n".join(["iteration,seconds,psnr_train,psnr_test", *rows]) + "\n")
    for place, updates, seconds in results:
        (folder / place).mkdir(exist_ok=True)
        scores = {"label": "a label", "stopped_at": updates, "seconds_train": seconds, **SCORES}
        (folder / place / "results.json").write_text(json.dumps(scores))
    return str(folder)


def test_runs_stand_side_by_side_with_their_updates_and_seconds(tmp_path, capsys):
    states = [(".", 1001, 2502.5), ("evaluation_000500", 500, None)]
    runs = [
        write_run(tmp_path / "with", {500: 31.157, 1000: 33.571}, states),
        write_run(tmp_path / "w_o", {500: "", 1000: 18.6}),
    ]
    assert main(["report", *runs]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| run | 500 | 1000 |" in lines
    assert "| with | 31.16 (1,250 s) | 33.57 (2,500 s) |" in lines
    assert "| w_o | – | 18.60 (2,500 s) |" in lines
    scored = [line for line in lines if "a label" in line]
    assert scored == [
        "| with | a label | 500 | – | 20.00 | 0.7500 | 0.2500 | – |",
        "| with | a label | 1001 | 2,502 | 20.00 | 0.7500 | 0.2500 | – |",
    ]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path, capsys):
    runs = [write_run(tmp_path / seed / "room", {5: 20.0}) for seed in ("1", "2")]
    assert main(["report", *runs]) == 0
    assert all(f"| {run} |" in capsys_text for capsys_text in [capsys.readouterr().out] for run in runs)


def test_the_table_and_the_curves_are_kept(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "room", {5: 20.0, 9: ""})
    assert main(["report", run, "--out", str(tmp_path / "a" / "b")]) == 0
    assert (tmp_path / "a" / "b" / "report.md").read_text() in capsys.readouterr().out
    assert (tmp_path / "a" / "b" / "psnr.png").stat().st_size > 5000


def test_what_is_no_run_on_a_scene_is_one_line_and_exit_code_2(tmp_path, capsys):
    empty, picture = tmp_path / "empty", tmp_path / "picture"
    for folder, text in ((empty, "iteration,psnr_test\n"), (picture, "iteration,psnr\n0,1.0\n")):
        folder.mkdir()
        (folder / "metrics.csv").write_text(text)
    run = write_run(tmp_path / "room", {5: 20.0})
    (tmp_path / "file").touch()
    for words, named in (
        ([str(tmp_path / "nothing")], "nothing: holds no run"),
        ([run, str(empty)], "empty: the run has logged nothing"),
        ([str(picture)], "nerf_ssim.experiments"),
        ([], "RUN"),
        ([run, "--out", str(tmp_path / "file")], "--out"),
    ):
        assert main(["report", *words]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and named in line
