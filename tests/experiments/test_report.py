"""`nerf-ssim report`: the figures of the runs' own files, with intervals, as tables, curves and a page."""

from __future__ import annotations

import csv
import json
import re

import cv2
import numpy as np
import pytest
from browser import chromium, watched_page

from nerf_ssim.cli.main import main
from nerf_ssim.evaluation.scores import METRICS
from nerf_ssim.experiments.report import curves
from nerf_ssim.experiments.report.runs import load_comparison, schedule_name
from nerf_ssim.experiments.report.statistics import paired_difference, pairs_needed, student_t_quantile, summarise
from nerf_ssim.experiments.report.tables import Table, difference_table, summary_table

SCORES = {"psnr": 20.0, "ssim": 0.75, "lpips_alex": 0.25, "lpips_vgg": None, "ssim_variant": "tensorf"}
SCHEDULE = {"weight": 1.0, "add_at": 0, "remove_at": "auto", "removed_at": 70}


def write_run(folder, psnr_test, results=(), schedule=SCHEDULE, manifest=None, **scores):
    """A run that was scored after each of the updates in `psnr_test`, and wholly as `results` says."""
    folder.mkdir(parents=True)
    rows = [f"{updates - 1},{updates * 2.5},30.0,{psnr}" for updates, psnr in psnr_test.items()]
    (folder / "metrics.csv").write_text("\n".join(["iteration,seconds,psnr_train,psnr_test", *rows]) + "\n")
    for place, updates, seconds in results:
        (folder / place).mkdir(exist_ok=True)
        facts = {"label": "a label", "stopped_at": updates, "seconds_train": seconds, "schedule": schedule}
        (folder / place / "results.json").write_text(json.dumps({**facts, **SCORES, **scores}))
    if manifest is not None:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def write_sweep(root, psnr):
    """Runs of two schedules by (schedule, seed); `psnr` gives the score of each."""
    schedules = {"with": {**SCHEDULE, "remove_at": "end", "removed_at": None}, "without": {**SCHEDULE, "weight": 0}}
    for (name, seed), value in psnr.items():
        facts = {"scene": "room", "model": "tensorf", "seed": seed, "psnr": value}
        manifest = {"version": "1", "device": "cpu", "scene": {"hash": "abc"}, "config": {"n_iters": 5, "seed": seed}}
        folder = root / name / f"seed_{seed}"
        write_run(folder, {2: value - 1, 5: value}, [(".", 5, 12.5)], schedules[name], manifest, **facts)
    return root


