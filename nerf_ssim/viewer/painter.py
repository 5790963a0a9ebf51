"""Renders what the browsers look at, in one thread: a quick small picture first, larger ones while nothing moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nerf_ssim.errors import UserError
from nerf_ssim.models.parts.rendering import Render
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.training.trained import render_camera
from nerf_ssim.viewer.looks import Look, picture_of
from nerf_ssim.viewer.pace import Pace
from nerf_ssim.viewer.watched import WatchedRun

__all__ = ["Painter", "Painting"]

NEWS_EVERY = 2.0  # seconds between looks into the run's folder


class _Superseded(Exception):
    """A larger picture is given up because a camera moved."""


@dataclass(frozen=True)
class Painting:
    """A picture for a browser, uint8 `[height, width, 3]`; `note` says what people should know of it, if anything."""

    picture: NDArray[np.uint8]
    seconds: float
    is_last: bool
    note: str = ""


@dataclass
class _Easel:
    """What one browser waits for."""

    look: Look
    sizes: list[tuple[int, int]] = field(default_factory=list)
    stage: int = 0  # pictures of this look that are done


class Painter(threading.Thread):
    """The thread.

    Args:
        run: what is rendered.
        show: takes each picture and the browser that it is for.
        news: called when the run's folder was looked into; its argument says whether there is a newer field.
    Attributes:
        failure: what ended the thread, if it was an error.
    """

    def __init__(
        self, run: WatchedRun, show: Callable[[int, Painting], None], news: Callable[[bool], None], longest: int
    ) -> None:
        super().__init__(name="painter", daemon=True)
        self.failure: BaseException | None = None
        self._watched, self._show, self._news = run, show, news
        self._channel, self._longest = "rgb", longest
        self._pace = Pace()
        self._easels: dict[int, _Easel] = {}
        self._changed = threading.Condition()
        self._is_ended = False
        self._has_ended = threading.Event()

    def look(self, browser: int, look: Look) -> None:
        """Paint this for the browser from now on."""
        with self._changed:
            self._easels[browser] = _Easel(look)
            self._changed.notify()

    def forget(self, browser: int) -> None:
        """The browser is gone."""
        with self._changed:
            self._easels.pop(browser, None)

    def choose(self, *, channel: str | None = None, longest: int | None = None) -> None:
        """Paint another channel, or up to another size (pixels of the longer side), for every browser."""
        with self._changed:
            self._channel, self._longest = channel or self._channel, longest or self._longest
            self._begin_again()

    def end(self) -> None:
        """Stop; returns when the thread has."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()
        self._has_ended.wait()
        self.join()

    def has_ended(self, patience: float) -> bool:
        """Whether the thread has ended, or does within `patience` seconds.

        A signal may interrupt this. Where one interrupts `join`, Python 3.11 takes a running thread for an ended one,
        and the process would abort when it exits below a thread that renders.
        """
        return self._has_ended.wait(patience)

    def run(self) -> None:
        """Paints until `end`."""
        try:
            look_at = time.monotonic() + NEWS_EVERY
            while not self._is_ended:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_ended or self._next() is not None, NEWS_EVERY)
                    chosen = self._next()
                if time.monotonic() >= look_at:
                    self._look_for_news()
                    look_at = time.monotonic() + NEWS_EVERY
                elif chosen is not None and not self._is_ended:
                    self._paint(*chosen)
        except BaseException as error:  # the thread that waits raises it again
            self.failure = error
        finally:
            self._has_ended.set()

    def _look_for_news(self) -> None:
        is_newer = self._watched.refresh()
        if is_newer:
            with self._changed:
                self._begin_again()
        self._news(is_newer)

    def _begin_again(self) -> None:
        for browser, easel in self._easels.items():
            self._easels[browser] = _Easel(easel.look)
        self._changed.notify()

    def _next(self) -> tuple[int, _Easel] | None:
        """The browser that has seen least of its look, if any has not seen all."""
        waiting = [
            (browser, easel)
            for browser, easel in self._easels.items()
            if easel.stage == 0 or easel.stage < len(easel.sizes)
        ]
        return min(waiting, key=lambda pair: pair[1].stage, default=None)

    def _paint(self, browser: int, easel: _Easel) -> None:
        look, channel = easel.look, self._channel
        if easel.stage == 0:
            easel.sizes = self._pace.sizes(look.aspect, self._longest)
        size = easel.sizes[easel.stage]
        started = time.perf_counter()
        try:
            photograph, note = self._photograph(look, channel)
            c2w = look.c2w.to(self._watched.trained.scene.aabb)
            view = render_camera(self._render_for(browser, easel), c2w, look.lens(size).to(c2w), size[1], size[0])
        except _Superseded:
            return
        seconds = time.perf_counter() - started
        self._pace.observe(size[0] * size[1], seconds)
        easel.stage += 1
        if self._easels.get(browser) is easel or easel.stage == 1:  # while the camera moves, a late picture is better
            picture = picture_of(view, channel, self._watched.trained.depth_range, photograph)
            self._show(browser, Painting(picture, seconds, easel.stage == len(easel.sizes), note))

    def _render_for(self, browser: int, easel: _Easel) -> Callable[[Rays], Render]:
        """What renders rays, and gives up a picture that refines an older one when a camera moves."""
        render_rays, is_refining = self._watched.trained.render_rays, easel.stage > 0

        def render(rays: Rays) -> Render:
            is_late = self._easels.get(browser) is not easel or any(e.stage == 0 for e in list(self._easels.values()))
            if self._is_ended or (is_refining and is_late):
                raise _Superseded
            return render_rays(rays)

        return render

    def _photograph(self, look: Look, channel: str) -> tuple[NDArray[np.uint8] | None, str]:
        """The photograph to compare with, and why there is none."""
        if channel != "error":
            return None, ""
        if look.photograph is None:
            return None, "error is shown at the data set's cameras: choose one, and do not move away"
        try:
            return self._watched.photograph(look.photograph.split, look.photograph.index), ""
        except UserError as error:
            return None, f"no photograph to compare with: {error}"
