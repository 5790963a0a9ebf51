"""A sweep on a real local Ray cluster that loses a node in the middle, and the parcels that its runs travel in."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from sweep_fixtures import hide_tensorboard, jobs_of, write_pictures

from nerf_ssim.experiments.engines.parcels import newest_checkpoint, pack_run, remove_run, unpack_run
from nerf_ssim.experiments.sweep.definition import sweep_from
from nerf_ssim.experiments.sweep.runs import expand
from nerf_ssim.experiments.sweep.scheduler import carry_out
from nerf_ssim.experiments.sweep.state import read_json
from nerf_ssim.runs.interrupts import GracefulStop

CONTENT = {
    "command": "fit-image",
    "options": {
        "size": 16,
        "hidden": 8,
        "hidden_layers": 1,
        "n_iters": 4000,
        "save_every": 100,
        "luminance_every": 100,
    },
    "axes": {"scene": ["one.png"], "schedule": ["without", "remove_9"], "seed": [1]},
}


def test_a_parcel_has_what_a_run_goes_on_with(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    for name in ("metrics.csv", "checkpoints/000010.pt", "checkpoints/000020.pt", "checkpoints/lasting/000005.pt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    for name in (".lock", ".sweep.lock", ".results.json.7.partial", "tensorboard/events"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("left behind")
    unpack_run(pack_run(source), target)
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert names == {"metrics.csv", "checkpoints/000020.pt", "checkpoints/lasting/000005.pt"}
    assert (target / "metrics.csv").read_text() == "metrics.csv"
    assert newest_checkpoint(target) == newest_checkpoint(source) == "000020.pt"
    (target / ".lock").touch()
    remove_run(target)
    assert newest_checkpoint(target) == "" and [path for path in target.rglob("*") if path.is_file()] == [
        target / ".lock"
    ]
    unpack_run(pack_run(tmp_path / "none"), tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A head without cores, and two nodes of one core each."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/r")  # paths of sockets are limited to some hundred characters
    Path("/tmp/r").mkdir(exist_ok=True)
    hide_tensorboard(tmp_path, monkeypatch)
    from ray.cluster_utils import Cluster

    store = 80 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": store, "include_dashboard": False},
    )
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=store) for _ in range(2)]
    yield cluster, nodes
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("has_scratch", [False, True])
def test_a_sweep_outlives_a_node_and_its_results_are_on_the_head(cluster, tmp_path, monkeypatch, has_scratch):
    from nerf_ssim.experiments.engines.cluster import RayEngine

    (head, nodes) = cluster
    write_pictures(tmp_path, ("one",))
    monkeypatch.chdir(tmp_path)
    runs = expand(sweep_from(CONTENT, default_name="s"), basedir=Path("runs"))
    scratch = tmp_path / "scratch" if has_scratch else None
    engine = RayEngine(head.address, cores=1, scratch=scratch, seconds_between_parcels=1.0)
    jobs, killed, deadline = jobs_of(runs), [], time.monotonic() + 300

    def kill_a_node_in_the_middle():
        assert time.monotonic() < deadline
        logged = [path.read_bytes().count(b"\n") for path in Path("runs").rglob("metrics.csv")]
        if not killed and len(logged) == 2 and min(logged) > 150:
            head.remove_node(nodes[0], allow_graceful=False)
            killed.append(logged)

    try:
        assert engine.slots == 2
        carry_out(jobs, engine, GracefulStop(), retries=3, report=kill_a_node_in_the_middle)
    finally:
        engine.close()
    assert killed, "the runs were over before a node was"
    assert [job.state for job in jobs] == ["done", "done"], [job.note for job in jobs]
    assert sorted(job.starts for job in jobs)[-1] >= 2
    for run in runs:
        assert read_json(run.folder / "results.json")["stopped_at"] == 4000
    # The run of the lost node went on in another process from what it had left.
    continued = [bool(read_json(run.folder / "manifest.json")["resumed"]) for run in runs]
    assert any(continued)
    assert not list(tmp_path.glob(".ray_*")) and os.getcwd() == str(tmp_path)
