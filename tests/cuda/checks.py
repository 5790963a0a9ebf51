"""The four checks that a kernel passes and a planted defect fails."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from simulated_call import ORDERS, Counts, Outcome, Run, call
from simulator import Case, Kernel, Mutation, library_of, outcomes_apart, source_lines

CHECKS = ("value", "race", "bounds", "named")
SEEDS = (1, 2, 3)


def runs_in_every_order(library, case: Case, seeds: Sequence[int] = SEEDS) -> list[Run]:
    """The case in ascending and descending order and in a random one a seed."""
    fixed = [case.run(library, order) for order in ORDERS[:2]]
    return fixed + [case.run(library, "random", seed) for seed in seeds]


def value_error(source: str, case: Case) -> str:
    """The first wrong result or complaint of the simulator over all orders, or ""."""
    for run in runs_in_every_order(library_of(source, "plain"), case):
        outcome = call(run)
        if error := outcome.failure or case.error_of(outcome):
            return f"{case.name}, {run.order} order, seed {run.seed}: {error}"
    return ""


def trace(source: str, case: Case) -> tuple[list[str], Counts]:
    """The races of a case, with their places in the source, and its counts."""
    library = library_of(source, "traced")
    outcome = call(case.run(library, "random", 1))
    assert not outcome.failure, outcome.failure
    assert outcome.counts is not None
    return source_lines(library, outcome.races), outcome.counts


@cache
def cases_of(kernel: Kernel) -> tuple[Case, ...]:
    """A kernel's cases, made once; each run takes copies of their arrays."""
    return tuple(kernel.cases())


@cache
def traces_of(kernel: Kernel) -> tuple[tuple[Case, list[str], Counts], ...]:
    """Each case of a kernel with its races and counts; traced once."""
    return tuple((case, *trace(kernel.source, case)) for case in cases_of(kernel))


def bounds_error(source: str, cases: Sequence[Case]) -> str:
    """What AddressSanitizer or UBSan says, or ""."""
    runs = [case.run(library_of(source, "sanitized")) for case in cases]
    for outcome in outcomes_apart(runs, sanitized=True):
        if outcome.crash:
            return _first_complaint(outcome.crash)
        if outcome.failure:
            return outcome.failure
    return ""


def catch(kernel: Kernel, mutation: Mutation, check: str) -> str:
    """What `check` says of a planted defect, "" if it sees nothing."""
    build = {"value": "plain", "named": "plain", "race": "traced", "bounds": "sanitized"}[check]
    library = library_of(kernel.source, build, mutation)
    seeds = () if check == "bounds" else (1,)
    planned = [(case, run) for case in cases_of(kernel) for run in runs_in_every_order(library, case, seeds)]
    outcomes = outcomes_apart([run for _, run in planned], sanitized=check == "bounds")
    for (case, run), outcome in zip(planned, outcomes, strict=False):
        if found := _seen(check, case, outcome, library):
            return f"{case.name}, {run.order} order: {found}"
    return ""


def _seen(check: str, case: Case, outcome: Outcome, library: Path) -> str:
    """What one check says of one outcome."""
    if outcome.crash:
        crash = {"value": f"crashed, {outcome.crash.splitlines()[-1]}", "bounds": _first_complaint(outcome.crash)}
        return crash.get(check, "")
    if check == "value":
        return "" if outcome.failure else case.error_of(outcome)
    if check == "race":
        return "; ".join(source_lines(library, outcome.races[:1]))
    return outcome.failure if check == "named" else ""


def _first_complaint(text: str) -> str:
    lines = [line for line in text.splitlines() if "runtime error" in line or "ERROR: AddressSanitizer" in line]
    return (lines or text.splitlines())[0].strip()
