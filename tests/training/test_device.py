"""What training asks of the device: where it waits for an answer, and that it mixes no devices."""

from __future__ import annotations

import io
import traceback
from collections import Counter
from pathlib import Path

import pytest
from tiny_scene import tiny_config, write_tiny_scene
from torch.utils._python_dispatch import TorchDispatchMode

import nerf_ssim
from nerf_ssim.ops import backend
from nerf_ssim.rays.batches import AHEAD
from nerf_ssim.runs.interrupts import GracefulStop
from nerf_ssim.runs.progress import Progress
from nerf_ssim.training import journal
from nerf_ssim.training.loop import train
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step
from tests.training.launches import as_on_a_gpu, move_to_meta

PACKAGE = str(Path(nerf_ssim.__file__).parent)
# Operators whose result the CPU reads: on a GPU it waits there until everything before is done.
READS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique"}
# The places where a step may do so. A new place is a slower GPU. (The marchers and the choice of samples wait too,
# inside their operators.)
ALLOWED = {
    ("dvgo/bounded.py", "march"): "how many samples the mask lets through",
    ("rays/batches.py", "_look_ahead"): f"where the walk to the next {AHEAD} batches ends",
    ("rays/permutation.py", "__call__"): "how many positions of that walk fall outside the pixels and walk on",
    # What follows never waits: the tensors are the CPU's.
    ("ops/compositing.py", "check_offsets"): "offsets are checked on the CPU only",
    ("tensorf/recipe.py", "render"): "the coin of the background",
    ("ssim/pairs.py", "refuse_another_range"): "values are looked at on the CPU, on a GPU at the first call of a kind",
}
ONCE_IN_A_WHILE = {place for place in ALLOWED if place[0].startswith("rays/")}
MODELS = ("tensorf", "dvgo", "bounded dvgo")
NO_MILESTONES = {
    "tensorf": {"upsamp_list": [], "update_AlphaMask_list": []},
    "dvgo": {"pg_scale": []},
    "bounded dvgo": {"pg_scale": []},
}

needs_native = pytest.mark.skipif(
    backend.describe()["composite"][0] != "native", reason="the reference reads sizes on the host"
)


class Reads(TorchDispatchMode):
    """Counts what the CPU reads, by file and function of the package."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in READS:
            frames = [frame for frame in traceback.extract_stack() if frame.filename.startswith(PACKAGE)]
            if frames:
                file = Path(frames[-1].filename)
                self.places[f"{file.parent.name}/{file.name}", frames[-1].name] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("device") / "scene")


@needs_native
@pytest.mark.parametrize("model", MODELS)
def test_a_step_waits_for_the_device_only_where_it_is_known_to(model, scene, tmp_path):
    session = Session(tiny_config(scene, tmp_path, model, **NO_MILESTONES[model]))
    steps = []
    for iteration in range(3):
        with Reads() as reads:
            take_step(session.recipe, session.batches, session.s3im, 1.0, iteration)
        steps.append(reads.places)
    assert set().union(*steps) <= set(ALLOWED)
    assert steps[0]["ops/compositing.py", "check_offsets"] >= 3, "the count itself does not work"
    later = set(steps[1]) | set(steps[2])
    assert not later & ONCE_IN_A_WHILE, "pixels are found ahead"


@needs_native
@pytest.mark.parametrize("model", ["tensorf", "dvgo"])
def test_the_loop_itself_waits_only_when_it_reports_and_saves(model, scene, tmp_path, monkeypatch):
    options = {"progress_refresh_rate": 1000, "luminance_every": 2, "ssim_remove_at": 3, "log_every": 1, "n_iters": 6}
    session = Session(tiny_config(scene, tmp_path, model, **NO_MILESTONES[model], **options))
    bar, reads = Progress(session.last_iteration, session.iteration, file=io.StringIO()), Reads()
    beside_steps: list[set[str]] = []  # files that read something, until the end of each iteration
    monkeypatch.setattr(
        bar, "update", lambda **_: beside_steps.append({place[0] for place in set(reads.places) - set(ALLOWED)})
    )
    read = journal.read_together

    def read_and_noted(rows):
        reads.places["training/journal.py", "flush"] += 1  # one copy, which no operator shows on a CPU
        return read(rows)

    monkeypatch.setattr(journal, "read_together", read_and_noted)
    with GracefulStop() as stop, session.open_log() as log, bar as progress, reads:
        train(session, log, progress, stop)
    assert beside_steps == [set()] * 5 + [{"training/journal.py"}]


@needs_native
@pytest.mark.parametrize("model", ["tensorf", "dvgo"])
def test_whole_steps_run_without_data_on_one_device(model, scene, tmp_path):
    """Batch, render, all losses, backward, optimiser; twice, the second time with the moments of the first."""
    session = Session(tiny_config(scene, tmp_path, model, **NO_MILESTONES[model]))
    with as_on_a_gpu():
        move_to_meta(session)
        parameters = list(session.recipe.field.parameters())
        for iteration in range(2):
            step = take_step(session.recipe, session.batches, session.s3im, 1.0, iteration)
    assert {"mse", "ssim"} < set(step.terms)
    assert {term.device.type for term in step.terms.values()} == {"meta"}
    states = [session.recipe.optimizer.state[parameter] for parameter in parameters]
    assert [state["step"] for state in states] == [2] * len(parameters), "a parameter has no gradient"
    assert {state[name].device.type for state in states for name in ("exp_avg", "exp_avg_sq")} == {"meta"}
