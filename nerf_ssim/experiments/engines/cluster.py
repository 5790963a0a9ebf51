"""Runs as tasks of a Ray cluster, each with the resources that it declares, and their results on the head.

A worker runs the ordinary command line as a process of its own. Where the workers see the head's folders, runs are
there. Elsewhere each worker keeps a run in a scratch folder and sends it to the head every so often, with its newest
checkpoint, so that another worker can go on with it when that one dies.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError, MissingDependency, TrainingError
from nerf_ssim.experiments.engines.local import LOG, ChildProcess, child_environment, package_paths, usable_cores
from nerf_ssim.experiments.engines.parcels import newest_checkpoint, pack_run, remove_run, unpack_run
from nerf_ssim.experiments.sweep.runs import PlannedRun
from nerf_ssim.experiments.sweep.scheduler import CLAIM, USER_ERROR
from nerf_ssim.runs.lock import lock_folder

__all__ = ["RayEngine"]

LOST = -9
"""The exit code that stands for a worker or a node that died."""

OBJECT_STORE_BYTES = 100 * 2**20
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_PARCELS = 60.0


class Board:
    """An actor on the head: workers read from it whether they are to stop, and leave their runs with it."""

    def __init__(self, root: str) -> None:
        self._root, self._signal = Path(root), 0

    def stop(self, number: int) -> None:
        """Tells every worker to pass this signal on to its run."""
        self._signal = number

    def signal(self) -> int:
        """The signal to pass on; 0 for none."""
        return self._signal

    def newest(self, folder: str) -> str:
        """The newest checkpoint of the run in a folder of the head."""
        return newest_checkpoint(self._root / folder)

    def fetch(self, folder: str) -> bytes:
        """The run in a folder of the head, packed."""
        return pack_run(self._root / folder)

    def deliver(self, folder: str, parcel: bytes) -> None:
        """Puts a packed run into its folder on the head."""
        unpack_run(parcel, self._root / folder)


class RayAttempt:
    """A run's task."""

    def __init__(self, ray: Any, task: Any, board: Any) -> None:
        self._ray, self._task, self._board = ray, task, board
        self._words = ""

    def poll(self) -> int | None:
        """The exit code of the run, `LOST` where its worker died; None while it goes on or waits for resources."""
        if not self._ray.wait([self._task], timeout=0)[0]:
            return None
        try:
            code, self._words = self._ray.get(self._task)
        except self._ray.exceptions.RayError as error:
            self._words = str(error).strip().splitlines()[0]
            return LOST
        return int(code)

    def send_signal(self, number: int) -> None:
        """Tells the worker to pass the signal on; a task that still waits ends as soon as it starts."""
        self._board.stop.remote(number)

    def last_words(self) -> str:
        """The last line of the run's log, or what Ray says of a lost one."""
        return self._words


