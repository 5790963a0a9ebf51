"""Results that stay: runs collected into CSV files, and pages whose every table and figure follows from those alone."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest
from sweep_fixtures import StubEngine, leave_results

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.evidence.__main__ import main
from nerf_ssim.experiments.evidence.charts import Line, Panel, chart
from nerf_ssim.experiments.evidence.collect import collect, read_table
from nerf_ssim.experiments.evidence.declared import TableOf, render
from nerf_ssim.experiments.evidence.figures import FigureOf, draw
from nerf_ssim.experiments.evidence.pages import redrawn
from nerf_ssim.experiments.report.thinning import kept_places
from nerf_ssim.experiments.sweep.definition import sweep_from
from nerf_ssim.experiments.sweep.driver import perform, write_tables
from nerf_ssim.experiments.sweep.runs import expand

ROOT = Path(__file__).parents[2]
SWEEP = {
    "config": "replica_small.txt",
    "axes": {"scene": ["a", "b"], "schedule": ["without", "remove_70", "remove_10"], "seed": [1, 2]},
}
SCORE = {"without": 19.0, "remove_70": 30.0, "remove_10": 25.0}


@pytest.fixture
def sweep(tmp_path):
    """A sweep of which all runs but the last are done; the last has begun."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    definition = sweep_from(SWEEP, default_name="moments")
    runs = expand(definition, basedir=tmp_path / "runs", data=tmp_path)
    for run in runs:
        leave_results(run, SCORE[run.names["schedule"]] + int(run.names["seed"][-1]))
    (runs[-1].folder / "results.json").unlink()
    write_tables(definition, runs, tmp_path / "runs" / "moments")
    return tmp_path / "runs" / "moments", runs


def test_every_run_is_a_row_with_its_names_scores_and_hash(sweep, tmp_path):
    folder, runs = sweep
    found = collect(folder, tmp_path / "data")
    rows = read_table(tmp_path / "data" / "moments.csv")
    assert (found.runs, found.taken, len(rows)) == (12, 12, 12)
    assert [row["config_hash"] for row in rows] == [run.config_hash for run in runs]
    assert rows[0]["psnr"] == "20.0" and rows[-1]["state"] == "begun" and not rows[-1]["psnr"]
    curves = read_table(tmp_path / "data" / "moments_curves.csv")
    assert {row["updates"] for row in curves} == {"1", str(runs[0].updates)} and len(curves) == 24


def test_runs_that_are_gone_stay_and_a_finished_one_is_not_replaced_by_one_that_is_behind(sweep, tmp_path):
    folder, runs = sweep
    collect(folder, tmp_path / "data")
    before = (tmp_path / "data" / "moments.csv").read_text()
    (runs[0].folder / "results.json").unlink()
    shutil.rmtree(runs[1].folder)
    write_tables(sweep_from(SWEEP, default_name="moments"), runs, folder)
    assert collect(folder, tmp_path / "data").taken == 0
    assert (tmp_path / "data" / "moments.csv").read_text() == before
    assert len(read_table(tmp_path / "data" / "moments_curves.csv")) == 24
    leave_results(runs[-1], 27.0)
    write_tables(sweep_from(SWEEP, default_name="moments"), runs, folder)
    assert collect(folder, tmp_path / "data").taken == 1
    assert read_table(tmp_path / "data" / "moments.csv")[-1]["psnr"] == "27.0"


def test_a_run_that_went_on_since_its_sweeps_table_was_written_is_as_far_as_its_log(sweep, tmp_path):
    folder, runs = sweep
    log = runs[-1].folder / "metrics.csv"
    header = log.read_text().splitlines()[0].split(",")
    log.write_text(log.read_text() + ",".join("4000" if name == "iteration" else "" for name in header) + "\n")
    collect(folder, tmp_path / "data")
    assert read_table(tmp_path / "data" / "moments.csv")[-1]["updates"] == "4001"


