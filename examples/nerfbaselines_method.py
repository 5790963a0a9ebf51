"""nerf_ssim as a method of nerfbaselines: its data sets, its evaluation, our training with an SSIM schedule.

    export NERFBASELINES_REGISTER=examples/nerfbaselines_spec.py
    nerfbaselines train --method nerf-ssim --backend python --data external://blender/lego --set ssim_remove_at=70

`--set NAME=VALUE` gives any option of `nerf-ssim train`. The photographs are written as a folder in nerfstudio's
layout, which is then read, checked and bounded as any other scene. Nothing of nerfbaselines is imported here, since its
`Method` is a protocol.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import torch

from nerf_ssim.models.config import parse
from nerf_ssim.training.scoring import render_camera
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step

PINHOLE = frozenset({"pinhole"})
OUTPUTS = ("color", "depth", "accumulation")
DEFAULTS = {"config": "fast.txt"}
"""Options of a run where nothing else is asked for."""


class NerfSsimMethod:
    """A run of `nerf-ssim train` behind the protocol `nerfbaselines.Method`.

    Args:
        checkpoint: a folder from `save`, to render or to go on from.
        train_dataset: the photographs to fit: `cameras`, `images` and, for bounds, `points3D_xyz`.
        config_overrides: options of `nerf-ssim train` by name.
    """

    def __init__(
        self,
        *,
        checkpoint: str | None = None,
        train_dataset: dict[str, Any] | None = None,
        config_overrides: dict[str, Any] | None = None,
    ) -> None:
        if checkpoint is None and train_dataset is None:
            raise ValueError("nerf_ssim: give a checkpoint, or a data set to train on")
        self._work = tempfile.TemporaryDirectory(prefix="nerf_ssim_")
        self.folder = Path(self._work.name)
        self.loaded_step: int | None = None
        self.checkpoint = checkpoint
        if checkpoint is None:
            assert train_dataset is not None
            write_scene(self.folder / "scene", train_dataset)
            options = DEFAULTS | (config_overrides or {}) | self._places()
            self.session = Session(parse(words(options)))
        else:
            shutil.copytree(checkpoint, self.folder, dirs_exist_ok=True)
            options = {"config": self.run_folder / "config.txt"} | self._places()
            self.session = Session(parse(words(options, "--resume")))
            self.loaded_step = self.session.iteration

    @property
    def run_folder(self) -> Path:
        """Where the run leaves its checkpoints."""
        return self.folder / "runs" / "method"

    def _places(self) -> dict[str, Any]:
        here = {"datadir": self.folder / "scene", "basedir": self.folder / "runs", "expname": "method"}
        return here | {"dataset_name": "auto", "test_every": 0, "N_vis": 0}

    @classmethod
    def get_method_info(cls) -> dict[str, Any]:
        """What data sets this method takes, and what it renders."""
        return {
            "method_id": "nerf-ssim",
            "required_features": frozenset({"color"}),
            "supported_camera_models": PINHOLE,
            "supported_outputs": OUTPUTS,
            "can_resume_training": True,
        }

    def get_info(self) -> dict[str, Any]:
        """The same, and this run's own figures."""
        config = self.session.config
        return self.get_method_info() | {
            "num_iterations": self.session.last_iteration,
            "loaded_step": self.loaded_step,
            "loaded_checkpoint": self.checkpoint,
            "batch_size": config.model.batch_size,
            "hparams": {"model": config.model.model, "schedule": self.session.schedule.summary()},
        }

    def train_iteration(self, step: int) -> dict[str, float]:
        """One update, in the order of `nerf_ssim.training.loop`; the loss's terms."""
        session = self.session
        session.recipe.before_batch(step, session.batches)
        weight = session.schedule.weight_at(step)
        done = take_step(session.recipe, session.batches, session.s3im, weight, step)
        if done.statistics is not None:
            session.schedule.observe(step, done.statistics)
        session.iteration = step + 1
        session.recipe.after_step(step, session.batches)
        terms = {name: float(term.detach()) for name, term in done.terms.items()}
        return terms | {"loss": sum(terms.values()), "psnr": -10 * float(np.log10(max(terms["mse"], 1e-12)))}

    def render(self, camera: Any, *, options: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Colour `[h, w, 3]` in [0, 1], depth along the ray in scene units and opacity `[h, w]` of one camera."""
        camera = camera.item()
        fx, fy, cx, cy = (float(value) for value in camera.intrinsics)
        width, height = (int(value) for value in camera.image_sizes)
        device = self.session.config.run.device
        K = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], device=device)
        c2w = torch.as_tensor(np.asarray(camera.poses)[:3, :4], dtype=torch.float32, device=device)
        recipe = self.session.recipe
        view = render_camera(lambda rays: recipe.render_test(rays, final=True), c2w, K, height, width)
        images = {"color": view.rgb, "depth": view.depth, "accumulation": view.opacity}
        return {name: image.float().cpu().numpy() for name, image in images.items()}

    def save(self, path: str) -> None:
        """Write a checkpoint and the scene it belongs to into the folder `path`."""
        self.session.open_log().close()  # writes the options and the manifest too
        self.session.save()
        shutil.copytree(self.folder, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock"))

    def get_train_embedding(self, index: int) -> None:
        """There are no embeddings."""
        return None

    def optimize_embedding(self, dataset: Any, *, embedding: Any = None) -> dict[str, Any]:
        """There are no embeddings."""
        raise NotImplementedError("nerf_ssim has no appearance embeddings")


def words(options: dict[str, Any], *flags: str) -> list[str]:
    """Options by name as the words of a command line."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))] + list(flags)


def write_scene(folder: Path, dataset: dict[str, Any]) -> None:
    """The photographs and cameras of a nerfbaselines data set as a folder in nerfstudio's layout."""
    (folder / "images").mkdir(parents=True)
    cameras, frames = dataset["cameras"], []
    for index in range(len(cameras)):
        camera = cameras[index]
        width, height = (int(value) for value in camera.image_sizes)
        name = f"images/{index:05d}.png"
        imageio.imwrite(folder / name, np.asarray(dataset["images"][index])[:height, :width])
        opengl = np.eye(4)
        opengl[:3] = np.asarray(camera.poses)[:3, :4]
        opengl[:, 1:3] *= -1  # OpenCV's y and z point the other way
        lens = dict(zip(("fl_x", "fl_y", "cx", "cy"), map(float, camera.intrinsics), strict=True))
        frames.append({"file_path": name, "transform_matrix": opengl.tolist(), "w": width, "h": height} | lens)
    metadata: dict[str, Any] = {"camera_model": "OPENCV", "frames": frames}
    if dataset.get("points3D_xyz") is not None:
        write_points(folder / "points.ply", np.asarray(dataset["points3D_xyz"], dtype="<f4"))
        metadata["ply_file_path"] = "points.ply"
    (folder / "transforms.json").write_text(json.dumps(metadata))


def write_points(path: Path, points: np.ndarray) -> None:
    """Points `[n, 3]` as a binary PLY file."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    path.write_bytes(f"{header}{properties}end_header\n".encode() + points.tobytes())