class RayEngine:
    """Carries runs out on a Ray cluster.

    Args:
        address: of the cluster, `auto` for one that was started on this machine; None starts one of this machine alone.
        cores, gpus: that each run takes.
        nice: added to the niceness of each.
        scratch: a folder on each worker, where workers do not see the head's folders; None where they do.
    Raises:
        MissingDependency: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """

    claims = False

    def __init__(
        self,
        address: str | None,
        *,
        cores: float | None = None,
        gpus: float = 0.0,
        nice: int = 0,
        scratch: Path | None = None,
        seconds_between_parcels: float = SECONDS_BETWEEN_PARCELS,
    ) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingDependency("--engine ray needs Ray: pip install 'nerf_ssim[cluster]'") from error
        self._ray, self._nice, self._scratch = ray, nice, scratch
        self._cores, self._gpus = cores or 1.0, gpus
        self._every = seconds_between_parcels
        self._connect(address)
        self._root = Path.cwd()
        self._mark = self._root / f".ray_{uuid.uuid4().hex}"  # a worker that sees it sees the head's folders
        self._mark.touch()
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._board = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote(str(self._root))
        self._task = ray.remote(num_cpus=self._cores, num_gpus=gpus, max_retries=0)(carry_out_here)

    @property
    def slots(self) -> int:
        """Runs that the cluster's resources allow at a time now; nodes may come and go."""
        there = self._ray.cluster_resources()
        slots = there.get("CPU", 0.0) // self._cores
        return int(min(slots, there.get("GPU", 0.0) // self._gpus) if self._gpus else slots)

    def start(self, run: PlannedRun) -> RayAttempt:
        """Hands a run to the cluster."""
        place = {
            "root": str(self._root),
            "mark": str(self._mark),
            "folder": str(run.folder),
            "scratch": None if self._scratch is None else str(self._scratch),
        }
        threads = max(1, round(self._cores))
        task = self._task.remote(run.words(), place, self._board, threads, self._nice, self._every)
        return RayAttempt(self._ray, task, self._board)

    def close(self) -> None:
        """Leaves the cluster, and ends it where this engine started it."""
        self._mark.unlink(missing_ok=True)
        self._ray.shutdown()

    def _connect(self, address: str | None) -> None:
        own: dict[str, Any] = {
            "num_cpus": usable_cores(),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
        environment = {"env_vars": {"PYTHONPATH": package_paths()}}
        try:
            self._ray.init(
                address=address or "local",
                runtime_env=environment,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else own),
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"--address {address}: no Ray cluster there ({reason}); ray start --head begins one"
            ) from error


def carry_out_here(
    words: Sequence[str], place: dict[str, Any], board: Any, threads: int, nice: int, every: float
) -> tuple[int, str]:
    """What a worker does: the run as a process, its folder taken for this worker, sent to the head if need be.

    Args:
        words: after `nerf-ssim`.
        place: `root`, the head's working folder; `mark`, a file in it; `folder` of the run; `scratch`, or None.
        board: the head's `Board`.
        threads, nice: of the process.
        every: seconds between two parcels to the head.
    Returns:
        the run's exit code and the last line that it printed.
    """
    import ray

    root, scratch = Path(place["root"]), place["scratch"]
    if scratch is None and not Path(place["mark"]).exists():
        return (
            USER_ERROR,
            f"{place['root']} of the head is not on this worker; give --scratch DIR, a folder of each worker",
        )
    folder = Path(root if scratch is None else scratch, place["folder"])
    # A run that outlived its worker saves and ends within an iteration; until then its folder is not ours.
    claim = take_folder(folder, lambda: int(ray.get(board.signal.remote())))
    if isinstance(claim, int):
        return 128 + claim, "stopped before it started"
    with claim:
        if scratch is not None:
            if newest_checkpoint(folder) < ray.get(board.newest.remote(place["folder"])):
                remove_run(folder)
                unpack_run(ray.get(board.fetch.remote(place["folder"])), folder)
            words = [*words, "--basedir", str(folder.parent)]
        environment = child_environment(threads)
        where = root if root.is_dir() else None
        child = ChildProcess(words, folder / LOG, environment=environment, nice=nice, folder=where)
        code = watch(child, folder, place, board, every)
        return code, child.last_words()


def watch(child: ChildProcess, folder: Path, place: dict[str, Any], board: Any, every: float) -> int:
    """Waits for a run to end, passes a signal of the head on to it, and sends its folder to the head."""
    import ray

    sent, is_told = time.monotonic(), False
    while (code := child.poll()) is None:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        number = int(ray.get(board.signal.remote()))
        if number and not is_told:
            is_told = True
            child.send_signal(number)
        if place["scratch"] is not None and time.monotonic() - sent >= every:
            ray.get(board.deliver.remote(place["folder"], pack_run(folder)))
            sent = time.monotonic()
    if place["scratch"] is not None:
        ray.get(board.deliver.remote(place["folder"], pack_run(folder)))
    return code


def take_folder(folder: Path, signal: Any) -> Any:
    """The lock of a run's folder, once nobody else is at it; the number of a signal that came first."""
    while True:
        try:
            claim = lock_folder(folder, CLAIM)
            try:
                lock_folder(folder).close()
                return claim
            except TrainingError:
                claim.close()
        except TrainingError:
            pass
        if number := signal():
            return number
        time.sleep(SECONDS_BETWEEN_LOOKS)
