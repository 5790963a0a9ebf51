"""Which scenes and pictures the paper's tables and figures are made of, and which of them are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nerf_ssim.errors import SceneError
from nerf_ssim.experiments.sweep.definition import GENERATED_ROOM, Options
from nerf_ssim.files import user_path
from nerf_ssim.images.target import list_images

__all__ = ["Scale", "Scenes", "choose_pictures", "choose_scenes"]

Scale = Literal["small", "full"]

REPLICA = tuple(f"data/Replica/scan{number}" for number in range(1, 9))
GENERATED = tuple(f"room:{seed}" for seed in range(1, 9))
SIZE_OF_SMALL = 128


@dataclass(frozen=True)
class Scenes:
    """Scenes to train on.

    Attributes:
        axis: by name, the options of each.
        configs: by model, the configuration file.
        missing: those that were asked for and are not there.
    """

    axis: Mapping[str, Options]
    configs: Mapping[str, str]
    missing: Sequence[str]


def choose_scenes(asked: Sequence[str], scale: Scale, *, is_of_one_scene: bool) -> Scenes:
    """The scenes that are there of those asked for, or of Replica's eight where none are.

    Args:
        asked: folders, `bundled:room`, `room:SEED`, or `rooms`: eight generated ones.
        scale: small takes configurations for images of 128x128 pixels.
        is_of_one_scene: a figure of one scene takes the first, which of `rooms` is the bundled one.
    Raises:
        SceneError: none is there.
    """
    rooms = ("bundled:room",) if is_of_one_scene else GENERATED
    given = [scene for one in (asked or REPLICA) for scene in (rooms if one == "rooms" else (one,))]
    present = [scene for scene in given if is_room(scene) or Path(scene).is_dir()]
    missing = [scene for scene in given if scene not in present]
    if not present:
        raise SceneError(
            f"not there: {', '.join(missing)}; nerf-ssim data download replica fetches Replica, --scenes DIR,DIR names "
            "other scenes, and --scenes rooms takes generated ones"
        )
    if is_of_one_scene:
        present, missing = present[:1], missing if given[0] in missing else []
    is_all_rooms = all(map(is_room, present))
    axis = {name_of(scene): options_of(scene, scale, is_all_rooms) for scene in present}
    return Scenes(axis, configs_of(scale, is_all_rooms), missing)


def is_room(scene: str) -> bool:
    """Whether a scene is the bundled room or a generated one."""
    return scene == "bundled:room" or GENERATED_ROOM.fullmatch(scene) is not None


def name_of(scene: str) -> str:
    """Of a scene, for its folder."""
    found = GENERATED_ROOM.fullmatch(scene)
    return f"room_{found[1]}" if found else Path(scene.rpartition(":")[2]).name


def options_of(scene: str, scale: Scale, is_all_rooms: bool) -> Options:
    """Of a scene: where it is, and what its configuration does not fit."""
    options: Options = {"datadir": scene}
    if is_room(scene) and scale == "small" and not is_all_rooms:
        options["downsample_train"] = 1  # beside scenes that are shrunk to the rooms' size
    if Path(scene).name == "scan8":
        options["s3im_weight"] = 5.0  # as configs/replica_scene8.txt has it
    return options


def configs_of(scale: Scale, is_all_rooms: bool) -> dict[str, str]:
    """The configuration file of each model."""
    if scale == "full":
        return {"tensorf": "replica_scene1.txt", "dvgo": "dvgo_replica_scene1.txt"}
    if is_all_rooms:
        return {"tensorf": "room.txt", "dvgo": "dvgo_room.txt"}
    return {"tensorf": "replica_small.txt", "dvgo": "dvgo_replica_small.txt"}


def choose_pictures(image: str | None, images: str | None) -> dict[str, Options]:
    """By name, the option of each picture to fit.

    Raises:
        SceneError: none is named, or there is none.
    """
    if image is None and images is None:
        raise SceneError("pictures: none named; give a picture with --image, or a folder of them with --images")
    paths = [user_path(image)] if image is not None else list_images(str(images))
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise SceneError(f"not there: {', '.join(missing)}")
    return {path.stem: {"image": str(path)} for path in paths}