def test_a_search_for_a_rate_that_is_under_way_is_as_far_as_its_newest_fit(sweep, tmp_path):
    folder, runs = sweep
    fits = [runs[-1].folder / name for name in ("lr_10", "lr_11")]
    for age, fit in enumerate(fits):
        fit.mkdir()
        (fit / "metrics.csv").write_text(f"iteration,psnr\n0,9.5\n{7 + age},11.5\n")
        os.utime(fit / "metrics.csv", (1e9 + age, 1e9 + age))
    (runs[-1].folder / "metrics.csv").unlink()
    write_tables(sweep_from(SWEEP, default_name="moments"), runs, folder)
    collect(folder, tmp_path / "data")
    curve = [row for row in read_table(tmp_path / "data" / "moments_curves.csv") if row["psnr"] == "11.5"]
    assert [row["updates"] for row in curve] == ["8"]


def test_a_real_sweeps_folder_is_what_is_collected(sweep, tmp_path):
    definition = sweep_from({**SWEEP, "axes": {**SWEEP["axes"], "seed": [7]}}, default_name="other")
    runs = expand(definition, basedir=tmp_path / "runs", data=tmp_path)
    perform(definition, runs, StubEngine(), tmp_path / "runs" / "other", index=None, retries=0)
    assert collect(tmp_path / "runs" / "other", tmp_path / "data", points=0).runs == 6
    assert not (tmp_path / "data" / "other_curves.csv").exists()
    with pytest.raises(ConfigError, match="runs.csv"):
        collect(tmp_path / "runs", tmp_path / "data")


def test_a_table_has_means_over_seeds_counts_and_where_it_comes_from(sweep, tmp_path):
    collect(sweep[0], tmp_path / "data")
    declared = TableOf("moments", rows=["scene"], columns="schedule", titles={"without": "w/o"}, spread="range")
    text = render(declared, tmp_path / "data")
    assert "| scene | w/o | remove_70 | remove_10 |" in text
    assert "| a | 20.50, 20.00–21.00 (2) | 31.50, 31.00–32.00 (2) | 26.50, 26.00–27.00 (2) |" in text
    assert "| b | 20.50, 20.00–21.00 (2) | 31.50, 31.00–32.00 (2) | 26.00 (1) |" in text
    assert "11 runs finished; 1 under way" in text
    assert "nerf-ssim sweep" in render(TableOf("absent", ask="nerf-ssim sweep x"), tmp_path / "data")


def test_rows_stand_in_the_order_of_the_titles_within_each_scene(sweep, tmp_path):
    collect(sweep[0], tmp_path / "data")
    titles = {"without": "w/o", "remove_10": "at 10", "remove_70": "at 70"}
    text = render(TableOf("moments", rows=["scene", "schedule"], titles=titles), tmp_path / "data")
    found = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith(("| a", "| b"))]
    assert found == [[f"| {scene}", title] for scene in "ab" for title in titles.values()]


def test_a_table_of_runs_under_way_has_what_they_reached_in_the_order_of_the_titles(tmp_path):
    runs = "index,schedule,seed,label,state,updates\n0,remove_70,1,,begun,300\n1,with,1,,done,400\n"
    curves = "schedule,seed,updates,psnr_test\nremove_70,1,200,21\nwith,1,200,22.5\nwith,1,300,\nwith,1,400,25\n"
    (tmp_path / "moments.csv").write_text(runs)
    (tmp_path / "moments_curves.csv").write_text(curves)
    titles, scores = {"with": "w/", "remove_70": "at 70"}, {"psnr_test": "PSNR dB"}
    declared = TableOf(
        "moments", kind="under_way", rows=["schedule"], columns=[200, 300, 400, 900], titles=titles, cells=scores
    )
    text = render(declared, tmp_path)
    assert "| schedule | 200 | 400 |\n" in text, "nothing was scored at 300 or 900"
    assert text.index("| w/ | 22.50 (1) | 25.00 (1) |") < text.index("| at 70 | 21.00 (1) | – |")
    assert "1 run finished; 1 under way (the furthest after 300 updates)" in text


def test_an_axis_is_reduced_to_the_value_that_its_score_is_best_at(sweep, tmp_path):
    collect(sweep[0], tmp_path / "data")
    declared = TableOf("moments", rows=["scene"], best={"schedule": "psnr"}, where={"scene": "a"}, spread="median")
    assert "| a | 31.50, 31.00–32.00 (2) |" in render(declared, tmp_path / "data")


