"""Command line of the benchmarks: `python -m benchmarks NAME --help`. Each measurement is one JSON line."""

from __future__ import annotations

import argparse
import json

from benchmarks import adam, decoder, packed, s3im, ssim

PACKED = {
    "grids": packed.benchmark_grids,
    "march": packed.benchmark_march,
    "composite": packed.benchmark_composite,
}


def main() -> None:
    """Run the benchmark that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name, benchmark in PACKED.items():
        packed.add_arguments(names.add_parser(name, help=(benchmark.__doc__ or "").splitlines()[0]))
    for module in (adam, decoder):
        module.add_arguments(
            names.add_parser(module.__name__.split(".")[-1], help=(module.__doc__ or "").splitlines()[0])
        )
    for module in (ssim, s3im):
        options = names.add_parser(module.__name__.split(".")[-1], help=(module.__doc__ or "").splitlines()[0])
        options.add_argument("--threads", type=int, help="threads (default 1)")
        options.add_argument("--repeats", type=int, help="timed calls of each kind, taken in turn")
    for options in names.choices.values():
        options.add_argument("--json", action="store_true", help="print JSON lines, as is always done")
    args = parser.parse_args()
    if args.name in PACKED:
        for record in packed.run(PACKED[args.name], args):
            print(json.dumps(record))
    elif args.name in ("adam", "decoder"):
        print(json.dumps({"adam": adam, "decoder": decoder}[args.name].run(args)))
    else:
        {"ssim": ssim, "s3im": s3im}[args.name].run(args)  # prints its own line


if __name__ == "__main__":
    main()
