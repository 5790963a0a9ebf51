"""Rewrites the tables of docs/kernels.md from what the compiler, the tracer and the planted defects say.

`python tests/cuda/kernel_docs.py [KERNEL …]` rewrites the sections of these kernels, of all where none is named;
`--check` only tells whether they are up to date. What stands between `<!-- generated -->` and `<!-- end -->` is
replaced.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from checks import catch, trace
from compiled import usage_of
from kernels import KERNELS
from simulator import ROOT, THREADS_AT_ONCE, Kernel

FILE = ROOT / "docs" / "kernels.md"
BEGIN, END = "<!-- generated -->\n", "<!-- end -->\n"


def bytes_row(kernel: Kernel) -> str:
    """Requested global bytes an element against the least, sectors and wavefronts, of the cases that report them."""
    cells = []
    for case in kernel.cases():
        if not case.elements:
            continue
        _, counts = trace(kernel.source, case)
        read, written = counts.global_read / case.elements, counts.global_written / case.elements
        least_read, least_written = case.floor
        sectors = counts.sectors / counts.fewest_sectors
        conflicts = counts.wavefronts / counts.fewest_wavefronts if counts.fewest_wavefronts else 1
        cells.append(
            f"{case.name}: {read:.1f} + {written:.1f} bytes (least {least_read:.1f} + {least_written:.1f}), "
            f"sectors {sectors:.2f}x, wavefronts {conflicts:.2f}x"
        )
    return "; ".join(cells) or "not reported"


def trace_row(kernel: Kernel) -> str:
    """What the tracer says of all cases."""
    cases = kernel.cases()
    races = [race for case in cases for race in trace(kernel.source, case)[0]]
    contended = sum(trace(kernel.source, case)[1].contended_words for case in cases if case.shares_addresses)
    shared = f"; {contended} words are written by several blocks" if contended else ""
    return f"{len(races)} races in {len(cases)} cases{shared}"


def compiler_rows(kernel: Kernel) -> list[str]:
    """A row a __global__ function: threads, registers, shared memory, theoretical occupancy."""
    rows = [
        "| function | threads | registers sm_80, sm_90 | shared bytes | occupancy sm_80, sm_90 |",
        "|---|---|---|---|---|",
    ]
    for entry in kernel.entries:
        by = usage_of(kernel.source, (80, 90))[entry]
        rows.append(
            f"| `{entry}` | {by[80].threads} | {by[80].registers}, {by[90].registers} | {by[80].shared} "
            f"| {by[80].occupancy(80):.0%}, {by[90].occupancy(90):.0%} |"
        )
    return rows


def defect_rows(kernel: Kernel) -> list[str]:
    """A row a planted defect: what saw it."""
    with ThreadPoolExecutor(THREADS_AT_ONCE) as pool:
        seen = list(pool.map(lambda m: bool(catch(kernel, m, m.caught_by)), kernel.mutations))
    caught = [f"{m.name} ({m.caught_by})" for m, is_seen in zip(kernel.mutations, seen, strict=True) if is_seen]
    return [f"Planted defects caught, {len(caught)} of {len(seen)}: {'; '.join(caught)}."]


def section(kernel: Kernel) -> str:
    """All that is known of a kernel."""
    lines = [f"### {kernel.name}", kernel.what, "", *compiler_rows(kernel), ""]
    lines += [f"Requested: {bytes_row(kernel)}.", f"Tracer: {trace_row(kernel)}.", "", *defect_rows(kernel), ""]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Rewrite the generated part, or compare it."""
    names = {argument for argument in arguments if argument != "--check"}
    if unknown := names - {kernel.name for kernel in KERNELS}:
        print(f"no such kernel: {', '.join(sorted(unknown))}")
        return 2
    made = {kernel.name: section(kernel) for kernel in KERNELS if not names or kernel.name in names}
    text = FILE.read_text()  # late: another process may have written other kernels meanwhile
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    there = {part.partition("\n")[0]: f"### {part.rstrip()}\n" for part in old.split("### ")[1:]}
    sections = there | made
    new = "\n".join(sections[kernel.name] for kernel in KERNELS if kernel.name in sections)
    new = before + BEGIN + new + END + after
    if "--check" in arguments:
        print("up to date" if new == text else f"{FILE} is not up to date: python tests/cuda/kernel_docs.py")
        return new != text
    FILE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
