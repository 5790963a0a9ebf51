"""The test protocol: render a split, score every image, keep the pictures, write `results.json`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from nerf_ssim.datasets.scene import Views
from nerf_ssim.evaluation import metrics, pictures
from nerf_ssim.evaluation.perceptual import LpipsScorer
from nerf_ssim.evaluation.scores import METRICS, NO_LPIPS, ImageScore, Scores, Scoring, score_image
from nerf_ssim.files import plain_value, write_json
from nerf_ssim.rays.cameras import image_directions

SHEET_ROWS = 8
LEAST_OPACITY = 1e-6  # under which a ray counts as having hit nothing


@dataclass(frozen=True)
class RenderedView:
    """One rendered camera: `rgb [height, width, 3]` in [0, 1], `depth` (scene units, along the ray) and `opacity`
    (in [0, 1]), both `[height, width]`. Depth is a sum over the ray, so that it is 0 where nothing was hit."""

    rgb: Tensor
    depth: Tensor
    opacity: Tensor

    def depth_along_axis(self, K: Tensor) -> Tensor:
        """Expected depth of what was hit, along the optical axis of a camera with intrinsics `K [3, 3]`.

        Returns:
            `[height, width]`, scene units; 0 where nothing was hit.
        """
        height, width = self.depth.shape
        rows = torch.arange(height, dtype=K.dtype, device=K.device) + 0.5
        columns = torch.arange(width, dtype=K.dtype, device=K.device) + 0.5
        y, x = (each.flatten() for each in torch.meshgrid(rows, columns, indexing="ij"))
        along_ray = image_directions(K[None], x, y).norm(dim=-1).view(height, width).to(self.depth.device)
        return self.depth / self.opacity.clamp_min(LEAST_OPACITY) / along_ray


def score_views(
    render_view: Callable[[int], RenderedView],
    views: Views,
    folder: str | Path | None,
    *,
    ssim_variant: str = "tensorf",
    lpips: Sequence[LpipsScorer] = (),
    indices: Sequence[int] | None = None,
    depth_range: tuple[float, float] | None = None,
    title: str = "",
    progress: bool = True,
) -> Scores:
    """Render the views of a split, score each against its photograph, and keep the pictures.

    Writes `<frame>.png` (render), `error_<frame>.png`, `depth_<frame>.png` and `contact_sheet.png` into `folder`, each
    view's as soon as it is rendered: an interruption keeps what was done, the sheet of the views so far included.

    Args:
        render_view: from a view's index to its render.
        views: the split with the truth.
        folder: where the pictures go (made when missing), usually the run's `test`; None writes no picture.
        ssim_variant: one of `metrics.SSIM_VARIANTS`.
        lpips: scorers of `perceptual.lpips_scorers`; none leaves both LPIPS scores None.
        indices: the views to score, all by default.
        depth_range: the depths that the colours span; by default each picture spans its own, named on the sheet.
        title: heads the contact sheet.
        progress: show a bar with the mean PSNR so far.
    Raises:
        ValueError: an unknown variant, or a render of another size than the photograph.
    """
    if ssim_variant not in metrics.SSIM_VARIANTS:
        raise ValueError(f"ssim variant {ssim_variant!r} is not one of {', '.join(metrics.SSIM_VARIANTS)}")
    indices = range(len(views)) if indices is None else list(indices)
    if folder is not None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
    names = picture_names(views.names)
    on_sheet = set(_spread(indices, SHEET_ROWS))
    scores: list[ImageScore] = []
    notes: dict[str, str] = {}
    rows: list[pictures.SheetRow] = []
    bar = tqdm(indices, desc="scoring", unit="view", leave=False, disable=None if progress else True)
    try:
        for index in bar:
            view = render_view(index)
            truth = views.image_of(index).to(view.rgb.device).float() / 255.0
            true_depth = views.depth_of(index)
            depths: tuple[Tensor | None, Tensor | None] = (None, None)
            if true_depth is not None:
                depths = view.depth_along_axis(views.K[index]), true_depth.to(view.depth.device)
            scoring = Scoring(ssim_variant, lpips, views.mask_of(index), *depths)
            scores.append(score_image(views.names[index], view.rgb, truth, scoring, notes))
            if folder is not None:
                _save_view(folder, names[index], view, truth, depth_range)
                if index in on_sheet:
                    shown = (truth, view.rgb, view.depth, view.opacity)
                    rows.append(pictures.sheet_row(names[index], scores[-1].values["psnr"], *shown, depth_range))
            known = [psnr for score in scores if (psnr := score.values["psnr"]) is not None]
            if known:
                bar.set_postfix_str(f"PSNR {math.fsum(known) / len(known):.2f} dB")
    finally:
        bar.close()
        if rows and folder is not None:
            pictures.save_png(
                folder / "contact_sheet.png", pictures.contact_sheet(rows, title or f"{len(scores)} views")
            )
    return Scores(tuple(scores), ssim_variant, _lpips_note(lpips, notes), notes)


def write_results(
    path: str | Path,
    scores: Scores,
    *,
    scene: str,
    model: str,
    label: str | None,
    iterations: int,
    stopped_at: int,
    schedule: Mapping[str, Any],
    seed: int,
    backend: Any,
    decoder_precision: Any,
    seconds_train: float | None,
) -> dict[str, Any]:
    """Write `results.json`, whole or not at all, and return what was written.

    Every key is always there. A metric that could not be computed is null, with its reason in `<metric>_note` beside it
    (`lpips_note` for both LPIPS distances); NaN and infinity are never written.

    Args:
        scene, model, label: what was trained; `label` such as "recovered poses" qualifies every score, or None.
        iterations, stopped_at: updates the schedules are laid out for, and updates done.
        schedule: at least `weight`, `add_at`, `remove_at`, `removed_at`.
        backend: which implementation each op used (plain values).
        decoder_precision: what was asked for, what ran and why (plain values); None if the run did not record it.
        seconds_train: wall time of the training, or None if it is not known.
    Raises:
        ValueError: the schedule lacks one of its four entries.
        OSError: the folder cannot be written to.
    """
    missing = [key for key in ("weight", "add_at", "remove_at", "removed_at") if key not in schedule]
    if missing:
        raise ValueError(f"the schedule lacks {', '.join(missing)}")
    results: dict[str, Any] = {
        "scene": scene,
        "model": model,
        "label": label,
        "iterations": iterations,
        "stopped_at": stopped_at,
        "schedule": dict(schedule),
        "seed": seed,
        "backend": backend,
        "decoder_precision": decoder_precision,
        "seconds_train": seconds_train,
        **scores.means,
        "ssim_variant": scores.ssim_variant,
        "lpips_note": scores.lpips_note,
    }
    for metric in METRICS:
        if results[metric] is None and not metric.startswith("lpips"):  # both of LPIPS's are in lpips_note
            results[f"{metric}_note"] = scores.notes.get(metric, "no view was scored")
    if seconds_train is None:
        results["seconds_train_note"] = "the run did not record it"
    results["per_image"] = [{"name": score.name, **score.values} for score in scores.per_image]
    plain: dict[str, Any] = plain_value(results)
    write_json(path, plain)
    return plain


def picture_names(names: Sequence[str]) -> tuple[str, ...]:
    """A file name (no suffix) for each frame: its stem, with the frame's number before it where stems would collide."""
    stems = [Path(name).stem for name in names]
    files = Counter(kind + stem for stem in stems for kind in ("", "error_", "depth_"))
    if "contact_sheet" in files or any(count > 1 for count in files.values()):
        return tuple(f"{index:04d}_{stem}" for index, stem in enumerate(stems))
    return tuple(stems)


