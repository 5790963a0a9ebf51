"""Where an iteration's time goes: each operator's own processor time, natively and by the reference.

`python -m benchmarks profile --state trained` prints one JSON line an implementation; options that are not the
benchmark's own are the training command's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.states import add_arguments, canonical_config, make_workload
from benchmarks.tensorf import iterations_in_turn, sizes
from benchmarks.timing import forced

__all__ = ["add_arguments", "run"]

_SHOWN = 24  # operators


def run(args: argparse.Namespace, options: Sequence[str], **settings: object) -> list[dict[str, object]]:
    """One record an implementation: milliseconds of an iteration and share of each of the costliest operators.

    Arguments as for the iteration's benchmark; `args.repeats` pairs of iterations are profiled after one that is not.
    """
    torch.set_num_threads(args.threads)
    size = settings.pop("size", 384)
    workload = make_workload(args.state, canonical_config(options).replace(**settings), size=size)
    records = []
    for implementation in ("native", "reference") if args.reference else ("native",):
        with forced(implementation):
            iterations_in_turn(workload)
            with profile(activities=[ProfilerActivity.CPU]) as profiler:
                for _ in range(args.repeats):
                    iterations_in_turn(workload)
        events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        iterations = 2 * args.repeats
        records.append(
            {"op": "profile", "implementation": implementation, "ms": round(1e-3 * total / iterations, 1),
             "threads": args.threads, **sizes(workload, args.state),
             "operators": {event.key: {"ms": round(1e-3 * event.self_cpu_time_total / iterations, 2),
                                       "share": round(event.self_cpu_time_total / total, 3),
                                       "calls": round(event.count / iterations, 1)} for event in events[:_SHOWN]}}
        )  # fmt: skip
    return records
