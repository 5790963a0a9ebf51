"""The property tests on many more inputs, drawn anew, until the time is over.

    python -m tests.robustness --minutes 30

Each round multiplies the number of inputs. It ends with 1 at the first property that does not hold, and pytest's
report names the smallest input that it was found on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Runs rounds of the tests; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to go on (30)")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    factor, rounds = 5, 0
    while time.monotonic() < end:
        rounds += 1
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-m",
            "not slow and not release",
            "-p",
            "no:cacheprovider",
            str(HERE),
        ]
        environment = os.environ | {"ROBUSTNESS_EXAMPLES": str(factor)}
        try:
            done = subprocess.run(command, env=environment, timeout=max(60.0, end - time.monotonic() + 60))
        except subprocess.TimeoutExpired:
            break
        if done.returncode:
            return 1
        factor *= 2
    print(f"{rounds} rounds, every property held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