def test_runs_stand_side_by_side_with_their_updates_and_seconds(tmp_path, capsys):
    states = [(".", 1001, 2502.5), ("evaluation_000500", 500, None)]
    runs = [
        write_run(tmp_path / "with", {500: 31.157, 1000: 33.571}, states),
        write_run(tmp_path / "w_o", {500: "", 1000: 18.6}),
    ]
    assert main(["report", *runs]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| scene | model | schedule | seed | 500 | 1000 |" in lines
    assert "| – | – | removed by auto | – | 31.16 (1,250 s) | 33.57 (2,500 s) |" in lines
    assert "| – | – | with SSIM | – | – | 18.60 (2,500 s) |" in lines
    cells = [line.strip("| ").split(" | ") for line in lines if "a label" in line]
    scores = ["20.00", "0.7500", "0.2500", *["–"] * (len(METRICS) - 3), "tensorf"]
    named = ["–", "–", "removed by auto", "–", "with", "a label", "0 to 70"]
    assert cells == [[*named, "500", "–", "–", *scores], [*named, "1001", "–", "2502", *scores]]


def test_runs_of_one_name_are_told_apart_and_one_given_twice_counts_once(tmp_path):
    one, two = (write_run(tmp_path / seed / "room", {5: 20.0}) for seed in ("1", "2"))
    found = load_comparison([tmp_path / "1" / "room", tmp_path, tmp_path / "2" / ".." / "1" / "room"])
    assert [run.name for run in found.runs] == ["1/room", "2/room"]
    assert [str(run.folder) for run in found.runs] == [one, two]


def test_a_last_line_that_a_kill_cut_short_is_left_out(tmp_path):
    write_run(tmp_path / "room", {5: 20.0})
    whole = (tmp_path / "room" / "metrics.csv").read_text()
    for cut in ("8,20.0,30.0,2", "8,2e"):  # the first would pass for 2 dB, the second is no number
        (tmp_path / "room" / "metrics.csv").write_text(whole + cut)
        assert load_comparison([tmp_path]).runs[0].curve("psnr_test") == [(5, 12.5, 20.0)]


def test_one_broken_run_is_named_and_left_out(tmp_path, capsys):
    write_run(tmp_path / "good", {5: 20.0})
    write_run(tmp_path / "bad", {5: 20.0}, [(".", 5, 1.0)])
    (tmp_path / "bad" / "results.json").write_text("{")
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"- Left out: {tmp_path / 'bad' / 'results.json'}: cannot be read" in printed
    assert "| – | – | with SSIM | – | 20.00 (12 s) |" in printed


@pytest.mark.parametrize("damage", ["absent", "empty", "not on a scene", "all broken"])
def test_what_is_no_run_on_a_scene_is_one_line_and_exit_code_2(tmp_path, capsys, damage):
    folder = tmp_path / "room"
    if damage != "absent":
        write_run(folder, {5: 20.0}, [(".", 5, 1.0)])
    if damage == "empty":
        (folder / "metrics.csv").write_text("iteration,seconds,psnr_train,psnr_test\n")
    if damage == "not on a scene":
        (folder / "metrics.csv").write_text("iteration,seconds,psnr\n0,1,2\n")
    if damage == "all broken":
        (folder / "results.json").write_text("[]")
    assert main(["report", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_mean_and_its_interval_are_students():
    # Quantiles of t for 0.975, from any table of it.
    assert [round(student_t_quantile(0.975, n), 3) for n in (1, 2, 3, 8, 30)] == [12.706, 4.303, 3.182, 2.306, 2.042]
    found = summarise([1.0, 2.0, 3.0])
    assert found.mean == 2 and found.half_width == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert summarise([4.0]).text(2) == "4.00 (1)"


def test_the_sign_flip_test_counts_patterns_that_are_as_extreme():
    assert paired_difference([1.0] * 5).p_value == 2 / 32
    assert paired_difference([1.0, 2.0, -4.0]).p_value == 1.0  # |1 + 2 - 4| is the least of all patterns
    assert paired_difference([3.0, 4.0, -1.0]).p_value == 4 / 8  # 8 and 6, and their negatives
    assert paired_difference([2.0] * 20).p_value < 1e-3
    assert 2 / 2 ** (pairs_needed() - 1) > 0.05 >= 2 / 2 ** pairs_needed()


def test_scores_are_summarised_over_seeds_and_paired_by_them(tmp_path):
    psnr = {("with", 1): 30.0, ("with", 2): 31.0, ("with", 3): 35.0, ("without", 1): 20.0, ("without", 2): 22.0}
    comparison = load_comparison([write_sweep(tmp_path, psnr)])
    assert comparison.methods == ["without SSIM", "with SSIM"]
    rows = {row[2]: row[3] for row in summary_table(comparison).rows}
    assert rows == {"without SSIM": "21.00 ± 12.71 (2)", "with SSIM": "32.00 ± 6.57 (3)"}
    (row,) = difference_table(comparison, "with SSIM").rows
    assert row[:3] == ["tensorf", "without SSIM", "-9.50 ± 6.35 (2), p = 0.5"]  # the third seed has no pair


def test_what_hinders_a_comparison_is_said_first(tmp_path, capsys):
    root = write_sweep(tmp_path, {("with", 1): 30.0, ("with", 2): 31.0, ("without", 1): 20.0})
    path = root / "with" / "seed_2" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest |= {
        "backend": {"s3im": {"implementation": "reference"}},
        "scene": {"hash": "def"},
        "git": {"sha": "1" * 40},
    }
    path.write_text(json.dumps(manifest))
    assert main(["report", str(root)]) == 0
    first = capsys.readouterr().out.split("\n\n")[0]
    for words in ("kernels that served", "different commits", "Different data", "without SSIM: no scores of seed 2"):
        assert words in first


def test_runs_that_differ_in_another_option_are_kept_apart(tmp_path):
    root = write_sweep(tmp_path, {("with", 1): 30.0, ("with", 2): 31.0})
    path = root / "with" / "seed_2" / "manifest.json"
    path.write_text(path.read_text().replace('"n_iters": 5', '"n_iters": 9'))
    assert load_comparison([root]).methods == ["with SSIM n_iters=5", "with SSIM n_iters=9"]


def test_runs_alike_in_all_that_the_table_names_stand_under_their_own_names(tmp_path, capsys):
    runs = [write_run(tmp_path / name, {5: 20.0}) for name in ("a", "b")]
    assert main(["report", *runs]) == 0
    assert "| run | 5 |\n| --- | --- |\n| a | 20.00 (12 s) |\n| b | 20.00 (12 s) |" in capsys.readouterr().out


def give_options(folder, scene="room", **options):
    """Puts options into a run's manifest, and another scene's name into its results."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["config"] |= options
    (folder / "manifest.json").write_text(json.dumps(manifest))
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps({**results, "scene": scene}))


def test_an_option_that_goes_with_the_scene_is_a_warning_and_no_schedule_of_its_own(tmp_path, capsys):
    root = write_sweep(tmp_path, {("with", 1): 30.0, ("with", 2): 31.0, ("without", 1): 20.0})
    give_options(root / "with" / "seed_2", scene="office", downsample_train=3)
    assert load_comparison([root]).methods == ["without SSIM", "with SSIM"]
    assert main(["report", str(root)]) == 0
    assert "same within each: downsample_train." in capsys.readouterr().out


def test_options_too_long_for_a_name_get_a_letter_and_a_table(tmp_path, capsys):
    root = write_sweep(tmp_path, {("with", 1): 30.0, ("with", 2): 31.0})
    give_options(root / "with" / "seed_1", first="x" * 40, second="y" * 40)
    give_options(root / "with" / "seed_2", first="z", second="y")
    assert load_comparison([root]).methods == ["with SSIM first=z second=y", "with SSIM settings A"]
    assert main(["report", str(root)]) == 0
    assert f"| settings A | first={'x' * 40} second={'y' * 40} |" in capsys.readouterr().out


def test_the_curves_of_every_run_are_kept_thinned(tmp_path):
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "long", dict.fromkeys(range(1, 2001), ""))
    assert main(["report", run, "--out", str(tmp_path / "out")]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "curves.csv").read_text().splitlines()))
    assert 100 < len(rows) <= 200 and rows[0]["updates"] == "1" and rows[-1]["updates"] == "2000"
    assert rows[0]["psnr_train"] == "30.0" and rows[0]["run"] == "long"


def test_schedules_are_named_in_words():
    assert schedule_name({}, {**SCHEDULE, "remove_at": 70}) == "removed at 70"
    assert (
        schedule_name({"s3im_weight": 1, "ssim_add_at": 5, "ssim_remove_at": 9}, None) == "added at 5 and removed at 9"
    )
    assert schedule_name({"s3im_weight": 0, "ssim_remove_at": 9}, None) == "without SSIM"
    assert schedule_name({"ssim_part": "structure"}, None) == "with SSIM, structure alone"


def test_a_table_is_written_as_csv_and_latex():
    written = Table("A & B", ["name", "PSNR"], [["a_b", "1.5 ± 0.2 (3)"], ["c", None]])
    assert list(csv.reader(written.csv().splitlines())) == [["name", "PSNR"], ["a_b", "1.5 ± 0.2 (3)"], ["c", ""]]
    assert r"a\_b & 1.5 $\pm$ 0.2 (3) \\" in written.latex()
    assert r"\begin{tabular}{lr}" in written.latex()


def test_the_page_leaves_out_columns_without_a_value_and_names_them():
    page = Table("T", ["name", "PSNR", "LPIPS"], [["a", "1.5", None], ["b", None, None]]).html()
    assert "<th>PSNR</th>" in page and "<th>LPIPS</th>" not in page and page.count("<td>") == 4
    assert "Not measured: LPIPS." in page


@pytest.mark.parametrize(("longest", "unit"), [(40, "seconds"), (299, "seconds"), (301, "minutes"), (20_000, "hours")])
def test_an_axis_of_time_is_in_units_that_read_well(longest, unit):
    assert curves.time_unit(longest)[0].startswith(unit)


def test_a_metric_at_one_moment_alone_makes_no_figure(tmp_path):
    pytest.importorskip("matplotlib")
    write_sweep(tmp_path, {("with", 1): 30.0})  # PSNR twice under way, SSIM at the end
    assert {"psnr", "psnr_by_time"} == set(curves.figures(load_comparison([tmp_path])))


def test_smoothing_keeps_the_ends_and_the_mean():
    points = [(n, float(n), float(n % 2)) for n in range(1000)]
    smooth = curves.smoothed(points)
    assert [point[0] for point in smooth] == list(range(1000))
    assert all(abs(value - 0.5) < 0.05 for _, _, value in smooth)
    assert curves.smoothed(points[:10]) == points[:10]


def write_sweep_with_pictures(root):
    """Two schedules, each with one view: 200 grey with SSIM, 50 without."""
    write_sweep(root, {(name, 1): 20.0 for name in ("with", "without")})
    for name, grey in (("with", 200), ("without", 50)):
        test = root / name / "seed_1" / "test"
        test.mkdir()
        for view in ("000000_rgb", "error_000000_rgb"):
            cv2.imwrite(str(test / f"{view}.png"), np.full((8, 8, 3), grey, np.uint8))
    return root


@pytest.mark.slow
def test_the_page_holds_all_it_shows(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    root, out = write_sweep_with_pictures(tmp_path / "runs"), tmp_path / "a" / "b"
    assert main(["report", str(root), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (out / "report.md").read_text(encoding="utf-8") == printed[: printed.index("\npage: ")]
    assert {"summary.csv", "summary.tex", "differences.csv", "psnr.png", "psnr_by_time.png"} <= {
        path.name for path in out.iterdir()
    }
    text = (out / "report.html").read_text(encoding="utf-8")
    assert text.count("data-kind='render'") == 2 and text.count("data-kind='error'") == 2
    assert not re.findall(r"(?:src|href)='(?!data:)[^']+'", text) and "http" not in text


def test_the_baseline_must_be_there(tmp_path, capsys):
    root = write_sweep(tmp_path, {("with", 1): 30.0, ("without", 1): 20.0})
    assert main(["report", str(root), "--baseline", "without SSIM"]) == 0
    assert "Difference from “without SSIM”" in capsys.readouterr().out
    assert main(["report", str(root), "--baseline", "nothing"]) == 2
    assert "'with SSIM'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_page_opens_offline_and_its_slider_slides(tmp_path):
    pytest.importorskip("matplotlib")
    out, runs = tmp_path / "out", write_sweep_with_pictures(tmp_path / "runs")
    write_run(runs / ("a_long_name_" * 8), {5: 20.0})  # unfinished, and so named among the warnings
    assert main(["report", str(runs), "--out", str(out)]) == 0
    with chromium() as browser:
        for width in (1400, 400):
            page, messages, requests = watched_page(browser, width)
            page.goto(f"file://{out / 'report.html'}")
            assert page.evaluate("document.documentElement.scrollWidth") == width  # nothing sticks out
            under, over = (page.locator(f".stage .{name}").get_attribute("src") for name in ("under", "over"))
            assert under != over and under.startswith("data:image/jpeg")
            page.locator(".slider input").fill("20")
            assert page.locator(".stage .over").evaluate("image => image.style.clipPath") == "inset(0px 0px 0px 20%)"
            assert messages == []
            assert [address for address in requests if not address.startswith("data:")] == [page.url]
