"""A checkpoint with unsound contents is refused in one line or continued, never a traceback nor gigabytes of memory."""

from __future__ import annotations

import resource
import shutil
import sys
import traceback
import zipfile
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from damaged_checkpoints import damaged
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from properties import FACTOR, examples
from run_fixtures import one_thread  # noqa: F401 - pytest finds it here
from tiny_scene import tiny_config, train_session, write_tiny_scene

from nerf_ssim.cli.main import main
from nerf_ssim.images.fits import run_fit
from nerf_ssim.images.options import ImageConfig
from nerf_ssim.runs.interrupts import GracefulStop

MOST_MEMORY = 1 << 20  # KiB


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("robust")
    write_tiny_scene(folder / "scene")
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    imageio.imwrite(folder / "picture.png", pixels)
    return folder


def stopped_run(kind: str, root: Path) -> list[str]:
    """Trains a run of this kind half its way; returns the command that continues it."""
    place = ["--basedir", str(root), "--resume", "--expname", kind.replace(" ", "_")]
    if kind == "siren":
        options = {"size": (16,), "hidden": 8, "hidden_layers": 2, "n_iters": 9, "ssim_remove_at": 3, "permute": True}
        where = {"image": str(root / "picture.png"), "basedir": str(root), "expname": kind}
        run_fit(ImageConfig().replace(**where, **options, stop_at=5), GracefulStop())
        own = [f"--{name}={value if name != 'size' else 16}" for name, value in options.items()]
        return ["fit-image", *place, "--image", str(root / "picture.png"), *own]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
        config = tiny_config(root / "scene", root, kind, expname=kind.replace(" ", "_"))
        train_session(config.replace(stop_at=8))
    config.write(root / f"{config.run.expname}.txt")
    return ["train", "--config", str(root / f"{config.run.expname}.txt"), *place, "--render_test", "0"]


@pytest.fixture(scope="module", params=["tensorf", "dvgo", "bounded dvgo", "siren"])
def stopped(request, root):
    """A stopped run's kind, its checkpoint's path and contents, and the command that continues it."""
    command = stopped_run(request.param, root)
    name = request.param.replace(" ", "_")
    (path,) = (root / name / "checkpoints").glob("*.pt")
    return request.param, path, torch.load(path, weights_only=True), command


def run_command(argv: list[str], capsys: pytest.CaptureFixture) -> tuple[int, list[str]]:
    """The exit code and the lines on standard error that are no progress; 99 for an exception that came through."""
    capsys.readouterr()
    try:
        code = main(argv)
    except Exception:
        return 99, traceback.format_exc().splitlines()[-8:]
    return code, [line for line in capsys.readouterr().err.splitlines() if line.startswith("nerf-ssim: ")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")
@pytest.mark.parametrize("count", [15, pytest.param(60, marks=pytest.mark.release)])
def test_a_damaged_checkpoint_is_refused_in_one_line_or_continued(stopped, count, tmp_path, capsys):
    kind, path, sound, command = stopped
    run, keep = path.parents[1], tmp_path / "keep"
    shutil.copytree(run, keep)
    refused, faults = [], []
    # The process may have held more in an earlier test; its peak never falls.
    most = max(MOST_MEMORY, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    @settings(examples(count), phases=(Phase.generate,))
    @given(st.data())
    def check(data) -> None:
        damage = data.draw(damaged(sound))
        what = damage.what
        shutil.rmtree(run)
        shutil.copytree(keep, run)
        torch.save(damage.record, path)
        commands = [command] if kind == "siren" else [["evaluate", str(run)], command]
        for argv in commands:
            code, lines = run_command(argv, capsys)
            if code not in (0, 2) or len(lines) != (code == 2):
                faults.append((what, argv[0], code, *lines))
            refused.append(code == 2)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if peak > most:
            faults.append((what, f"{peak} KiB"))

    check()
    assert faults == []
    assert sum(refused) > count * FACTOR / 2, "damage is hardly ever found"
    shutil.rmtree(run)
    shutil.copytree(keep, run)
    assert run_command(command, capsys) == (0, []), "the sound run goes on"
    shutil.rmtree(run)
    shutil.copytree(keep, run)


KEYS = {
    "tensorf": {
        "recipe.field.aabb": lambda o: o["recipe"]["field"].update(aabb=torch.full((2, 3), float("nan"))),
        "recipe.field.weights.basis.weight": lambda o: o["recipe"]["field"]["weights"].update(
            {"basis.weight": torch.zeros(3)}
        ),
        "recipe.field.resolution": lambda o: o["recipe"]["field"].update(resolution=[0] * 3),
        "recipe.optimizer.param_groups": lambda o: o["recipe"].update(optimizer={}),
        "recipe.n_samples": lambda o: o["recipe"].update(n_samples=10**9),
        "seconds": lambda o: o.update(seconds="long"),
        "config": lambda o: o.update(config=None),
        "further[": lambda o: o.update(further=[torch.zeros(1).expand(2**28)] * 8),
    },
    "siren": {
        "network.layers.0.weight": lambda o: o["network"].update({"layers.0.weight": torch.zeros(1)}),
        "permutation": lambda o: o.update(permutation=[1, 2]),
        "scores.cost": lambda o: o["scores"].update(cost=3),
    },
}


@pytest.mark.slow
def test_the_line_names_the_key(stopped, capsys):
    kind, path, _, command = stopped
    keep = path.read_bytes()
    for key, change in KEYS.get(kind, {}).items():
        record = torch.load(path, weights_only=True)
        change(record)
        torch.save(record, path)
        code, (line,) = run_command(command, capsys)
        assert code == 2 and f"{path}: {key}" in line, line
        path.write_bytes(keep)


@pytest.mark.slow
def test_its_advice_can_be_followed(stopped, capsys, tmp_path):
    """A run whose newest checkpoint is unsound goes on, once that is removed, from the one before, or anew."""
    kind, path, sound, command = stopped
    run = path.parents[1]
    shutil.copytree(run, tmp_path / "keep")
    (run / "checkpoints" / "000009.pt").write_bytes(path.read_bytes())
    torch.save(sound | {"seconds": float("nan"), "iteration": 9}, run / "checkpoints" / "000009.pt")
    code, (line,) = run_command(command, capsys)
    assert code == 2 and "remove it" in line and "000009.pt: seconds" in line
    (run / "checkpoints" / "000009.pt").unlink()
    assert run_command(command, capsys) == (0, [])
    shutil.rmtree(run)
    shutil.copytree(tmp_path / "keep", run)


@pytest.mark.slow
def test_an_archive_that_is_larger_inside_than_outside_is_refused(stopped, capsys, tmp_path):
    _, path, _, command = stopped
    keep = path.read_bytes()
    with zipfile.ZipFile(path) as whole:
        entries = {entry.filename: whole.read(entry) for entry in whole.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    code, (line,) = run_command(command, capsys)
    path.write_bytes(keep)
    assert code == 2 and "compressed" in line


def test_numbers_that_follow_from_box_and_resolution_are_compared_with_these(stopped, capsys):
    kind, path, sound, command = stopped
    if kind != "tensorf":
        pytest.skip("DVGO and SIREN save no such numbers")
    keep = path.read_bytes()
    for key, value in {"step_size": 0.0, "full_samples_per_ray": 10**12, "far": -1.0}.items():
        field = {**sound["recipe"]["field"], "near": 0.0, key: value}
        torch.save({**sound, "recipe": {**sound["recipe"], "field": field}}, path)
        code, (line,) = run_command(command, capsys)
        assert code == 2 and f"recipe.field.{key} is " in line and "out of range" in line
    path.write_bytes(keep)
