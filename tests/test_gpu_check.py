"""The logic of `make gpu-check`: stages in order, a page as it goes, and an exit code that says what it is worth."""

from __future__ import annotations

import io
import sys
import time

import pytest

from tests.gpu import check
from tests.gpu.check import FAILED, NOTHING_TO_CHECK, PASSED, Page, Stage

PROGRAMS = {
    "good": "print('all is well')",
    "bad": "import sys; print('half of it'); sys.exit('one kernel disagrees')",
    "crash": "import os; os.abort()",
    "slow": "import time; print('begins', flush=True); time.sleep(60)",
}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs stages that are programs of these names; returns the exit code and the page."""
    launch = check.subprocess.Popen

    def popen(command, **settings):
        name = command[3]
        return launch([sys.executable, "-c", PROGRAMS[name.partition(" ")[0]]], **settings)

    monkeypatch.setattr(check.subprocess, "Popen", popen)
    monkeypatch.setattr(check, "LEAST_SECONDS", 0.5)

    def run(*stages, seconds=60.0):
        page = io.StringIO()
        code = check.check(stages, "cpu", time.monotonic() + seconds, Page(page))
        return code, page.getvalue()

    return run


def test_all_stages_pass(run):
    code, page = run(Stage("good", 30), Stage("good 2", 30))
    assert code == PASSED and page.count("all is well") == 2 and page.splitlines()[-1] == "passed"


def test_a_stage_that_fails_is_named_with_its_last_line_and_the_rest_goes_on(run):
    code, page = run(Stage("bad", 30), Stage("crash", 30), Stage("good", 30))
    assert code == FAILED
    assert "bad: failed: one kernel disagrees" in page and "half of it" in page and "all is well" in page
    assert "crash: ended by signal 6" in page and page.splitlines()[-1] == "failed: bad, crash"


def test_figures_decide_nothing(run):
    code, page = run(Stage("good", 30), Stage("bad", 30, decides=False))
    assert code == PASSED and "one kernel disagrees" in page


def test_without_a_gpu_or_kernels_there_is_nothing_to_check(run):
    code, page = run(Stage("bad", 30, is_condition=True), Stage("good", 30))
    assert code == NOTHING_TO_CHECK and "all is well" not in page


@pytest.mark.slow
def test_a_stage_that_hangs_is_stopped_and_what_it_said_stays(run):
    code, page = run(Stage("slow", 3), Stage("good", 30))
    assert code == FAILED and "begins" in page and "slow: stopped after" in page and "all is well" in page


@pytest.mark.slow
def test_what_there_is_no_time_for_is_said(run):
    code, page = run(Stage("slow", 30, decides=False), Stage("good", 30), seconds=3)
    assert code == PASSED and "no time was left for: good" in page


def test_stages_are_those_that_the_check_names():
    from tests.gpu import stages

    assert [stage.name for stage in check.STAGES] == list(stages.STAGES)
