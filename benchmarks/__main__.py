"""Command line of the benchmarks: `python -m benchmarks NAME --help`. Each measurement is one JSON line.

For figures to report: an idle machine, `OMP_WAIT_POLICY=passive`, and ratios, which other jobs disturb least.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from benchmarks import decoder, dvgo, memory, packed, poses, profile, render, s3im, siren, splatting, ssim, tensorf
from nerf_ssim.errors import UserError

MODULES = {
    "tensorf": tensorf, "dvgo": dvgo, "render": render, "memory": memory, "profile": profile,
    "grids": packed.GRIDS, "march": packed.MARCH, "composite": packed.COMPOSITE,
    "ssim": ssim, "splatting": splatting, "s3im": s3im, "decoder": decoder, "siren": siren,
    "poses": poses,
}  # fmt: skip
TAKE_TRAINING_OPTIONS = (tensorf, dvgo, render, memory, profile)


def main(words: Sequence[str]) -> int:
    """Run the benchmark that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, allow_abbrev=False)
    names = parser.add_subparsers(dest="name", required=True)
    for name, module in MODULES.items():
        own = names.add_parser(name, help=(module.__doc__ or "").splitlines()[0], allow_abbrev=False)
        module.add_arguments(own)
        own.add_argument("--threads", type=int, default=1, help="threads (default %(default)s)")
        own.add_argument("--repeats", type=int, default=5, help="timed calls of each, in turn (default %(default)s)")
        own.add_argument(
            "--reference", type=int, choices=(0, 1), default=1, help="0 leaves the slow reference out (default 1)"
        )
        own.add_argument("--json", action="store_true", help="print JSON lines, as is always done")
    args, options = parser.parse_known_args(words)
    module = MODULES[args.name]
    if options and module not in TAKE_TRAINING_OPTIONS:
        parser.error(f"unknown option {options[0]}")
    try:
        records = module.run(args, options)
    except UserError as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 2
    for record in records if isinstance(records, list) else [records]:
        print(json.dumps(record), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
