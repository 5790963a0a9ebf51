"""What takes long (compilers, processes of their own) runs beside the other tests, from the session's first test on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from simulator import THREADS_AT_ONCE


@pytest.fixture(scope="session")
def jobs(request) -> Iterator[dict[str, Future]]:
    """The work of each chosen test that its module's JOBS names, by the test's id, in the order of the tests."""
    with ThreadPoolExecutor(THREADS_AT_ONCE) as pool:
        futures = {}
        for item in request.session.items:
            job = getattr(item.module, "JOBS", {}).get(item.originalname)
            if job is not None and not any(mark.args[0] for mark in item.iter_markers("skipif")):
                parameters = item.callspec.params if hasattr(item, "callspec") else {}
                futures[item.nodeid] = pool.submit(job, **parameters)
        yield futures
        pool.shutdown(cancel_futures=True)


@pytest.fixture(autouse=True)
def jobs_begin_with_the_first_test(jobs) -> None:
    """Nothing else."""


@pytest.fixture
def result(jobs, request) -> object:
    """What the test's own job returned."""
    return jobs[request.node.nodeid].result()
