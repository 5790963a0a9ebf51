"""Progress: readable in a log file, out of the way on a terminal."""

from __future__ import annotations

import io

from nerf_ssim.runs.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_into_a_pipe_it_prints_a_line_each_interval_with_recent_rate_and_time_left():
    now = [100.0]
    output = io.StringIO()
    with Progress(1000, 400, "room", seconds_between_lines=30, file=output, clock=lambda: now[0]) as progress:
        for _ in range(20):
            now[0] += 2
            progress.update(10, psnr_train=20.0, losses={"mse": 0.01})
        progress.update(0, psnr_test=25.0)
        now[0] += 40
        progress.update(10, note="ssim removed at 70")
    lines = output.getvalue().splitlines()
    assert lines[0] == "room: 550/1000 (55.0%), 5.00 it/s, 01:30 left, train 20.00 dB, mse 0.01"
    # 60 iterations in the 50 s since the first line: the initial 400 don't count, nor does the faster beginning
    assert lines[1].startswith("room: 610/1000 (61.0%), 1.20 it/s, 05:25 left, train 20.00 dB, test 25.00 dB")
    assert lines[1].endswith("ssim removed at 70")
    assert len(lines) == 2


def test_into_a_pipe_the_end_is_always_told_once():
    output = io.StringIO()
    progress = Progress(3, file=output, clock=lambda: 0.0)
    progress.update(3)
    progress.close()
    progress.close()
    assert output.getvalue() == "3/3 (100.0%), rate ?\n"


def test_slow_iterations_are_told_in_seconds():
    now = [0.0]
    output = io.StringIO()
    progress = Progress(10, file=output, clock=lambda: now[0])
    now[0] = 60
    progress.update(4)
    assert output.getvalue() == "4/10 (40.0%), 15.00 s/it, 01:30 left\n"


def test_on_a_terminal_it_is_a_bar_that_starts_where_the_run_resumed():
    output = Terminal()
    with Progress(1000, 400, "room", file=output) as progress:
        assert "400/1000" in output.getvalue()
        progress.print("upsampled to 128 x 128 x 128")
        progress.update(600, psnr_train=20.0, psnr_test=25.0)
        progress.print("done")
    text = output.getvalue()
    assert "1000/1000" in text
    assert "train 20.00 dB, test 25.00 dB" in text
    # The line stands alone: the bar was cleared before it and drawn again below.
    assert "\rupsampled to 128 x 128 x 128\n" in text
