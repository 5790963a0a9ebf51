"""Tables and figures of the paper: which runs they make, what their tables say, what is drawn, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sweep_fixtures import StubAttempt, StubEngine, leave_results, write_pictures

from nerf_ssim.cli import main as command_line
from nerf_ssim.errors import ConfigError, SceneError
from nerf_ssim.experiments import __main__ as former
from nerf_ssim.experiments.paper import command, definitions
from nerf_ssim.experiments.paper.artifacts import ARTIFACTS
from nerf_ssim.experiments.paper.definitions import Request
from nerf_ssim.experiments.paper.scenes import choose_scenes
from nerf_ssim.experiments.sweep.runs import expand

SMALL = "--size 16 --hidden 16 --hidden_layers 2 --n_iters 12".split()
OF_FITS = [name for name, artifact in ARTIFACTS.items() if artifact.parts[0].command == "fit-image"]


class InProcess(StubEngine):
    """Runs each command line in this process, which has imported what it needs."""

    def start(self, run):
        self.started.append(run.title)
        return StubAttempt(command_line.main(run.words()))


@pytest.fixture
def engine(monkeypatch):
    engine = InProcess(slots=1)
    monkeypatch.setattr(command, "make_engine", lambda arguments, sweep: engine)
    monkeypatch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
    return engine


@pytest.fixture
def words(tmp_path):
    write_pictures(tmp_path)
    return ["--images", str(tmp_path), "--basedir", str(tmp_path / "runs"), "--name", "e", *SMALL]


def request_for(updates=500, **options):
    return Request("small", updates, 1, options)


def planned(name, tmp_path, *words):
    write_pictures(tmp_path, ("one",))
    line = [name, "--image", str(tmp_path / "one.png"), "--scenes", "rooms", "--basedir", str(tmp_path), *words]
    arguments, rest = command._parser().parse_known_args(line)
    parts = ARTIFACTS[name].parts
    options = command.options_by_command(rest, [part.command for part in parts])
    sweeps = [command.plan(ARTIFACTS[name], part, arguments, options[part.command]) for part in parts]
    return [expand(sweep, basedir=tmp_path) for sweep in sweeps]


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["small", "full"])
@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_artifact_is_made_of_options_that_go_together(name, scale, tmp_path):
    assert all(planned(name, tmp_path, "--scale", scale))


def test_table_1_has_both_models_eight_rooms_four_schedules_and_three_seeds(tmp_path):
    (runs,) = planned("table1", tmp_path)
    assert len(runs) == 2 * 8 * 4 * 3
    assert {run.names["scene"] for run in runs} == {f"room_{seed}" for seed in range(1, 9)}
    moments = {(run.names["model"], run.names["schedule"]) for run in runs}
    assert ("tensorf", "remove_70") in moments and ("dvgo", "add_200") in moments
    assert ("tensorf", "remove_200") not in moments and ("dvgo", "add_70") not in moments


def test_methods_differ_in_what_they_are_named_for(tmp_path):
    (runs,) = planned("table2", tmp_path)
    fits = {run.names["schedule"]: run.config for run in runs}
    assert not fits["plain"].data.permute and fits["rpp"].data.permute and fits["guided"].data.permute
    assert [fits[name].ssim.ssim_weight for name in ("plain", "rpp", "guided")] == [0, 0, 0.1]
    assert fits["guided"].ssim.ssim_remove_at == 60 and fits["guided"].optim.lr_exponents
    assert definitions.guided(request_for(ssim_remove_at=70))["ssim_remove_at"] == 70
    (runs,) = planned("table2", tmp_path, "--lr", "0.001")
    assert {run.config.optim.lr_exponents for run in runs} == {()}


def test_figure_2_removes_and_adds_at_each_of_the_papers_moments(tmp_path):
    (runs,) = planned("fig2a", tmp_path)
    moments = [10, 20, 40, 60, 80, 120, 200, 400]
    expected = {f"{kind}_{moment}" for kind in ("remove", "add") for moment in moments} | {"with", "without"}
    assert {run.names["schedule"] for run in runs} == expected
    (short,) = planned("fig2a", tmp_path, "--n_iters", "30")
    assert {run.names["schedule"] for run in short} == {"with", "without", "remove_10", "add_10", "remove_20", "add_20"}


def test_an_option_goes_to_the_part_that_has_it(tmp_path):
    fits, runs = planned("fig3", tmp_path, "--hidden", "16", "--color_samples", "4", "--stop_at", "9")
    assert {run.config.network.hidden for run in fits} == {16} and {run.updates for run in [*fits, *runs]} == {9}
    assert {run.config.model.color_samples for run in runs} == {4}


@pytest.mark.slow
def test_a_table_is_regenerated_from_the_logs_and_done_fits_are_not_done_again(words, tmp_path, capsys, engine):
    words += ["--ssim_remove_at", "5", "--lr", "0.001"]
    assert command_line.main(["paper", "table2", *words]) == 0
    assert len(engine.started) == 6
    first = (tmp_path / "runs" / "e" / "table2.md").read_text()
    assert "| one | guided + RPP |" in first and "mean of 2" in first and first in capsys.readouterr().out
    assert command_line.main(["paper", "table2", *words]) == 0
    assert command_line.main(["paper", "table3", *words, "--draw_only"]) == 0
    assert len(engine.started) == 6
    assert (tmp_path / "runs" / "e" / "table2.md").read_text() == first


@pytest.mark.slow
def test_a_search_stands_in_a_table_and_a_figure_as_its_best_fit(words, tmp_path, engine):
    pytest.importorskip("matplotlib")
    words += ["--lr_exponents", "[8,10]", "--stop_psnr", "20", "--ssim_remove_at", "5", "--only", "rpp,guided"]
    assert command_line.main(["paper", "table2", *words]) == 0
    assert command_line.main(["paper", "fig5", *words, "--draw_only"]) == 0
    folder = tmp_path / "runs" / "e"
    results = json.loads(next(folder.glob("one/siren/rpp/*/results.json")).read_text())
    text = (folder / "table2.md").read_text()
    assert f"{results['lr']:.3g}" in text and "| plain |" not in text and "| mean of 2 | RPP |" in text
    assert (folder / "fig5_one.png").stat().st_size > 1000


@pytest.mark.slow
def test_figures_of_fits_are_drawn_from_the_logs(words, tmp_path, engine):
    pytest.importorskip("matplotlib")
    words = ["--image", str(tmp_path / "one.png"), *words[2:]]
    for name in ("fig2a", "fig1b", "fig3"):
        assert command_line.main(["paper", name, *words, *(["--name", "e3"] if name == "fig3" else [])]) == 0
    assert (tmp_path / "runs" / "e" / "fig2a_one.png").stat().st_size > 1000
    assert (tmp_path / "runs" / "e" / "fig1b_one.png").stat().st_size > 1000
    assert "remove at 10" in (tmp_path / "runs" / "e" / "fig2a.md").read_text()
    assert (tmp_path / "runs" / "e3_fit-image" / "fig3_one.png").exists(), "the part on scenes is left out"


def test_costs_and_accelerations_are_those_of_the_results(tmp_path, capsys):
    (runs,) = planned("table2", tmp_path, "--lr", "0.5")
    for run, cost in zip(runs, (150, 100, 300), strict=True):  # rpp, guided, plain
        costs = {"50": cost, "55": None if cost == 300 else cost, "60": cost * 2}
        results = {"cost": costs, "psnr_best": 70.0, "lr": 0.5, "stopped_at": 3000, "options": run.config.to_dict()}
        run.folder.mkdir(parents=True)
        (run.folder / "results.json").write_text(json.dumps(results))
    line = ["table2", "--image", str(tmp_path / "one.png"), "--basedir", str(tmp_path), "--lr", "0.5", "--draw_only"]
    assert command.run_paper(line) == 0
    text = capsys.readouterr().out
    assert "| one | guided + RPP | 100 | 100 | 200 | 3.00 | – | 3.00 | 70.00 | 0.50 |" in text
    assert "| mean of 1 | RPP | 150.00 | 150.00 | 300.00 | 2.00 | – | 2.00 | 70.00 | – |" in text


@pytest.mark.slow
def test_table_1_is_the_mean_and_spread_over_seeds_with_a_mean_over_scenes(tmp_path, capsys):
    (runs,) = planned("table1", tmp_path)
    for run in runs:
        leave_results(run, 10.0 + run.names["seed"].endswith("2") + 5 * run.names["schedule"].startswith("with"))
    assert command.run_paper(["table1", "--scenes", "rooms", "--basedir", str(tmp_path), "--draw_only"]) == 0
    text = capsys.readouterr().out
    assert "| tensorf | room_3 | 70 | 15.67 ± 0.58 | 15.67 ± 0.58 | 10.67 ± 0.58 | 10.67 ± 0.58 |" in text
    assert "| dvgo | mean of 8 | 200 | 15.67 | 15.67 | 10.67 | 10.67 |" in text


@pytest.mark.slow
def test_figure_2c_is_drawn_over_seeds(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (runs,) = planned("fig2c", tmp_path, "--seeds", "2")
    for run in runs:
        leave_results(run, 20.0 + run.config.run.seed % 2)
    line = ["fig2c", "--scenes", "rooms", "--seeds", "2", "--basedir", str(tmp_path), "--draw_only"]
    assert command.run_paper(line) == 0
    assert "| room | remove at 70 | 2 | 20.50 ± 0.71 |" in capsys.readouterr().out
    assert (tmp_path / "moments_small" / "fig2c_room.png").stat().st_size > 1000


def test_missing_scenes_are_named_and_the_others_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SceneError, match="scan1, .*scan8; .*--scenes rooms"):
        choose_scenes([], "small", is_of_one_scene=False)
    Path("data/Replica/scan8").mkdir(parents=True)
    scenes = choose_scenes([], "full", is_of_one_scene=False)
    assert list(scenes.axis) == ["scan8"] and len(scenes.missing) == 7
    assert scenes.axis["scan8"]["s3im_weight"] == 5
    assert list(choose_scenes(["rooms"], "small", is_of_one_scene=True).axis) == ["room"]


@pytest.mark.slow
def test_the_former_name_works_and_says_the_present_one(words, tmp_path, capsys, engine):
    line = [word.replace("--name", "--expname") for word in words] + ["--lr", "0.001", "--ssim_remove_at", "5"]
    assert former.main(["table2", *line, "--fits", "rpp"]) == 0
    assert "nerf-ssim paper table2" in capsys.readouterr().err
    assert former.main(["figure5", *line, "--fits", "rpp", "--report_only"]) == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["tabel2"], "table2"),
        (["table2"], "--image"),
        (["table2", "--image", "a.png"], "a.png"),
        (["table2", "--image", "IMAGE", "--draw_only"], "finished"),
        (["table2", "--image", "IMAGE", "--only", "rpp,gided"], "'gided'"),
        (["table2", "--image", "IMAGE", "--hiden", "3"], "--hidden"),
        (["table2", "--image", "IMAGE", "--expname", "x"], "--expname"),
        (["table1"], "data/Replica/scan1"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, words, named):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path, ("one",))
    assert command_line.main(["paper", *[word.replace("IMAGE", "one.png") for word in words]]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and named.lstrip("-") in line


def test_an_option_that_no_part_has_is_named():
    with pytest.raises(ConfigError, match="hiden"):
        command.options_by_command(["--hiden", "3"], ["train", "fit-image"])


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_FITS)
def test_parts_of_one_group_share_their_runs(name, tmp_path):
    (first, *_) = planned(name, tmp_path)
    for other in OF_FITS:
        if ARTIFACTS[other].parts[0].group == ARTIFACTS[name].parts[0].group:
            again = {run.folder: run.config_hash for run in planned(other, tmp_path)[0]}
            assert all(again.get(run.folder, run.config_hash) == run.config_hash for run in first)