def _save_view(
    folder: Path, name: str, view: RenderedView, truth: Tensor, depth_range: tuple[float, float] | None
) -> None:
    extent = pictures.depth_extent(view.depth, view.opacity) if depth_range is None else depth_range
    pictures.save_png(folder / f"{name}.png", view.rgb)
    pictures.save_png(folder / f"error_{name}.png", pictures.error_map(view.rgb, truth))
    pictures.save_png(folder / f"depth_{name}.png", pictures.depth_map(view.depth, extent, view.opacity))


def _lpips_note(lpips: Sequence[LpipsScorer], notes: Mapping[str, str]) -> str:
    if not lpips:
        return NO_LPIPS
    nets: dict[str, list[str]] = {}  # by note without its net: a reason that both have is given once
    for scorer in lpips:
        nets.setdefault(notes.get(f"lpips_{scorer.net}", scorer.note).removeprefix(f"{scorer.net} "), []).append(
            scorer.net
        )
    return "; ".join(
        f"{' and '.join(named)} {note}" if note.startswith("not computed") else note for note, named in nets.items()
    )


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """At most `count` of the indices, evenly spaced, the first and last among them."""
    if len(indices) <= count:
        return list(indices)
    return [indices[round(place * (len(indices) - 1) / (count - 1))] for place in range(count)]
