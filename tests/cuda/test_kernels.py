"""Each kernel's own source, run thread by thread: values, races, bounds, and what planted defects do to them."""

from __future__ import annotations

from collections import Counter

import pytest
from checks import CHECKS, bounds_error, cases_of, catch, traces_of, value_error
from kernels import KERNELS
from simulator import Kernel, Mutation, missing_tool, mutated

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())]

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


def planted_for_a_release(kernel: Kernel) -> list[Mutation]:
    """Three of a kernel's defects, for as many checks as there are; kernel_docs.py plants them all."""
    by_check = {mutation.caught_by: mutation for mutation in reversed(kernel.mutations)}
    others = [mutation for mutation in kernel.mutations if mutation not in by_check.values()]
    return [*by_check.values(), *others][:3]


def planted_in_every_run() -> list[tuple[Kernel, Mutation]]:
    """One defect of each source file, for the check that has found the fewest so far."""
    by_source: dict[str, list[tuple[Kernel, Mutation]]] = {}
    for kernel in KERNELS:
        by_source.setdefault(kernel.source, []).extend((kernel, each) for each in planted_for_a_release(kernel))
    chosen: list[tuple[Kernel, Mutation]] = []
    for pairs in by_source.values():
        found = Counter(mutation.caught_by for _, mutation in chosen)
        chosen.append(min(pairs, key=lambda pair: found[pair[1].caught_by]))
    return chosen


EVERY_RUN = planted_in_every_run()
DEFECTS = [
    pytest.param(
        kernel,
        mutation,
        id=f"{kernel.name}: {mutation.name}",
        marks=[] if (kernel, mutation) in EVERY_RUN else [pytest.mark.release],
    )
    for kernel in KERNELS
    for mutation in planted_for_a_release(kernel)
]


@every_kernel
def test_results_equal_the_reference_in_every_order_of_threads_and_blocks(kernel):
    for case in cases_of(kernel):
        assert value_error(kernel.source, case) == ""


@every_kernel
def test_no_two_accesses_race(kernel):
    for case, races, counts in traces_of(kernel):
        assert races == [], case.name
        if case.shares_addresses:
            assert counts.contended_words > 0, f"{case.name}: no address is written by two blocks"


@every_kernel
def test_atomics_are_traced_where_several_blocks_write_one_address(kernel):
    uses_atomics = any(counts.atomics for _, _, counts in traces_of(kernel))
    assert not uses_atomics or any(case.shares_addresses for case in cases_of(kernel))


@every_kernel
def test_every_access_is_inside_its_array_and_no_integer_overflows(kernel):
    assert bounds_error(kernel.source, cases_of(kernel)) == ""


@every_kernel
def test_at_least_three_defects_are_there_to_be_planted(kernel):
    assert len(kernel.mutations) >= 3
    for mutation in kernel.mutations:
        assert mutated(kernel.source, mutation), "its text is in its file once, or this raises"
    assert len({mutation.name for mutation in kernel.mutations}) == len(kernel.mutations)
    assert {mutation.caught_by for mutation in kernel.mutations} <= set(CHECKS)


@pytest.mark.parametrize(("kernel", "mutation"), DEFECTS)
def test_a_planted_defect_is_caught(kernel, mutation, result):
    assert result, f"{mutation.caught_by} does not see it"


JOBS = {"test_a_planted_defect_is_caught": lambda kernel, mutation: catch(kernel, mutation, mutation.caught_by)}


def test_table_of_what_caught_the_planted_defects(jobs, capsys):
    rows = [
        f"{name.split('[')[1].rstrip(']'):80} {job.result()[:110]}"
        for name, job in jobs.items()
        if "test_a_planted_defect_is_caught" in name and job.done() and not job.exception()
    ]
    with capsys.disabled():
        print("\nplanted defects and what saw them\n" + "\n".join(rows))
