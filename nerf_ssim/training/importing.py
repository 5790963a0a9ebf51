"""From another program's checkpoint to a run here: the field, and where in its schedule training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nerf_ssim.config.options import shown
from nerf_ssim.datasets.scene_record import scene_of_record, scene_record
from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.models.config import Config
from nerf_ssim.models.imported import ForeignModel
from nerf_ssim.models.options import ModelOptions
from nerf_ssim.models.recipe import Recipe, make_recipe
from nerf_ssim.runs.checkpoints import saved_config
from nerf_ssim.runs.device import precision_record
from nerf_ssim.runs.folder import RunFolder
from nerf_ssim.runs.metrics_log import MetricsLog
from nerf_ssim.runs.schedule import make_schedule
from nerf_ssim.training.journal import columns_of
from nerf_ssim.training.session import Session, describe_scene, make_generators, make_s3im, scene_on
from nerf_ssim.training.state import refuse_unsound_run

__all__ = ["changed_options", "import_model", "import_portable"]


def import_model(model: ForeignModel, config: Config[ModelOptions], iteration: int | None = None) -> tuple[Path, int]:
    """Makes the run that `config` names of a published model, with a checkpoint as of `iteration` updates.

    With `datadir` the run can be rendered, scored and continued like any other; without, its field is rendered along
    cameras that a file gives.

    Args:
        config: the options, fitted to the model (`ForeignModel.fitted`).
        iteration: updates after which the schedule goes on; the checkpoint's own number where it has one, else the
            end.
    Returns:
        The run's folder and its updates.
    Raises:
        UserError: the options do not fit the checkpoint or the scene, or the folder already holds a run.
    """
    own = model.iteration(config)
    updates = own if iteration is None and own is not None else config.run.n_iters if iteration is None else iteration
    if not 0 <= updates <= config.run.n_iters:
        raise ConfigError(
            f"--iteration: {updates} updates are beyond n_iters {config.run.n_iters}; give a schedule that has as many"
        )
    folder = _with_scene(model, config, updates) if config.data.datadir else _without_scene(model, config, updates)
    return folder, updates


def import_portable(path: Path, payload: dict[str, Any], out: Path, datadir: str | None = None) -> tuple[Path, int]:
    """Makes the run `out` of an exported checkpoint, which goes on exactly as the run that it was exported from.

    Args:
        path: the exported file, for errors.
        payload: what `runs.portable.read_portable` read from it.
        datadir: where the scene is now, if it has moved.
    Returns:
        The run's folder and its updates.
    Raises:
        UserError: a payload that is no run's, or a folder that already holds a run.
    """
    missing = [key for key in ("config", "recipe", "schedule", "iteration", "model", "seconds") if key not in payload]
    if missing:
        raise CheckpointError(f"{path}: has no {', '.join(missing)}, so it is no run's")
    place = {"expname": out.name, "basedir": str(out.parent), "resume": False, "overwrite": False}
    saved: Config[ModelOptions] = saved_config(path, payload, Config)
    refuse_unsound_run(path, payload, saved)
    config = saved.replace(**place, **({} if datadir is None else {"datadir": datadir}))
    folder: RunFolder[Config[Any]] = RunFolder(config, model=str(payload["model"]), required=())
    names = config.model.recipe()
    record = payload.get("scene")
    data = {} if record is None else describe_scene(scene_of_record(record))
    own = ("format", "format_version", "project_version", "model", "config", "iteration")
    with _opened(folder, data, (names.terms, names.rates)):
        folder.save({key: value for key, value in payload.items() if key not in own}, payload["iteration"])
    folder.close()
    return folder.path, payload["iteration"]


def changed_options(before: Config[ModelOptions], after: Config[ModelOptions]) -> list[str]:
    """The options that a checkpoint decided otherwise than they were, a few words each."""
    was, now = before.to_dict(), after.to_dict()
    return [f"{name} {_shown(value)}" for name, value in now.items() if name not in was or was[name] != value]


def _with_scene(model: ForeignModel, config: Config[ModelOptions], updates: int) -> Path:
    session = Session(config)
    _install(model, session.recipe, session.batches, updates)
    session.iteration = updates
    with session.open_log():
        session.save()
    session.folder.close()
    return session.folder.path


def _without_scene(model: ForeignModel, config: Config[ModelOptions], updates: int) -> Path:
    """A run that can be rendered: a checkpoint of a scene without views or pixels."""
    folder: RunFolder[Config[Any]] = RunFolder(config, model=config.model.model, required=())
    config = folder.config
    scene = scene_on(model.scene(), config.run.device)
    generators = make_generators(config)
    recipe = make_recipe(config, scene, generators)
    _install(model, recipe, None, updates)
    schedule = make_schedule(config.ssim, config.ssim.s3im_weight, config.run.n_iters, config.model.schedule_starts_at)
    s3im = make_s3im(config)
    with _opened(folder, describe_scene(scene), (recipe.terms, recipe.rates)):
        folder.save(
            {
                "scene_hash": scene.content_hash,
                "scene": scene_record(scene),
                "recipe": recipe.state_dict(),
                "schedule": schedule.state_dict(),
                "generators": generators.state_dict(),
                "batches": {},
                "s3im": None if s3im is None else s3im.get_state(),
                "seconds": 0.0,
            },
            updates,
        )
    folder.close()
    return folder.path


def _opened(
    folder: RunFolder[Config[Any]], data: dict[str, Any], names: tuple[Sequence[str], Sequence[str]]
) -> MetricsLog:
    """The folder's log, which comes with its manifest and options; `names` are of the loss terms and the rates."""
    config = folder.config
    precision = {"decoder_precision": precision_record(config.model.decoder_precision, config.run.device)}
    return folder.open_log(data=data, columns=columns_of(*names), precision=precision)


def _install(model: ForeignModel, recipe: Recipe, batches: Any, updates: int) -> None:
    try:
        model.install(recipe, batches, updates)
    except (RuntimeError, ValueError, KeyError) as error:  # PyTorch's own, of shapes that do not fit
        raise CheckpointError(f"{model.path}: its tensors do not fit what it says of its field ({error})") from error


def _shown(value: object) -> str:
    return shown(value).replace(" ", "") if isinstance(value, list) else str(value)
