"""How a sweep carries its runs out: nothing is done twice or at once, crashes are tried again, signals stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweep_fixtures import StubEngine, jobs_of, leave_results

from nerf_ssim.errors import ConfigError, TrainingError
from nerf_ssim.experiments.sweep.definition import sweep_from
from nerf_ssim.experiments.sweep.driver import perform, show_plan, write_tables
from nerf_ssim.experiments.sweep.runs import expand
from nerf_ssim.experiments.sweep.scheduler import CLAIM, carry_out
from nerf_ssim.experiments.sweep.state import standing_of
from nerf_ssim.runs.interrupts import GracefulStop

CONTENT = {
    "config": "room.txt",
    "axes": {"scene": ["bundled:room"], "schedule": ["without", "with"], "seed": [1, 2]},
}
FIRST, SECOND = "room/tensorf/without/seed_1", "room/tensorf/without/seed_2"


@pytest.fixture
def sweep():
    return sweep_from(CONTENT, default_name="s")


@pytest.fixture
def runs(sweep, tmp_path):
    return expand(sweep, basedir=tmp_path)


def carry(runs, engine, retries=1, stop=None, **options):
    jobs = jobs_of(runs)
    carry_out(jobs, engine, stop or GracefulStop(), retries=retries, pause=0.0, **options)
    return {job.run.title: job for job in jobs}


def test_runs_are_started_in_their_order_and_finished_ones_are_not(runs):
    leave_results(runs[1])
    engine = StubEngine(slots=2)
    jobs = carry(runs, engine)
    assert engine.started == [run.title for run in runs if run is not runs[1]]
    assert {job.state for job in jobs.values()} == {"done"}
    assert carry(runs, again := StubEngine()) and again.started == []


def test_a_run_of_a_longer_sweep_goes_on(runs, sweep, tmp_path):
    leave_results(runs[0])
    longer = expand(sweep, basedir=tmp_path, overrides={"stop_at": 500})
    assert standing_of(longer[0]).state == "done"
    record = json.loads((runs[0].folder / "results.json").read_text())
    (runs[0].folder / "results.json").write_text(json.dumps({**record, "stopped_at": 400}))
    assert standing_of(longer[0]).state == "begun"


def test_a_crash_is_tried_again_so_often_and_an_error_for_people_is_not(runs):
    engine = StubEngine(codes={FIRST: [-9, 0], SECOND: [1, -11, 0]})
    jobs = carry(runs, engine, retries=1)
    assert jobs[FIRST].state == "done" and engine.started.count(FIRST) == 2
    assert jobs[SECOND].state == "failed" and engine.started.count(SECOND) == 2
    assert "crashed 2 times" in jobs[SECOND].note and "-11" in jobs[SECOND].note
    engine = StubEngine(codes={SECOND: [2]}, words="nerf-ssim: datadir: not there")
    assert carry(runs, engine)[SECOND].note == "nerf-ssim: datadir: not there"
    assert engine.started == [SECOND]


def test_a_signal_reaches_the_runs_and_nothing_more_is_started(runs):
    engine = StubEngine(slots=1, codes={FIRST: [None]})
    with GracefulStop() as stop:
        jobs = carry(
            runs, engine, stop=stop, report=lambda: os.kill(os.getpid(), signal.SIGUSR1) if not stop.requested else None
        )
        assert stop.exit_code == 138
    assert engine.started == [FIRST] and jobs[FIRST].state == "stopped" and jobs[SECOND].state == "waiting"


HOLDER = """
import sys, time
from pathlib import Path
from nerf_ssim.runs.lock import lock_folder
lock = lock_folder(Path(sys.argv[1]), sys.argv[2])
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("name", [".lock", CLAIM])
def test_a_run_that_another_process_is_at_is_left_alone_and_taken_up_when_that_dies(runs, name):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(runs[0].folder), name], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    rounds, seen = [], []
    engine = StubEngine(slots=4)
    jobs = jobs_of(runs)

    def report():
        rounds.append(list(engine.started))
        if len(rounds) == 3:
            seen.append(jobs[0].state)
            holder.kill()
            holder.wait()

    carry_out(jobs, engine, GracefulStop(), retries=0, report=report, pause=0.0, pause_elsewhere=0.01)
    assert FIRST not in rounds[2] and SECOND in rounds[2] and seen == ["elsewhere"]
    assert engine.started.count(FIRST) == 1 and jobs[0].state == "done"


