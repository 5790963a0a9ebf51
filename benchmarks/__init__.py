"""Timings of the native kernels against the reference: `python -m benchmarks --help`."""
