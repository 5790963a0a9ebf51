"""A full-size Replica sequence must fit an ordinary machine: 300 images of 1200x680 load and train within 2 GiB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

FRAMES, DISTINCT, WIDTH, HEIGHT = 300, 10, 1200, 680
LIMIT_MIB = 2048

TRAIN_AND_REPORT = """
import resource, sys
from nerf_ssim.cli.main import main
code = main(sys.argv[1:])
print("peak MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sys.exit(code)
"""


def write_long_sequence(folder: Path) -> None:
    rng = np.random.default_rng(0)
    frames = []
    for index in range(FRAMES):
        name = f"{index:06d}_rgb.png"
        if index < DISTINCT:
            coarse = rng.integers(0, 256, (17, 30, 3), dtype=np.uint8)
            image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        else:
            os.link(folder / f"{index % DISTINCT:06d}_rgb.png", folder / name)
        angle = 2 * np.pi * index / FRAMES
        pose = np.eye(4)
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        K = np.eye(4)
        K[0, 0] = K[1, 1] = 600.0
        K[:2, 2] = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
        frames.append({"rgb_path": name, "camtoworld": pose.tolist(), "intrinsics": K.tolist()})
    box = {"aabb": [[-1, -1, -1], [1, 1, 1]], "near": 0.05, "far": 2.5}
    metadata = {"width": WIDTH, "height": HEIGHT, "scene_box": box, "frames": frames}
    (folder / "meta_data.json").write_text(json.dumps(metadata))


@pytest.mark.slow
def test_three_hundred_full_size_images_load_and_train_within_two_gib(tmp_path: Path) -> None:
    scene = tmp_path / "long"
    scene.mkdir()
    write_long_sequence(scene)
    options = ["--config", "replica_small.txt", "--datadir", str(scene), "--downsample_train", "1"]
    options += ["--basedir", str(tmp_path), "--expname", "long", "--stop_at", "3", "--downsample_test", "16"]
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_REPORT, "train", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.rsplit("peak MiB", 1)[1].split()[0])
    assert peak < LIMIT_MIB, f"{peak} MiB"
