"""A run in a browser: it opens, renders, goes to cameras, follows the training, and says nothing to the console."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from browser import chromium
from run_fixtures import one_thread, without_tensorboard  # noqa: F401 - pytest finds them here
from tiny_scene import tiny_config, train_session, write_tiny_scene

from nerf_ssim.cli.main import main
from nerf_ssim.errors import ConfigError
from nerf_ssim.viewer.addresses import free_port, is_loopback
from nerf_ssim.viewer.curves import Curves, aligned
from nerf_ssim.viewer.looks import Look, Photograph
from nerf_ssim.viewer.painter import Painter
from nerf_ssim.viewer.watched import WatchedRun

TRAINING = (
    *("expname=run", "n_iters=100000", "save_every=40", "batch_size=64", "s3im_patch_height=8", "s3im_patch_width=8"),
    *(
        "N_voxel_init=1000",
        "N_voxel_final=1000",
        "upsamp_list=[]",
        "update_AlphaMask_list=[]",
        "vis_every=0",
        "N_vis=0",
    ),
    *("render_test=0", "check_poses=0"),
)
WAIT = 240  # seconds; a browser on a busy machine takes long to begin


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A run whose training has paused after 6 updates; its session goes on."""
    root = tmp_path_factory.mktemp("viewer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
        yield train_session(tiny_config(write_tiny_scene(root / "scene"), root, stop_at=6))


@pytest.fixture
def run(session):
    return WatchedRun(session.folder.path)


def wait_until(is_true, seconds: float = WAIT) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_newer_checkpoint_is_opened_and_an_unreadable_one_passed_over(session, run):
    assert run.trained.iteration == 6 and not run.refresh()
    session.iteration = 7
    newer = session.save()
    assert run.refresh() and run.trained.iteration == 7 and not run.refresh()
    (broken := newer.with_name("000008.pt")).write_bytes(b"half")
    run.refresh()
    broken.unlink()
    newer.unlink()
    session.iteration = 6
    assert run.trained.iteration == 7


def test_curves_are_read_once_for_each_change(run):
    curves = run.curves()
    assert len(curves["iteration"]) == len(curves["psnr_train"]) and np.isfinite(curves["psnr_train"]).any()
    assert run.curves() is None
    (updates, train, test), names = aligned(
        {"iteration": np.arange(4.0), "a": np.array([1, np.nan, 3, np.nan]), "b": np.array([np.nan, 1, np.nan, 2])},
        ["a", "b"],
    )
    assert names == ["a", "b"] and updates.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(train, [1, 2, 3, np.nan])
    np.testing.assert_array_equal(test, [np.nan, 1, 1.5, 2])


class Gui:
    """Keeps the y range of each chart."""

    def __init__(self):
        self.ranges = []

    def add_dropdown(self, label, options, initial_value):
        return SimpleNamespace(options=options, value=initial_value, on_update=lambda function: None)

    def add_uplot(self, data, series, scales, aspect):
        self.ranges.append(scales["y"]["range"])
        return SimpleNamespace(series=series)


@pytest.mark.parametrize(
    ("test", "extent"),
    [([np.nan, 20, 30], (9, 31)), ([np.nan] * 3, (9, 31)), ([0, 20, np.inf], (-1.5, 31.5))],
)
def test_a_chart_has_a_finite_extent_where_a_curve_is_not_measured(test, extent):
    gui = Gui()
    train = np.array([10.0, 20.0, 30.0])
    Curves(gui).update({"iteration": np.arange(3.0), "psnr_train": train, "psnr_test": np.array(test, float)})
    assert gui.ranges == [extent]


@pytest.mark.parametrize(("values", "extent"), [([np.nan] * 2, (0, 1)), ([0, 0], (-1, 1)), ([20, 20], (19, 21))])
def test_a_flat_or_empty_chart_has_an_extent(values, extent):
    gui = Gui()
    Curves(gui).update({"iteration": np.arange(2.0), "psnr_test": np.array(values, float)})
    assert gui.ranges == [extent]


def test_the_painter_refines_a_look_and_compares_it_with_its_photograph(run):
    paintings, views = [], run.trained.scene.test
    painter = Painter(run, lambda browser, painting: paintings.append((browser, painting)), lambda newer: None, 100)
    painter.start()
    try:
        photograph = Photograph("test", 0, views.K[0], (views.width, views.height))
        painter.look(3, Look(views.c2w[0], 1.0, 1.25, photograph))
        wait_until(lambda: paintings and paintings[-1][1].is_last)
        sizes = [painting.picture.shape[:2] for _, painting in paintings]
        assert {browser for browser, _ in paintings} == {3} and sizes[-1] == (80, 100) and sizes == sorted(sizes)
        painter.choose(channel="error")
        count = len(paintings)
        wait_until(lambda: len(paintings) > count and paintings[-1][1].is_last)
        assert paintings[-1][1].note == ""
        painter.look(3, Look(views.c2w[0], 1.0, 1.25))
        count = len(paintings)
        wait_until(lambda: len(paintings) > count and paintings[-1][1].is_last)
        assert "choose one" in paintings[-1][1].note
    finally:
        painter.end()
    assert painter.failure is None


def test_an_error_of_the_painter_ends_it_and_is_kept(run):
    painter = Painter(run, lambda browser, painting: 1 / 0, lambda newer: None, 20)
    painter.start()
    painter.look(0, Look(run.trained.scene.test.c2w[0], 1.0, 1.0))
    painter.join(WAIT)
    assert isinstance(painter.failure, ZeroDivisionError)


def test_after_a_signal_the_painter_still_ends_before_the_process_does(run):
    has_shown = threading.Event()

    def show_slowly(browser, painting):
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        time.sleep(0.6)
        has_shown.set()

    painter = Painter(run, show_slowly, lambda newer: None, 20)
    painter.start()
    painter.look(0, Look(run.trained.scene.test.c2w[0], 1.0, 1.0))
    with pytest.raises(KeyboardInterrupt):
        painter.has_ended(WAIT)
    painter.end()
    assert has_shown.is_set()


def test_addresses_are_checked_before_anything_is_loaded(session, capsys):
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org")
    assert free_port("127.0.0.1", 0) > 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        pytest.importorskip("viser", reason="needs viser: pip install nerf_ssim[view]")
        assert main(["view", str(session.folder.path), "--port", str(port)]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and f"--port {port}: Address already in use" in lines[0]
    with pytest.raises(ConfigError, match="no such address"):
        free_port("no host", 8080)


@pytest.mark.parametrize("words, said", [(["none"], "no such run folder"), ([".", "--port", "70000"], "from 0 to")])
def test_what_cannot_be_viewed_is_one_line(words, said, capsys, monkeypatch):
    monkeypatch.setattr("nerf_ssim.viewer.addresses.free_port", lambda host, port: port)
    pytest.importorskip("viser", reason="needs viser: pip install nerf_ssim[view]")
    assert main(["view", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0]


def test_without_viser_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "viser", None)
    assert main(["view", "."]) == 2
    assert "pip install 'nerf_ssim[view]'" in capsys.readouterr().err


@pytest.mark.release
def test_the_page_opens_renders_and_follows_the_training(session, run):
    pytest.importorskip("viser", reason="needs viser: pip install nerf_ssim[view]")
    from nerf_ssim.viewer.page import Page

    with chromium() as browser:
        page = Page(run, "127.0.0.1", port := free_port("127.0.0.1", 0))
        paintings = []
        show = page._show
        page.painter._show = lambda client, painting: (paintings.append(painting), show(client, painting))
        try:
            tab, errors, requests = browser.new_page(viewport={"width": 900, "height": 700}), [], []
            # viser's own messages of other kinds say that it connects.
            tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.on("request", lambda request: requests.append(request.url))
            tab.set_default_timeout(WAIT * 1000)
            tab.goto(f"http://127.0.0.1:{port}", wait_until="commit")
            tab.wait_for_function("document.body.innerText.includes('6 of 14 updates')")
            wait_until(lambda: paintings and paintings[-1].is_last)
            tab.wait_for_timeout(500)
            before = tab.screenshot(timeout=WAIT * 1000)
            look = next(iter(page.painter._easels.values())).look
            assert look.photograph is not None and look.photograph.split == "test", "it starts at a test camera"
            assert torch.equal(look.c2w, run.trained.scene.test.c2w[0])
            session.iteration = 7
            newer = session.save()
            tab.wait_for_function("document.body.innerText.includes('7 of 14 updates')")
            newer.unlink()
            session.iteration = 6
            page.painter.choose(channel="depth")
            count = len(paintings)
            wait_until(lambda: len(paintings) > count and paintings[-1].is_last)
            tab.wait_for_timeout(500)
            assert tab.screenshot(timeout=WAIT * 1000) != before
        finally:
            page.close()
        assert errors == []
        assert all(f"127.0.0.1:{port}" in address or address[:5] in ("data:", "blob:") for address in requests)
    assert page.painter.failure is None


@contextmanager
def command(*words):
    """A command in a process of its own, which gets SIGTERM in the end; what it has printed is not kept."""
    source = "import sys; from nerf_ssim.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", source, *map(str, words)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.release
def test_one_flies_through_a_run_that_trains_and_sees_its_newer_checkpoints(tmp_path):
    pytest.importorskip("viser", reason="needs viser: pip install nerf_ssim[view]")
    write_tiny_scene(tmp_path / "scene")
    # Longer than anybody looks: the test ends it.
    tiny = {**dict(part.split("=") for part in TRAINING), "datadir": tmp_path / "scene", "basedir": tmp_path}
    training = command("train", "--config", "room.txt", *(f"--{name}={value}" for name, value in tiny.items()))
    with chromium() as browser, training:
        wait_until(lambda: list((tmp_path / "run" / "checkpoints").glob("*.pt")))
        with command("view", tmp_path / "run", "--port", "0") as viewer:
            address = re.search(r"http://\S+", viewer.stdout.readline())[0]
            tab = browser.new_page(viewport={"width": 600, "height": 500})
            tab.set_default_timeout(WAIT * 1000)
            tab.goto(address, wait_until="commit")
            tab.wait_for_function("/[0-9]+ of [0-9]+ updates\\s+[0-9]+x/.test(document.body.innerText)")

            def updates():
                return int(re.search(r"(\d+) of \d+ updates", tab.evaluate("document.body.innerText"))[1])

            def scene():
                return tab.screenshot(timeout=WAIT * 1000, clip={"x": 10, "y": 250, "width": 280, "height": 240})

            tab.mouse.click(150, 350)
            for fly in (lambda: tab.keyboard.press("w", delay=600), lambda: tab.mouse.wheel(0, -300)):
                before = scene()
                fly()
                wait_until(lambda before=before: scene() != before)
            first, before = updates(), scene()
            wait_until(lambda: updates() > first)
            wait_until(lambda: scene() != before)
            tab.close()
            viewer.terminate()
            assert viewer.wait(WAIT) == 143
