"""Signals: the first asks, the second quits, and everything is put back afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from nerf_ssim.runs.interrupts import NOTICE, GracefulStop, ended_by_signals, exit_code_of

ALL = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)]


@pytest.mark.parametrize(("number", "code"), ALL)
def test_the_first_signal_is_a_request_with_one_line(number, code, capfd):
    before = signal.getsignal(number)
    with GracefulStop() as stop:
        assert stop.requested is None
        assert stop.exit_code == 0
        os.kill(os.getpid(), number)
        assert stop.requested == number
        assert stop.exit_code == code
    assert capfd.readouterr().err.split("\n") == ["", NOTICE, ""]
    assert signal.getsignal(number) is before


def test_handlers_come_back_after_an_exception_too():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(RuntimeError), GracefulStop():
        assert signal.getsignal(signal.SIGINT) is not before[0]
        raise RuntimeError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_after_the_block_a_signal_does_what_it_did_before():
    with GracefulStop() as stop:
        pass
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.requested is None


@pytest.mark.parametrize(("number", "code"), ALL)
def test_outside_training_a_signal_ends_the_work_as_ctrl_c_does(number, code):
    before, cleaned = signal.getsignal(number), []
    with pytest.raises(KeyboardInterrupt) as caught, ended_by_signals():
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned.append(True)
    assert exit_code_of(caught.value) == code and cleaned
    assert signal.getsignal(number) is before


# The module is loaded by its path: importing the package around it would load torch, seconds for nothing.
CHILD = """
    import importlib.util, os, signal, sys
    spec = importlib.util.spec_from_file_location("interrupts", sys.argv[1])
    interrupts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(interrupts)
    with interrupts.GracefulStop() as stop:
        try:
            for name in sys.argv[2:]:
                os.kill(os.getpid(), getattr(signal, name))
        finally:
            print("still here", stop.requested, flush=True)
    sys.exit(stop.exit_code)
"""


def run_child(*signals: str, before: str = "") -> subprocess.CompletedProcess:
    path = sys.modules[GracefulStop.__module__].__file__
    code = before + textwrap.dedent(CHILD)
    return subprocess.run(
        [sys.executable, "-c", code, path, *signals], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_program_that_stopped_on_request_exits_with_the_signals_code(name, code):
    done = run_child(name)
    assert done.returncode == code
    assert "still here" in done.stdout
    assert done.stderr.count(NOTICE) == 1


@pytest.mark.parametrize(
    ("signals", "code"), [(("SIGINT", "SIGINT"), 130), (("SIGTERM", "SIGTERM"), 143), (("SIGTERM", "SIGINT"), 130)]
)
def test_the_second_signal_quits_at_once(signals, code):
    done = run_child(*signals)
    assert done.returncode == code
    assert "still here" not in done.stdout


def test_a_signal_the_parent_had_ignored_stays_ignored():
    done = run_child("SIGINT", before="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n")
    assert done.returncode == 0
    assert "still here None" in done.stdout


def test_outside_the_main_thread_it_does_nothing():
    seen = []
    before = signal.getsignal(signal.SIGINT)

    def work():
        with GracefulStop() as stop:
            seen.append((signal.getsignal(signal.SIGINT) is before, stop.exit_code))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, 0)]
