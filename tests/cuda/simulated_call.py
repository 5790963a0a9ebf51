"""Calls a simulated launcher through ctypes: in this process, or in one of its own that may crash.

Run as a program it needs NumPy only, so that it starts fast and AddressSanitizer can be loaded before it: it reads a
pickled list of `Run` from its standard input and writes the outcomes to its standard output, one by one.
"""

from __future__ import annotations

import ctypes
import functools
import pickle
import sys
from dataclasses import dataclass, field, fields
from typing import Union

import numpy as np

ORDERS = ("ascending", "descending", "random")
# What a launcher takes: an array is a pointer, None a null pointer, an int int64_t, a float float, a bool bool. A dict
# is a struct that the launcher takes by reference, its fields in the order of the header; a tuple is an array in one.
Argument = Union[np.ndarray, int, float, bool, None, "tuple[Argument, ...]", "dict[str, Argument]"]


CValue = ctypes._SimpleCData | ctypes.Structure | ctypes.Array


@dataclass(frozen=True)
class Run:
    """One call of a launcher and how the simulator goes about it.

    Args:
        library: the shared library that holds the launcher and the simulator.
        arguments: by name, in the launcher's order without its stream. The arrays are changed in place.
        order: of threads and blocks, one of ORDERS.
        seed: of the random order.
        only_blocks: (first, count) of the grid's blocks, None for all.
    """

    library: str
    launcher: str
    arguments: dict[str, Argument]
    order: str = "ascending"
    seed: int = 0
    only_blocks: tuple[int, int] | None = None


@dataclass
class Counts:
    """What the tracer counted: bytes, 32-byte sectors, shared-memory wavefronts; `fewest_…` is the least possible.

    `contended_words` have been written by more than one block.
    """

    global_read: int
    global_written: int
    sectors: int
    fewest_sectors: int
    shared_read: int
    shared_written: int
    wavefronts: int
    fewest_wavefronts: int
    atomics: int
    contended_words: int


@dataclass
class Outcome:
    """What became of a run.

    `failure` is the simulator's message or ""; `crash` what the process of the run said when it ended, or "";
    `races` and `counts` are there for traced libraries only.
    """

    arguments: dict[str, Argument] = field(default_factory=dict)
    failure: str = ""
    crash: str = ""
    races: list[str] = field(default_factory=list)
    counts: Counts | None = None


@functools.cache
def _load(library: str) -> ctypes.CDLL:
    loaded = ctypes.CDLL(library)
    loaded.simulator_failure.restype = ctypes.c_char_p
    if hasattr(loaded, "simulator_trace_races"):
        loaded.simulator_trace_races.restype = ctypes.c_char_p
    return loaded


def call(run: Run) -> Outcome:
    """Run the launcher to its end or to the simulator's first complaint."""
    library = _load(run.library)
    library.simulator_configure(ORDERS.index(run.order), run.seed)
    first, count = run.only_blocks or (0, -1)
    library.simulator_only_blocks(ctypes.c_int64(first), ctypes.c_int64(count))
    is_traced = hasattr(library, "simulator_trace_races")
    if is_traced:
        library.simulator_trace_reset()
        for array in arrays_in(run.arguments).values():
            library.simulator_buffer(ctypes.c_void_p(array.ctypes.data), ctypes.c_int64(array.nbytes))
    arguments = [_as_c(argument) for argument in run.arguments.values()]
    status = getattr(library, run.launcher)(*map(_passed, arguments), ctypes.c_void_p(None))
    failure = library.simulator_failure().decode()
    if status != 0 and not failure:
        failure = f"{run.launcher} returned error {status}"
    if not is_traced:
        return Outcome(run.arguments, failure)
    counts = (ctypes.c_int64 * len(fields(Counts)))()
    library.simulator_trace_counts(counts)
    races = library.simulator_trace_races().decode().splitlines()
    return Outcome(run.arguments, failure, races=races, counts=Counts(*counts))


def arrays_in(argument: Argument, path: str = "") -> dict[str, np.ndarray]:
    """The arrays of an argument, also inside structs, by the path that leads to each: "grid.planes.0"."""
    if isinstance(argument, np.ndarray):
        return {path: argument}
    if isinstance(argument, tuple):
        argument = {str(place): value for place, value in enumerate(argument)}
    if not isinstance(argument, dict):
        return {}
    parts = (arrays_in(value, f"{path}.{name}" if path else name) for name, value in argument.items())
    return {name: array for part in parts for name, array in part.items()}


def _passed(value: CValue) -> object:
    """A struct goes by reference, anything else by value."""
    return ctypes.byref(value) if isinstance(value, ctypes.Structure) else value


def _as_c(argument: Argument) -> CValue:
    if isinstance(argument, dict):
        values = {name: _as_c(value) for name, value in argument.items()}
        fields = [(name, type(value)) for name, value in values.items()]
        return type("Struct", (ctypes.Structure,), {"_fields_": fields})(*values.values())
    if isinstance(argument, tuple):
        parts = [_as_c(value) for value in argument]
        return (type(parts[0]) * len(parts))(*parts)
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous, "launchers take contiguous arrays"
        return ctypes.c_void_p(argument.ctypes.data)
    if isinstance(argument, bool):
        return ctypes.c_bool(argument)
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    return ctypes.c_float(argument)


def main() -> None:
    """Do the pickled runs of the standard input; a crash leaves the outcomes of those before it."""
    for run in pickle.load(sys.stdin.buffer):
        pickle.dump(call(run), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    import simulated_call  # under its own name, which is what the pickles say

    simulated_call.main()
