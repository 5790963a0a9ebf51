"""Distances of matched features from their epipolar lines, for right cameras and for made mistakes, by scene."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from nerf_ssim.datasets.corrections import Correction, image_sources
from nerf_ssim.datasets.listed_views import ListedViews
from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.posecheck.alternatives import Cameras, tried
from nerf_ssim.datasets.posecheck.epipolar import stacked
from nerf_ssim.datasets.posecheck.matching import find_pairs

OTHER_AXES = {"opencv": "opengl", "opengl": "opencv"}
SECONDS, PAIRS = 300.0, 48  # the pairs that data check looks at, and time for all of them


def mistakes(axes: str) -> Mapping[str, Correction]:
    """The rows of the table: what is done to right cameras whose matrices have `axes`.

    Each mistake is the correction that would undo its opposite.
    """
    return {
        "right": Correction(),
        "other axes": Correction(pose_convention=OTHER_AXES[axes]),
        "inverse": Correction(pose_convention=f"{axes}_w2c"),
        "rotations transposed": Correction(pose_convention=f"{axes}_transposed"),
        "images shifted by one": Correction(image_shift=1),
        "images sorted as text": Correction(image_order="text"),
        "half the focal length": Correction(focal_scale=0.5),
        "twice the focal length": Correction(focal_scale=2.0),
        "principal point halved": Correction(principal_scale=0.5),
        "principal point doubled": Correction(principal_scale=2.0),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The scenes."""
    parser.add_argument("scenes", nargs="*", metavar="DIR", help="folders of right scenes (default: bundled:room)")


def run(args: argparse.Namespace, options: Sequence[str] = ()) -> list[dict[str, object]]:
    """A record a scene: the median pair's distance in pixels, by mistake, null where that changes nothing.

    Raises:
        SceneError: a folder that holds no scene.
    """
    records: list[dict[str, object]] = []
    for datadir in args.scenes or ["bundled:room"]:
        scene = load_scene(DataConfig(datadir=datadir, follow_links=True))
        views = ListedViews(scene)
        matches = stacked(find_pairs(views, SECONDS, PAIRS))
        cameras = Cameras(views.c2w, scene.pose_axes, views.names, 1.0)
        errors = {
            name: _rounded(tried(matches, cameras, wrong).pairs.error) if _has_effect(wrong, views.names) else None
            for name, wrong in mistakes(scene.pose_axes).items()
        }
        record: dict[str, object] = {"benchmark": "poses", "scene": scene.name, "pairs": len(matches.pairs)}
        records.append({**record, "points": matches.count, "pixels": errors})
    return records


def _has_effect(wrong: Correction, names: Sequence[str]) -> bool:
    """False where sorting as text leaves the order as it is, because all numbers have the same digits."""
    if wrong.image_order == Correction.image_order:
        return True
    return list(image_sources(names, wrong.image_order, 0)) != list(range(len(names)))


def _rounded(pixels: float) -> float:
    return float(np.format_float_positional(pixels, 2, fractional=False))
