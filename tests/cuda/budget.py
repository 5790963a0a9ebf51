"""The budget: registers, shared memory, theoretical occupancy and instructions that no kernel may get worse than.

`python tests/cuda/budget.py` compares; `--update [SOURCE …]` rewrites what tests/cuda/budget.json says of these files
of cuda_ext/cuda, of all where none is named.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from compiled import LIMITS, SOURCES, usage_of
from kernels import KERNELS

FILE = Path(__file__).with_name("budget.json")


def measured(
    sources: Sequence[str] = SOURCES, architectures: tuple[int, ...] = tuple(LIMITS)
) -> dict[str, dict[str, dict[str, int]]]:
    """Per __global__ function and budgeted architecture: registers, shared bytes, occupancy, instructions."""
    return {
        entry: {
            f"sm_{a}": {
                "registers": by[a].registers,
                "shared": by[a].shared,
                "occupancy": round(100 * by[a].occupancy(a)),
                "instructions": by[a].instructions,
            }
            for a in architectures
        }
        for source in sources
        for entry, by in usage_of(source, architectures).items()
    }


def faults(now: dict, budget: dict) -> list[str]:
    """What is worse than the budget or not in it, and what the budget has that is no more."""
    lines = [f"{entry}: not in the budget" for entry in now.keys() - budget.keys()]
    lines += [f"{entry}: in the budget, but no kernel" for entry in budget.keys() - now.keys()]
    for entry in now.keys() & budget.keys():
        for architecture in now[entry].keys() & budget[entry].keys():
            for what, allowed in budget[entry][architecture].items():
                value = now[entry][architecture][what]
                is_worse = value < allowed if what == "occupancy" else value > allowed
                if is_worse:
                    lines.append(f"{entry}, {architecture}: {what} {value}, the budget is {allowed}")
    return sorted(lines)


def main(arguments: list[str]) -> int:
    """Compare with the budget, or write it."""
    if arguments[:1] == ["--update"]:
        now = measured(arguments[1:] or SOURCES)
        if arguments[1:]:
            known = {entry for kernel in KERNELS for entry in kernel.entries}
            now = {entry: of for entry, of in json.loads(FILE.read_text()).items() if entry in known} | now
        FILE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
        return 0
    lines = faults(measured(), json.loads(FILE.read_text()))
    print("\n".join(lines) or "within the budget")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
