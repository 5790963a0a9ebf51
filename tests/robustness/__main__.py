"""The property tests on many more inputs, drawn anew, until the time is over.

    python -m tests.robustness --minutes 30

Each round multiplies the number of inputs. It ends with 1 at the first property that does not hold, and pytest's
report names the smallest input that it was found on.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST_FACTOR = 2  # of the inputs that CI tries
PROPERTIES = [str(HERE / f"test_{what}.py") for what in ("configs", "archives", "picture_files", "checkpoint_contents")]
ROUND = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-show-statistics"]


def inputs_in(report: str) -> int:
    """How many inputs properties were tried on, by the statistics of Hypothesis; damaged checkpoints come on top."""
    return sum(int(count) for count in re.findall(r"(\d+) passing\b", report))


def main() -> int:
    """Runs rounds of the tests; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to go on (30)")
    options = parser.parse_args()
    started = time.monotonic()
    factor, rounds, inputs = FIRST_FACTOR, 0, 0
    while time.monotonic() - started < 60 * options.minutes:
        environment = os.environ | {"ROBUSTNESS_EXAMPLES": str(factor)}
        done = subprocess.run([*ROUND, *PROPERTIES], env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(done.stdout)
            return 1
        rounds, inputs, factor = rounds + 1, inputs + inputs_in(done.stdout), 2 * factor
        minutes = (time.monotonic() - started) / 60
        print(f"{rounds} rounds, {inputs} inputs in {minutes:.1f} minutes: every property held", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
