"""`nerf-ssim evaluate RUN`: score a finished or stopped run again."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nerf_ssim.cli.run_parser import RunParser
from nerf_ssim.errors import ConfigError, FileError, explain_os_error
from nerf_ssim.evaluation.metrics import SSIM_VARIANTS
from nerf_ssim.files import user_path

if TYPE_CHECKING:
    from nerf_ssim.training.trained import Trained


def run(argv: Sequence[str]) -> int:
    """Render a split of the run, score it, write pictures and results, print a table.

    The latest checkpoint's test split goes where training puts it (`test/` and `results.json` in the run's folder);
    the train split to `train/` and `results_train.json`; another checkpoint's under `evaluation_<checkpoint>/`, so
    that the run's own results stay. Scores of other data than the run was trained on go to `results_<scene>.json`.

    Returns:
        0, or 130 or 143 when interrupted: pictures so far are kept, earlier results are not touched.
    Raises:
        UserError: no such run, checkpoint, scene or weights folder, or results that cannot be written.
    """
    options = _parser().parse_args(argv)
    if options.lpips_weights is not None and not options.lpips_weights.is_dir():
        raise ConfigError(
            f"--lpips_weights {options.lpips_weights}: no such folder; it should hold alexnet_features.pth"
        )

    from nerf_ssim.evaluation.perceptual import lpips_scorers
    from nerf_ssim.evaluation.protocol import score_views, write_results
    from nerf_ssim.runs.interrupts import ended_by_signals, exit_code_of
    from nerf_ssim.runs.leftovers import remove_abandoned
    from nerf_ssim.training.trained import load_trained

    trained = load_trained(options.run, datadir=options.datadir, checkpoint=options.checkpoint)
    views = getattr(trained.scene, options.split)
    configured = trained.config.evaluation
    variant = options.ssim_variant or configured.ssim_variant
    folder = options.run if options.checkpoint is None else options.run / f"evaluation_{options.checkpoint.stem}"
    # Scores of other data than the run's own never stand where its own are looked for.
    other = f"_{trained.scene.name}" if trained.difference else ""
    results_path = folder / f"results{other}{'' if options.split == 'test' else f'_{options.split}'}.json"
    pictures = folder / f"{options.split}{other}"
    if other:
        said = f"{trained.scene.name} is not the data that {options.run} was trained on ({trained.difference})"
        print(f"{said}: its scores go to {results_path}", file=sys.stderr)
    remove_abandoned(folder, nested=False)
    remove_abandoned(pictures)
    try:
        with ended_by_signals():
            scores = score_views(
                lambda index: trained.render_view(views, index),
                views,
                pictures,
                ssim_variant=variant,
                lpips=lpips_scorers(options.lpips_weights or configured.lpips_weights),
                title=_title(trained, options.split),
                progress=not options.json,
            )
        results = write_results(
            results_path,
            scores,
            scene=trained.scene.name,
            model=trained.config.model.model,
            label=_label(trained),
            iterations=trained.config.run.n_iters,
            stopped_at=trained.iteration,
            schedule=trained.schedule_summary,
            seed=trained.config.run.seed,
            backend=trained.manifest.get("backend"),
            decoder_precision=trained.manifest.get("decoder_precision"),
            seconds_train=trained.seconds,
        )
    except KeyboardInterrupt as interrupt:
        print(f"interrupted: the pictures so far are in {pictures}; {results_path} is as it was")
        return exit_code_of(interrupt)
    except OSError as error:
        raise FileError(explain_os_error(error, path=folder, doing="written")) from error
    print(json.dumps(results, allow_nan=False) if options.json else _table(results))
    if not options.json:
        print(f"pictures: {pictures}  results: {results_path}")
    return 0


def _parser() -> RunParser:
    parser = RunParser("evaluate", "Score a finished or stopped run: PSNR, SSIM, LPIPS, pictures, results.json.")
    parser.add_argument("--split", choices=("test", "train"), default="test", help="the views to score (default: test)")
    parser.add_argument(
        "--ssim_variant", choices=SSIM_VARIANTS, help="whose SSIM to compute (default: as the run was configured)"
    )
    parser.add_argument(
        "--lpips_weights", type=user_path, metavar="DIR", help="folder with alexnet_features.pth and vgg16_features.pth"
    )
    parser.add_argument("--json", action="store_true", help="print results.json on one line instead of the table")
    return parser


def _title(trained: Trained, split: str) -> str:
    label = f" ({_label(trained)})" if _label(trained) else ""
    return f"{trained.scene.name}{label}, {split} views after {trained.iteration} iterations"


def _label(trained: Trained) -> str | None:
    return trained.config.data.label or trained.scene.label


def _table(results: dict[str, Any]) -> str:
    """One line a view and the mean, the way a person compares them."""
    from nerf_ssim.evaluation.scores import score_cells, score_titles

    width = max(len(name) for name in ("mean", *(image["name"] for image in results["per_image"])))

    def row(name: str, values: dict[str, Any]) -> str:
        return "  ".join((name.ljust(width), *(cell.rjust(10) for cell in score_cells(values))))

    label = f" ({results['label']})" if results["label"] else ""
    progress = f"{results['stopped_at']} of {results['iterations']} iterations"
    lines = [f"{results['scene']}{label}, {results['model']}, {progress}"]
    lines.append("  ".join(("view".ljust(width), *(title.rjust(10) for title in score_titles()))))
    lines += [row(image["name"], image) for image in results["per_image"]]
    lines.append(row("mean", results))
    lines.append(f"SSIM as {results['ssim_variant']}; LPIPS: {results['lpips_note']}")
    lines += [results[key] for key in ("psnr_note", "ssim_note") if key in results]
    return "\n".join(lines)