def test_a_folder_with_a_run_of_other_options_is_refused_before_anything_starts(sweep, runs, tmp_path):
    leave_results(runs[2])
    other = expand(sweep, basedir=tmp_path, overrides={"lr_init": 0.01})
    engine = StubEngine()
    with pytest.raises(ConfigError, match="lr_init was 0.02, is 0.01"):
        perform(sweep, other, engine, tmp_path / "s", index=None, retries=0)
    assert engine.started == []


def test_a_failure_is_told_after_the_others_are_done(sweep, runs, tmp_path):
    with pytest.raises(TrainingError, match="1 of 4 runs failed"):
        perform(sweep, runs, StubEngine(codes={FIRST: [2]}), tmp_path / "s", index=None, retries=0)
    assert [standing_of(run).state for run in runs] == ["new", "done", "done", "done"]


def test_one_index_alone(sweep, runs, tmp_path):
    engine = StubEngine()
    perform(sweep, runs, engine, tmp_path / "s", index=2, retries=0)
    assert engine.started == ["room/tensorf/with/seed_1"]
    with pytest.raises(ConfigError, match="0 to 3"):
        perform(sweep, runs, engine, tmp_path / "s", index=4, retries=0)


def test_hours_are_those_of_runs_like_it_then_those_stated(runs, sweep, tmp_path, capsys):
    leave_results(runs[0])  # half a second an update
    show_plan(sweep, runs, slots=2)
    lines = capsys.readouterr().out.splitlines()
    assert "done" in lines[1] and "8 min" in lines[2], "1000 updates at 0.5 s, measured on the other seed"
    assert "12 min left" in lines[-1], "three runs of 500 s, two at a time"
    stated = sweep_from({**CONTENT, "seconds_per_update": {"tensorf": 7.2}}, default_name="s")
    show_plan(stated, expand(stated, basedir=tmp_path / "elsewhere"), slots=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[3:5] == ["2.0", "h"] and "8.0 h left" in lines[-1]


@pytest.mark.slow
def test_two_thousand_runs_expand_run_and_report_in_under_a_minute(tmp_path, capsys):
    content = {**CONTENT, "axes": {**CONTENT["axes"], "seed": list(range(1000))}}
    started = time.process_time()  # other work on the machine is not what is measured
    sweep = sweep_from(content, default_name="large")
    runs = expand(sweep, basedir=tmp_path)
    show_plan(sweep, runs, slots=4)
    outcome = perform(sweep, runs, StubEngine(slots=500), tmp_path / "large", index=None, retries=0)
    assert time.process_time() - started < 60
    assert outcome.exit_code == 0 and len(outcome.rows) == 2000
    assert {row["state"] for row in outcome.rows} == {"done"}
    table = (tmp_path / "large" / "table.md").read_text()
    assert "| room | tensorf | with | 1000 | 20.00 ± 0.00 |" in table
    assert "2000 runs: 2000 done" in capsys.readouterr().err


def test_the_table_takes_the_best_value_of_an_axis_by_the_mean_over_seeds(tmp_path):
    axes = {"scene": ["a.png"], "schedule": ["with"], "lr": ["2^-10", "2^-11"], "seed": [1, 2]}
    content = {"command": "fit-image", "axes": axes, "best": {"lr": "cost_50"}}
    sweep = sweep_from(content, default_name="s")
    runs = expand(sweep, basedir=tmp_path)
    costs = {("2^-10", 1): 10, ("2^-10", 2): None, ("2^-11", 1): 30, ("2^-11", 2): 40}
    for run in runs:
        run.folder.mkdir(parents=True)
        cost = costs[run.names["lr"].removeprefix("lr_"), run.config.run.seed]
        results = {"options": run.config.to_dict(), "stopped_at": 3000, "psnr_best": 61.0, "cost": {"50": cost}}
        (run.folder / "results.json").write_text(json.dumps(results))
    write_tables(sweep, runs, tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "| a | siren | with | lr_2^-11 | 2 | 61.00 ± 0.00 |" in text and "35.00 ± 7.07" in text
    assert "lr_2^-10" not in text and (tmp_path / "runs.csv").read_text().count("lr_2^-10") == 2 * 2
    assert Path(tmp_path / "runs.csv").read_text().startswith("index,scene,model,schedule,seed,lr,")
