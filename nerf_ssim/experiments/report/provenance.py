"""Where the figures of a report come from, and what makes runs hard to compare."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from nerf_ssim.experiments.report.runs import Comparison, ReportedRun
from nerf_ssim.experiments.report.tables import Table

__all__ = ["provenance_table", "warnings"]


def provenance_table(comparison: Comparison) -> Table:
    """One row a kind of provenance: version, commit, PyTorch, machine, device, kernels, and how many runs have it."""
    counts = Counter(_provenance(run) for run in comparison.runs)
    header = ["runs", "version", "commit", "PyTorch", "machine", "threads", "device", "operations in plain PyTorch"]
    return Table("Where these figures come from", header, [[count, *facts] for facts, count in counts.most_common()])


def warnings(comparison: Comparison) -> list[str]:
    """One sentence for each reason why the runs differ in more than their schedules."""
    runs = comparison.runs
    found = [f"Left out: {reason}." for reason in comparison.left_out]
    checks = (
        ("The kernels that served the runs differ", {_plain_operations(run) for run in runs if run.manifest}),
        ("SSIM is computed in different ways", {str(run.final["ssim_variant"]) for run in runs if run.final}),
        ("The runs are of different commits", {_commit(run) for run in runs if run.manifest}),
        ("The runs are of different machines", {_machine(run) for run in runs if run.manifest}),
    )
    for sentence, values in checks:
        if len(values) > 1:
            found.append(f"{sentence}: {_listed(values)}.")
    for scene in dict.fromkeys(run.scene for run in runs):
        hashes = {_scene_hash(run) for run in runs if run.scene == scene and run.manifest}
        if len(hashes) > 1:
            found.append(f"Different data go by the scene name {scene}, so its runs are not comparable.")
        views = {run.views for run in runs if run.scene == scene and run.views is not None}
        if len(views) > 1:
            found.append(f"Scores of {scene} are means over different numbers of views: {_listed(map(str, views))}.")
    if names := comparison.options_of_scenes:
        found.append(f"Scenes differ in options that are the same within each: {', '.join(names)}.")
    return found + _missing_seeds(comparison) + _unfinished(runs)


def _missing_seeds(comparison: Comparison) -> list[str]:
    found = []
    for scene, model in dict.fromkeys((run.scene, run.model) for run in comparison.runs):
        of_place = [run for run in comparison.runs if (run.scene, run.model) == (scene, model)]
        everything = {run.seed for run in of_place if run.final}
        for method in dict.fromkeys(map(comparison.method, of_place)):
            seeds = {run.seed for run in of_place if run.final and comparison.method(run) == method}
            if missing := everything - seeds:
                found.append(f"{scene}, {model}, {method}: no scores of seed {_listed(map(str, missing))}.")
    return found


def _unfinished(runs: Iterable[ReportedRun]) -> list[str]:
    names = [run.name for run in runs if run.final is None]
    return [f"Not scored yet: {_listed(names)}."] if names else []


def _provenance(run: ReportedRun) -> tuple[Any, ...]:
    manifest = run.manifest
    threads = manifest.get("threads") or {}
    facts = (manifest.get("version"), _commit(run), manifest.get("torch"), _machine(run), threads.get("intra_op"))
    return (*facts, manifest.get("device"), _plain_operations(run) or None)


def _commit(run: ReportedRun) -> str:
    git = run.manifest.get("git") or {}
    return f"{str(git.get('sha'))[:10]}{' with changes' if git.get('dirty') else ''}" if git.get("sha") else "unknown"


def _machine(run: ReportedRun) -> str:
    machine = run.manifest.get("machine") or {}
    processor = machine.get("gpu") if str(run.manifest.get("device")).startswith("cuda") else machine.get("cpu")
    return f"{processor}, {machine.get('cores')} cores"


def _plain_operations(run: ReportedRun) -> str:
    backend = run.manifest.get("backend") or {}
    return " ".join(sorted(name for name, how in backend.items() if how.get("implementation") != "native"))


def _scene_hash(run: ReportedRun) -> str:
    return json.dumps((run.manifest.get("scene") or {}).get("hash"))


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(value or "none in plain PyTorch" for value in values))
