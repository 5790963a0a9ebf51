"""`nerf-ssim report`: the figures of the runs' own files, by updates and by time."""

from __future__ import annotations

import json

import pytest

from nerf_ssim.cli.main import main
from nerf_ssim.experiments.report import comparison as report

SCORES = {"psnr": 20.0, "ssim": 0.75, "lpips_alex": 0.25, "lpips_vgg": None, "ssim_variant": "tensorf"}
SCHEDULE = {"weight": 1.0, "add_at": 0, "remove_at": "auto", "removed_at": 70}


def write_run(folder, psnr_test, results=()):
    """A run that was scored after each of the updates in `psnr_test`, and wholly as `results` says."""
    folder.mkdir(parents=True)
    rows = [f"{updates - 1},{updates * 2.5},30.0,{psnr}" for updates, psnr in psnr_test.items()]
    (folder / "metrics.csv").write_text("\n".join(["iteration,seconds,psnr_train,psnr_test", *rows]) + "\n")
    for place, updates, seconds in results:
        (folder / place).mkdir(exist_ok=True)
        scores = {"label": "a label", "stopped_at": updates, "seconds_train": seconds, "schedule": SCHEDULE, **SCORES}
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
        "| with | a label | 0 to 70 | 500 | – | 20.00 | 0.7500 | 0.2500 | - | tensorf |",
        "| with | a label | 0 to 70 | 1001 | 2,502 | 20.00 | 0.7500 | 0.2500 | - | tensorf |",
    ]


def test_runs_of_one_name_are_told_apart_and_one_given_twice_counts_once(tmp_path, capsys):
    one, two = (write_run(tmp_path / seed / "room", {5: 20.0}) for seed in ("1", "2"))
    assert main(["report", one, two, f"{tmp_path}/2/../1/room"]) == 0
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[4:]] == [f"| {one}", f"| {two}"]


def test_a_last_line_that_a_kill_cut_short_is_left_out(tmp_path, capsys):
    run = write_run(tmp_path / "room", {5: 20.0})
    whole = (tmp_path / "room" / "metrics.csv").read_text()
    for cut in ("8,20.0,30.0,2", "8,2e"):  # the first would pass for 2 dB, the second is no number
        (tmp_path / "room" / "metrics.csv").write_text(whole + cut)
        assert main(["report", run]) == 0
        assert "| run | 5 |" in capsys.readouterr().out.splitlines()


def test_a_run_without_scores_says_so(tmp_path, capsys):
    assert main(["report", write_run(tmp_path / "room", {5: ""})]) == 0
    assert capsys.readouterr().out == "No test view was scored under way.\n"


def test_the_table_and_the_curves_are_kept(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn, save = [], report.save_figure
    monkeypatch.setattr(report, "save_figure", lambda figure, path: (drawn.append(figure), save(figure, path)))
    run, out = write_run(tmp_path / "room", {5: 20.0, 9: 21.0}), tmp_path / "a" / "b"
    assert main(["report", run, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (out / "report.md").read_text(encoding="utf-8") == printed[: printed.index("\ntable: ")]
    assert (out / "psnr.png").exists()
    by_updates, by_time = ([line.get_xydata().tolist() for line in axis.lines] for axis in drawn[0].axes)
    assert by_updates == [[[5, 30], [9, 30]], [[5, 20], [9, 21]]]
    assert by_time[1] == [[pytest.approx(12.5 / 60), 20], [pytest.approx(22.5 / 60), 21]]


def test_what_is_no_run_on_a_scene_is_one_line_and_exit_code_2(tmp_path, capsys):
    empty, picture = tmp_path / "empty", tmp_path / "picture"
    for folder, text in ((empty, "iteration,psnr_test\n"), (picture, "iteration,psnr\n0,1.0\n")):
        folder.mkdir()
        (folder / "metrics.csv").write_text(text)
    run, torn, odd = (write_run(tmp_path / name, {5: 20.0}) for name in ("room", "torn", "odd"))
    (tmp_path / "file").touch()
    (tmp_path / "torn" / "results.json").write_text("{")
    (tmp_path / "odd" / "results.json").write_text('{"stopped_at": 5}')
    words_of_no_number = write_run(tmp_path / "words", {5: "twenty"})
    for words, named in (
        ([str(tmp_path / "nothing")], "nothing: holds no run"),
        ([run, str(empty)], "empty: the run has logged nothing"),
        ([str(picture)], "nerf_ssim.experiments"),
        ([run, torn], "torn/results.json: cannot be read"),
        ([odd], "odd/results.json: has no label"),
        ([words_of_no_number], "words/metrics.csv: cannot be read"),
        ([], "RUN"),
        ([run, "--out", str(tmp_path / "file")], "--out"),
    ):
        assert main(["report", *words]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1 and named in line
