"""The budget: registers, shared memory and theoretical occupancy that each kernel may not get worse than.

`python tests/cuda/budget.py` compares; `--update [SOURCE …]` rewrites what tests/cuda/budget.json says of these files
of cuda_ext/cuda, of all where none is named.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from compiled import BUDGETED, SOURCES, usage_of

FILE = Path(__file__).with_name("budget.json")


def measured(sources: Sequence[str] = SOURCES) -> dict[str, dict[str, dict[str, int]]]:
    """Per __global__ function and budgeted architecture: registers, shared bytes, occupancy in percent."""
    return {
        entry: {
            f"sm_{a}": {
                "registers": by[a].registers,
                "shared": by[a].shared,
                "occupancy": round(100 * by[a].occupancy(a)),
            }
            for a in BUDGETED
        }
        for source in sources
        for entry, by in usage_of(source).items()
    }


def faults(now: dict, budget: dict) -> list[str]:
    """What is worse than the budget or not in it, and what the budget has that is no more."""
    lines = [f"{entry}: not in the budget" for entry in now.keys() - budget.keys()]
    lines += [f"{entry}: in the budget, but no kernel" for entry in budget.keys() - now.keys()]
    for entry in now.keys() & budget.keys():
        for architecture, values in now[entry].items():
            allowed = budget[entry][architecture]
            for what, value in values.items():
                is_worse = value < allowed[what] if what == "occupancy" else value > allowed[what]
                if is_worse:
                    lines.append(f"{entry}, {architecture}: {what} {value}, the budget is {allowed[what]}")
    return sorted(lines)


def main(arguments: list[str]) -> int:
    """Compare with the budget, or write it."""
    if arguments[:1] == ["--update"]:
        before = json.loads(FILE.read_text()) if arguments[1:] else {}
        now = before | measured(arguments[1:] or SOURCES)
        FILE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
        return 0
    lines = faults(measured(), json.loads(FILE.read_text()))
    print("\n".join(lines) or "within the budget")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
