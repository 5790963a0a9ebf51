"""The page in the browser: what viser shows beside the pictures, and how it answers."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import viser
import viser.transforms
from numpy.typing import NDArray
from torch import Tensor

from nerf_ssim.datasets.scene import Views
from nerf_ssim.errors import ConfigError
from nerf_ssim.evaluation.camera_paths import mean_up
from nerf_ssim.viewer.curves import Curves
from nerf_ssim.viewer.looks import CHANNELS, Look, Photograph
from nerf_ssim.viewer.painter import Painter, Painting
from nerf_ssim.viewer.watched import WatchedRun

__all__ = ["Page"]

LONGEST, SHORTEST_LONGEST, LONGEST_LONGEST = 768, 128, 2048  # of a finished picture, pixels
MOST_FRUSTA = 200
DIAGONAL = 12.0  # of a scene in the page's units: its keys move by 2 of them a second
FRUSTUM_SIZE, FRUSTUM_LINES = 0.02, 1.5  # of the scene's diagonal, and pixels
SAME_PLACE, SAME_TURN = 1e-3, 5e-3  # of the diagonal, and radians: a camera that has not moved


class _Server(viser.ViserServer):
    """A server whose pages cannot ask for a tunnel to the internet, as viser's could."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


class Page:
    """Serves a run until `close`.

    Args:
        run: what is looked at.
        host, port: where; the port must be free.
    Raises:
        ConfigError: the port was taken in the meantime.
    """

    def __init__(self, run: WatchedRun, host: str, port: int) -> None:
        self.run = run
        scene = run.trained.scene
        self._diagonal = float((scene.aabb[1] - scene.aabb[0]).norm())
        self._unit = self._diagonal / DIAGONAL  # scene units that one of the page's is
        self._stands_at: dict[int, tuple[Photograph, Tensor]] = {}
        self.painter = Painter(run, self._show, self._on_news, LONGEST)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a table; our own line says the same
            self._server = _Server(host=host, port=port, label=run.folder.name, verbose=False)
        if self._server.get_port() != port:  # it takes the next free one without a word
            self._server.stop()
            raise ConfigError(f"--port {port}: is in use; give another --port, or 0 for a free one")
        self._server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
        cameras = scene.train if len(scene.train) else scene.test
        up = mean_up(cameras.c2w.cpu().double()) if len(cameras) else torch.tensor([0.0, 0.0, 1.0])
        self._server.scene.set_up_direction(tuple(up.tolist()))
        self._add_controls()
        self._add_frusta()
        self._server.on_client_connect(self._on_connect)
        self._server.on_client_disconnect(self._on_disconnect)
        self.painter.start()

    def close(self) -> None:
        """End the thread that renders, and the server."""
        self.painter.end()
        with contextlib.redirect_stdout(io.StringIO()):
            self._server.stop()

    def _add_controls(self) -> None:
        gui, scene = self._server.gui, self.run.trained.scene
        self._state = gui.add_markdown("")
        self._note = gui.add_markdown("", visible=False)
        channel = gui.add_dropdown("show", CHANNELS, initial_value=CHANNELS[0])
        longest = gui.add_slider(
            "longest side", SHORTEST_LONGEST, LONGEST_LONGEST, 64, LONGEST, hint="pixels of the picture at rest"
        )
        channel.on_update(lambda event: self.painter.choose(channel=channel.value))
        longest.on_update(lambda event: self.painter.choose(longest=int(longest.value)))
        for split, views in (("test", scene.test), ("train", scene.train)):
            if len(views) == 0:
                continue
            number = gui.add_slider(f"{split} camera", 0, max(len(views) - 1, 1), 1, 0, hint="go there")
            number.on_update(self._going_to(split, number))
        self._are_shown = gui.add_checkbox("draw the cameras", initial_value=False)
        self._are_shown.on_update(lambda event: self._show_frusta(self._are_shown.value))
        self._curves = Curves(gui)
        self._curves.update(self.run.curves())
        self._say_state()

    def _going_to(self, split: str, number: Any) -> Callable[[Any], None]:
        """What a slider does: its client goes to the camera of the number that it shows."""
        return lambda event: self._go(event.client, split, int(number.value))

    def _gone_to(self, split: str, index: int, event: Any) -> None:
        self._go(event.client, split, index)

    def _add_frusta(self) -> None:
        self._frusta: list[Any] = []
        for split, color in (("train", (120, 160, 220)), ("test", (230, 170, 60))):
            views: Views = getattr(self.run.trained.scene, split)
            count = min(len(views), MOST_FRUSTA)
            for index in torch.linspace(0, max(len(views) - 1, 0), count).round().long().tolist():
                height, width = views.size_of(index)
                frustum = self._server.scene.add_camera_frustum(
                    f"/cameras/{split}/{index}",
                    fov=2 * math.atan(height / 2 / float(views.K[index, 1, 1])),
                    aspect=width / height,
                    scale=FRUSTUM_SIZE * DIAGONAL,
                    thickness=FRUSTUM_LINES,
                    thickness_units="screen",
                    color=color,
                    wxyz=_quaternion(views.c2w[index]),
                    position=(views.c2w[index, :, 3].cpu().double() / self._unit).numpy(),
                    visible=False,
                )
                frustum.on_click(partial(self._gone_to, split, index))
                self._frusta.append(frustum)

    def _show_frusta(self, are_shown: bool) -> None:
        for frustum in self._frusta:
            frustum.visible = are_shown

    def _on_connect(self, client: viser.ClientHandle) -> None:
        client.camera.on_update(lambda camera: self._on_move(client))
        for split in ("test", "train"):
            if len(getattr(self.run.trained.scene, split)):
                return self._go(client, split, 0)
        aabb = self.run.trained.scene.aabb.cpu().double()
        beside = aabb.mean(0) + (aabb[1] - aabb[0]) * torch.tensor([0.9, -0.9, 0.6])
        client.camera.position = (beside / self._unit).numpy()
        client.camera.look_at = (aabb.mean(0) / self._unit).numpy()

    def _on_disconnect(self, client: viser.ClientHandle) -> None:
        self._stands_at.pop(client.client_id, None)
        self.painter.forget(client.client_id)

    def _go(self, client: viser.ClientHandle | None, split: str, index: int) -> None:
        """Takes a browser to a camera of the data set."""
        views: Views = getattr(self.run.trained.scene, split)
        if client is None or index >= len(views):
            return
        height, width = views.size_of(index)
        photograph = Photograph(split, index, views.K[index].cpu(), (width, height))
        c2w = views.c2w[index].cpu()
        self._stands_at[client.client_id] = photograph, c2w
        aspect = client.camera.aspect
        lens = Look(c2w, 0.0, aspect, photograph).lens((1000, max(1, round(1000 / aspect))))
        with client.atomic():
            client.camera.position = (c2w[:, 3].double() / self._unit).numpy()
            client.camera.wxyz = _quaternion(c2w)
            client.camera.look_at = (c2w[:, 3].double() / self._unit + c2w[:, 2] * 0.1 * DIAGONAL).numpy()
            client.camera.fov = 2 * math.atan(1000 / aspect / 2 / float(lens[1, 1]))
        self._on_move(client)

    def _on_move(self, client: viser.ClientHandle) -> None:
        camera = client.camera
        rotation = viser.transforms.SO3(camera.wxyz).as_matrix()
        c2w = torch.from_numpy(np.concatenate([rotation, camera.position[:, None] * self._unit], axis=1)).float()
        photograph = None
        if client.client_id in self._stands_at:
            photograph, place = self._stands_at[client.client_id]
            if self._is_there(c2w, place):
                c2w = place
            else:
                photograph = None
        self.painter.look(client.client_id, Look(c2w, camera.fov, camera.aspect, photograph))

    def _is_there(self, c2w: Tensor, place: Tensor) -> bool:
        turn = (c2w[:, :3] - place[:, :3]).norm() / math.sqrt(2)  # of small turns, the angle
        return bool((c2w[:, 3] - place[:, 3]).norm() <= SAME_PLACE * self._diagonal and turn <= SAME_TURN)

    def _show(self, browser: int, painting: Painting) -> None:
        client = self._server.get_clients().get(browser)
        if client is None:
            return
        client.scene.set_background_image(painting.picture, format="jpeg", jpeg_quality=90 if painting.is_last else 75)
        self._say_state(painting)

    def _on_news(self, is_newer: bool) -> None:
        self._curves.update(self.run.curves())
        if is_newer:
            self._say_state()

    def _say_state(self, painting: Painting | None = None) -> None:
        trained = self.run.trained
        done = f"**{trained.scene.name}**, {trained.config.model.model}: {trained.iteration} of "
        lines = [f"{done}{trained.config.run.n_iters} updates"]
        if painting is not None:
            height, width = painting.picture.shape[:2]
            lines.append(f"{width}x{height} in {painting.seconds:.2f} s")
            self._note.content, self._note.visible = painting.note, bool(painting.note)
        self._state.content = "  \n".join(lines)


def _quaternion(c2w: Tensor) -> NDArray[np.float64]:
    """The rotation of `c2w [3, 4]` as w, x, y, z."""
    return np.asarray(viser.transforms.SO3.from_matrix(c2w[:, :3].cpu().double().numpy()).wxyz, np.float64)