def test_runs_of_another_sweep_stand_beside_those_of_the_table(sweep, tmp_path):
    data = tmp_path / "data"
    collect(sweep[0], data)
    (data / "auto.csv").write_text(
        "index,scene,model,schedule,seed,label,state,updates,psnr\n0,a,m,auto,1,,done,6,30\n"
    )
    declared = TableOf("auto", beside=["moments", "absent"], rows=["scene"], columns="schedule", where={"scene": "a"})
    text = render(declared, data)
    assert "| scene | without | remove_70 | remove_10 | auto |" in text and "| 30.00 (1) |" in text


def test_a_score_that_some_seeds_lack_says_of_how_many(tmp_path):
    with open(tmp_path / "costs.csv", "w", newline="") as file:
        rows = [
            ["index", "scene", "seed", "label", "state", "cost_60"],
            [0, "a", 1, "", "done", 90],
            [1, "a", 2, "", "done", ""],
        ]
        csv.writer(file).writerows([*rows, [2, "b", 1, "", "done", ""]])
    text = render(TableOf("costs", rows=["scene"], cells={"cost_60": "cost_60"}, decimals=0), tmp_path)
    assert "| a | 90 (1 of 2) |" in text and "| b | never (1) |" in text


def test_a_curve_keeps_its_ends_its_beginning_and_what_is_asked_for():
    places = kept_places(1000, 40, [517])
    assert {0, 1, 2, 517, 999} <= set(places) and len(places) <= 41 and places == sorted(places)
    assert kept_places(5, 40) == [0, 1, 2, 3, 4]


def test_a_figure_of_moments_has_points_at_their_means(sweep, tmp_path):
    collect(sweep[0], tmp_path / "data")
    figure = FigureOf("moments", "moments", "c", {"psnr": "PSNR"}, panels=["scene"], titles={"without": "w/o"})
    text = draw(figure, tmp_path / "data")
    assert text is not None and text.count("<g ") == 2 and ">w/o</text>" in text and ">remove at M</text>" in text
    assert draw(FigureOf("absent", "curves", "c", {"psnr": "PSNR"}), tmp_path / "data") is None


def test_a_chart_places_values_within_its_axes():
    text = chart(
        [Panel("p", [Line("<a>", [(1, 0.0, 0.0, 0.0), (100, 10.0, 9.0, 11.0)])])], x_label="x", y_label="y", is_log=True
    )
    assert "&lt;a&gt;" in text and 'cx="56.0" cy="256.0"' in text and 'cx="406.0"' in text


def test_only_blocks_change_and_an_open_one_is_refused(tmp_path):
    page = tmp_path / "p.md"
    page.write_text("a\n<!-- table: t -->\nold\n<!-- end -->\nb\n    <!-- table: example -->\n")
    assert redrawn(page, {"table": lambda name: f"new {name}"}) == (
        "a\n<!-- table: t -->\n\nnew t\n<!-- end -->\nb\n    <!-- table: example -->\n"
    )
    page.write_text("<!-- table: t -->\n<!-- table: u -->\n<!-- end -->\n")
    with pytest.raises(ConfigError, match="end"):
        redrawn(page, {"table": str})


def test_the_check_finds_a_page_that_differs_from_its_data(tmp_path, capsys):
    docs = tmp_path / "docs"
    (docs / "data").mkdir(parents=True)
    with open(docs / "data" / "kept.csv", "w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], ["1", "2"]])
    (docs / "data" / "tables.yaml").write_text("tables: {t: {file: kept, kind: as_it_is, origin: by hand}}\n")
    (docs / "p.md").write_text("<!-- table: t -->\n<!-- end -->\n")
    words = ["--docs", str(docs), "redraw"]
    assert main([*words, "--check"]) == 1 and "p.md" in capsys.readouterr().out
    assert main(words) == 0 and "| 1 | 2 |" in (docs / "p.md").read_text()
    assert main([*words, "--check"]) == 0
    (docs / "data" / "tables.yaml").write_text("tables: {t: {fil: kept}}\n")
    assert main(words) == 2 and "fil" in capsys.readouterr().err


def test_this_repositorys_pages_are_those_of_its_data():
    pytest.importorskip("yaml")
    assert main(["--docs", str(ROOT / "docs"), "redraw", "--check"]) == 0
    assert len((ROOT / "docs" / "results.md").read_text().splitlines()) < 200
