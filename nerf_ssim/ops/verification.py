"""The comparison of every kernel with its reference on the user's own device, in a process that may crash.

No developer has the user's GPU, so the first start on it compares each op's kernel with plain PyTorch on the small
examples of its declaration. An op whose kernel disagrees, fails or ends the process is served by plain PyTorch. The
verdict is remembered by GPU, driver, PyTorch and extension in the user's cache folder.

`python -m nerf_ssim.ops.verification DEVICE [OP ...]` is that process: it prints a JSON object a line, leaves out the
ops named, and stops at the first op that raises an error on a GPU, which then answers nothing more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from nerf_ssim import __version__
from nerf_ssim.files import write_json
from nerf_ssim.ops import backend, nvidia
from nerf_ssim.ops.comparison import disagreement

PROCESS = (sys.executable, "-m", "nerf_ssim.ops.verification")
TIMEOUT = 300.0  # seconds that one process of the comparison may take; a whole one takes about ten
_verdicts: dict[str, Verdict] = {}  # of this process, by device


@dataclass(frozen=True)
class Verdict:
    """What came of the comparison on a device.

    compared: how many kernels there are. disagreements: by op, why its kernel is not used. failure: why the device does
    not compute at all, "" where it does. part_failure: why the extension's part for the device cannot be loaded, "".
    """

    compared: int = 0
    disagreements: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    part_failure: str = ""


def trusted(device: str) -> Verdict:
    """The verdict on a CUDA device, remembered or made now; `ops.backend` keeps to it from here on."""
    if device not in _verdicts:
        machine = machine_of(device)
        verdict = remembered(machine)
        if verdict is None:
            verdict = compare(device)
            remember(machine, verdict)
        keep_to(verdict, device)
    return _verdicts[device]


def made() -> dict[str, Verdict]:
    """The verdicts that this process has, by device."""
    return dict(_verdicts)


def keep_to(verdict: Verdict, device: str) -> None:
    """Let plain PyTorch serve what disagrees."""
    _verdicts[device] = verdict
    kind = torch.device(device).type
    if verdict.part_failure:
        backend.give_up_part(kind, verdict.part_failure)
    for op, reason in verdict.disagreements.items():
        backend.distrust(op, kind, reason)


def compare(device: str) -> Verdict:
    """Compare every kernel for a device with its reference, each in a process that may crash at it."""
    compared = 0
    disagreements: dict[str, str] = {}
    while True:
        outcome = _one_process(device, list(disagreements))
        compared = max(compared, outcome.compared)
        disagreements |= outcome.disagreements
        if outcome.failure or outcome.part_failure or outcome.is_finished:
            # A device that works no more after an op has crashed on it works again in another process.
            return Verdict(compared, disagreements, outcome.failure, outcome.part_failure)


@dataclass
class _Outcome:
    """What one process of the comparison said, and how it ended."""

    compared: int = 0
    disagreements: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    part_failure: str = ""
    is_finished: bool = False


def _one_process(device: str, left_out: Sequence[str]) -> _Outcome:
    outcome = _Outcome()
    environment = {name: value for name, value in os.environ.items() if name != "NERF_SSIM_BACKEND"}
    package = Path(__file__).parents[2]  # the process must find the package where this one did
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(package), environment.get("PYTHONPATH", ""))))
    try:
        done = subprocess.run(
            [*PROCESS, device, *left_out], env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
        lines, ending = done.stdout.splitlines(), _ending(done.returncode, done.stderr)
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        lines = (output if isinstance(output, str) else output.decode(errors="replace")).splitlines()
        ending = f"does not end within {TIMEOUT:.0f} s"
    except OSError as error:
        outcome.part_failure = f"its kernels cannot be compared ({error.strerror or error})"
        return outcome
    stage = ""
    for line in lines:
        record = json.loads(line)
        stage = record.get("begins", stage)
        outcome.compared = record.get("compared", outcome.compared)
        outcome.is_finished = outcome.is_finished or "finished" in record
        if record.get("reason"):
            outcome.disagreements[record["op"]] = f"its kernel disagrees with plain PyTorch: {record['reason']}"
        if "error" in record:
            ending = record["error"]
    if not outcome.is_finished:
        if not stage:
            outcome.part_failure = f"its kernels cannot be compared: {ending}"
        elif stage == "device":
            outcome.failure = ending
        elif stage == "extension":
            outcome.part_failure = f"the extension cannot be loaded for {device}: {ending}"
        else:
            outcome.disagreements[stage] = f"its kernel fails: {ending}"
    return outcome


def _ending(status: int, errors: str) -> str:
    """How a process ended that did not finish."""
    if status < 0:
        return f"the process ends with {signal.Signals(-status).name}"
    lines = errors.strip().splitlines()
    return lines[-1] if lines else f"the process ends with status {status}"


def main(arguments: Sequence[str]) -> int:
    """Print the records of the comparison on a device; 0 where it came to its end."""
    device, *left_out = arguments
    for record in _records(device, left_out):
        print(json.dumps(record), flush=True)
        if "error" in record:
            return 1
    return 0


def _records(device: str, left_out: Sequence[str]) -> Iterator[dict[str, object]]:
    yield {"begins": "device"}
    try:
        ones = torch.ones(8, 8, device=device)
        total = float((ones @ ones).sum())
    except Exception as error:
        yield {"error": _first_line(error)}
        return
    if total != 512.0:
        yield {"error": f"a product of ones sums to {total:g}, not 512"}
        return
    yield {"begins": "extension"}
    native = [op for op, (how, _) in backend.describe(device).items() if how == "native"]
    yield {"compared": len(native)}
    for op in native:
        if op in left_out:
            continue
        yield {"begins": op}
        try:
            yield {"op": op, "reason": disagreement(backend.declared()[op], device)}
        except Exception as error:
            yield {"error": _first_line(error)}
            return
    yield {"finished": True}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def machine_of(device: str) -> dict[str, str]:
    """What a verdict is remembered by: GPU, driver, PyTorch and the extension's contents."""
    return {
        "gpu": torch.cuda.get_device_name(device),
        "driver": nvidia.driver_version(),
        "torch": torch.__version__,
        "extension": backend.extension_digest(),
        "version": __version__,
    }


def remembered(machine: dict[str, str]) -> Verdict | None:
    """The verdict of an earlier start on such a machine, or None."""
    for record in _read_records():
        if isinstance(record, dict) and record.get("machine") == machine:
            try:
                return Verdict(**record["verdict"])
            except (KeyError, TypeError):
                return None
    return None


def remember(machine: dict[str, str], verdict: Verdict) -> None:
    """Keep a verdict for later starts. What failed altogether is asked again: it may be repaired meanwhile."""
    if verdict.failure or verdict.part_failure:
        return
    others = [record for record in _read_records() if isinstance(record, dict) and record.get("machine") != machine]
    try:
        write_json(_memory(), {"verdicts": [*others, {"machine": machine, "verdict": asdict(verdict)}]})
    except OSError:
        pass  # the next start compares again


def _read_records() -> list[object]:
    try:
        content = json.loads(_memory().read_text())
    except (OSError, ValueError):
        return []
    records = content.get("verdicts") if isinstance(content, dict) else None
    return records if isinstance(records, list) else []


def _memory() -> Path:
    """`verified.json` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "nerf_ssim" / "verified.json"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
