"""Figures of pictures: a test view by updates under each schedule (4), error maps of the three methods (5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nerf_ssim.experiments.paper.curves import title_of
from nerf_ssim.experiments.paper.definitions import VIEW_MOMENTS
from nerf_ssim.experiments.paper.finished import Finished, by_scene
from nerf_ssim.experiments.paper.tables import METHODS
from nerf_ssim.experiments.report.layout import load_pyplot, save_figure, table

__all__ = ["draw_errors", "draw_views"]


def draw_views(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """The first test view after a few hundred updates, a row a schedule, with its PSNR: figure 4."""
    from nerf_ssim.evaluation import pictures
    from nerf_ssim.evaluation.metrics import psnr
    from nerf_ssim.training.trained import load_trained

    pyplot, rows = load_pyplot(), []
    for scene, schedules in by_scene(finished).items():
        places = {word: checkpoints_of(of_seeds[0]) for word, of_seeds in schedules.items()}
        moments = sorted({update for of_run in places.values() for update in of_run})
        figure, axes = pyplot.subplots(
            len(places), len(moments) + 1, squeeze=False, figsize=(1.9 * (len(moments) + 1), 2.1 * len(places))
        )
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
        for line, (word, of_run) in zip(axes, places.items(), strict=True):
            line[0].set_ylabel(title_of(word))
            for axis, update in zip(line[1:], moments, strict=True):
                if update not in of_run:
                    continue
                trained = load_trained(schedules[word][0].folder, checkpoint=of_run[update])
                views = trained.scene.test
                truth, rendered = views.images[0].float() / 255.0, trained.render_view(views, 0).rgb
                score = psnr(rendered, truth)
                rows.append([scene, title_of(word), update, score])
                line[0].imshow(views.images[0].cpu().numpy())
                axis.imshow(pictures.to_bytes(rendered))
                axis.set_title(f"{update}: {score:.1f} dB", fontsize=8)
        axes[0][0].set_title("photograph", fontsize=8)
        save_figure(figure, folder / f"{name}_{scene}.png")
    return table(["scene", "schedule", "updates", "PSNR of the view (dB)"], rows)


def checkpoints_of(one: Finished) -> dict[int, Path]:
    """The lasting checkpoints of a run at the moments of figure 4, and its last one."""
    lasting = {int(path.stem): path for path in (one.folder / "checkpoints" / "lasting").glob("*.pt")}
    chosen = {update: path for update, path in lasting.items() if update in VIEW_MOMENTS}
    if not chosen:
        newest = sorted((one.folder / "checkpoints").glob("*.pt"))
        chosen = {int(path.stem): path for path in newest[-1:]}
    return dict(sorted(chosen.items()))


def draw_errors(finished: Sequence[Finished], folder: Path, name: str) -> str:
    """Error maps of the methods where each fit stopped, on one scale a picture: figure 5."""
    from nerf_ssim.evaluation import pictures
    from nerf_ssim.images.fits import load_values

    pyplot, rows = load_pyplot(), []
    for picture, fits in by_scene(finished).items():
        present = [method for method in METHODS if method in fits]
        values = {method: load_values(fits[method][0].run.folder) for method in present}
        largest = max((fitted.double() - truth).square().mean().sqrt().item() for fitted, truth in values.values())
        widths = {"width_ratios": [*(1.0 for _ in present), 0.05]}
        size = 3.2 * len(present) + 0.6, 3.6
        figure, axes = pyplot.subplots(1, len(present) + 1, squeeze=False, figsize=size, gridspec_kw=widths)
        for axis, (method, (fitted, truth)) in zip(axes[0][:-1], values.items(), strict=True):
            results = fits[method][0].results
            axis.imshow(pictures.error_map(fitted.double(), truth, 2 * largest))
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{METHODS[method]}, step {results['stopped_at']}", fontsize=9)
            rows.append([picture, METHODS[method], results["stopped_at"], 2 * largest])
        scale = pyplot.cm.ScalarMappable(pyplot.Normalize(0, 2 * largest), "inferno")
        figure.colorbar(scale, cax=axes[0][-1], label="absolute error")
        figure.suptitle(picture, fontsize=10)
        save_figure(figure, folder / f"{name}_{picture}.png")
    return table(["picture", "method", "step", "full scale"], rows)
