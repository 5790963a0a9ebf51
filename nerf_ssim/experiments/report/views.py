"""Test views of each schedule beside each other, their errors, and a slider between two of them."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from nerf_ssim.experiments.report.runs import Comparison, ReportedRun
from nerf_ssim.files import read_bytes

__all__ = ["view_sections"]

LARGEST_SIDE = 384
KINDS = (("", "render"), ("error_", "error"))


def view_sections(comparison: Comparison, count: int) -> str:
    """A section a scene and model, with at most `count` test views of the first seed of each schedule.

    Runs whose pictures are gone are left out; with none left the text is empty.
    """
    places = dict.fromkeys((run.scene, run.model) for run in comparison.runs)
    return "".join(_section(comparison, scene, model, count) for scene, model in places)


def _section(comparison: Comparison, scene: str, model: str, count: int) -> str:
    runs = _with_pictures(comparison, scene, model)
    common = set.intersection(*(_views(run) for run in runs.values())) if runs else set()
    if not common or count < 1:
        return ""
    views = _spread(sorted(common), count)
    seeds = ", ".join(dict.fromkeys(str(run.seed) for run in runs.values()))
    rows = "".join(
        f"<div class='view'>{html.escape(view)}</div>"
        + "".join(_row(runs, view, prefix, kind) for prefix, kind in KINDS)
        for view in views
    )
    methods = "".join(f"<option>{html.escape(method)}</option>" for method in runs)
    named_views = "".join(f"<option>{html.escape(view)}</option>" for view in views)
    last = len(runs) - 1
    slider = (
        "<div class='slider'><div class='controls'>"
        f"<label>left <select class='left'>{methods}</select></label>"
        f"<label>right <select class='right' data-start='{last}'>{methods}</select></label>"
        f"<label>view <select class='view'>{named_views}</select></label>"
        "<label>show <select class='kind'><option>render</option><option>error</option></select></label></div>"
        "<div class='stage'><img class='under' alt=''><img class='over' alt=''></div>"
        "<input type='range' min='0' max='100' value='50' aria-label='where the right picture begins'></div>"
    )
    header = "".join(f"<div class='name'>{html.escape(method)}</div>" for method in runs)
    return (
        f"<section class='views'><h2>Test views: {html.escape(scene)}, {html.escape(model)}</h2>"
        f"<p>Seed {html.escape(seeds)}. Under each render is its error map; the brighter, the larger the error.</p>"
        f"{slider}<div class='wide'><div class='grid' style='--columns:{len(runs)}'>{header}{rows}</div></div>"
        "</section>"
    )


def _row(runs: dict[str, ReportedRun], view: str, prefix: str, kind: str) -> str:
    cells = []
    for method, run in runs.items():
        source = _data_uri(run.folder / "test" / f"{prefix}{view}.png")
        where = f"data-method='{html.escape(method)}' data-view='{html.escape(view)}' data-kind='{kind}'"
        caption = html.escape(f"{kind} of {view}, {method}")
        cells.append(f"<img {where} src='{source}' alt='{caption}' title='{caption}'>")
    return "".join(cells)


def _with_pictures(comparison: Comparison, scene: str, model: str) -> dict[str, ReportedRun]:
    """By method, the first run of the scene and model that kept its renders."""
    found: dict[str, ReportedRun] = {}
    for method in comparison.methods:
        for run in comparison.runs:
            is_it = (run.scene, run.model, comparison.method(run)) == (scene, model, method)
            if is_it and method not in found and _views(run):
                found[method] = run
    return found


def _views(run: ReportedRun) -> set[str]:
    """Names of the views of which render and error map are there."""
    errors = (path.stem.removeprefix("error_") for path in (run.folder / "test").glob("error_*.png"))
    return {name for name in errors if (run.folder / "test" / f"{name}.png").is_file()}


def _spread(names: Sequence[str], count: int) -> list[str]:
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[place] for place in places]


def _data_uri(path: Path) -> str:
    """The picture in the page itself, at most `LARGEST_SIDE` pixels a side; empty where it cannot be read."""
    encoded = np.frombuffer(read_bytes(path), np.uint8)
    pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if pixels is None:
        return ""
    scale = LARGEST_SIDE / max(pixels.shape[:2])
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
