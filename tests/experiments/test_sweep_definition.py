"""What a sweep's file means: which runs, in which folders, with which options, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from nerf_ssim.errors import ConfigError, SceneError
from nerf_ssim.experiments.sweep.definition import read_sweep, schedule_options, sweep_from
from nerf_ssim.experiments.sweep.runs import expand, make_rooms, refuse_missing_data
from nerf_ssim.images.options import parse_images
from nerf_ssim.models.config import parse
from nerf_ssim.resources import find_resource

SCENES = {
    "config": "room.txt",
    "options": {"N_vis": -1},
    "axes": {
        "scene": ["bundled:room", "scans/office"],
        "model": {"tensorf": {}, "dvgo": {"config": "dvgo_room.txt"}},
        "schedule": ["without", "with", "remove_70", "add_30", "auto"],
        "seed": [1, 2],
    },
}
FITS = {
    "command": "fit-image",
    "config": "siren_small.txt",
    "axes": {"scene": ["kodim05.png"], "ssim_remove_at": [30, "end"], "lr": ["2^-10", "2^-11"], "seed": [3]},
    "best": {"lr": "cost_50"},
}


def runs_of(content, name="s", **options):
    return expand(sweep_from(content, default_name=name), basedir=Path("runs"), **options)


def test_every_combination_is_a_run_in_a_folder_of_its_own():
    runs = runs_of(SCENES)
    assert len(runs) == 2 * 2 * 5 * 2 == len({run.folder for run in runs})
    assert [run.index for run in runs] == list(range(len(runs)))
    assert runs[0].folder == Path("runs/s/room/tensorf/without/seed_1")
    assert runs[-1].folder == Path("runs/s/office/dvgo/auto/seed_2")
    assert [run.names["seed"] for run in runs[:3]] == ["seed_1", "seed_2", "seed_1"], "the last axis varies fastest"


@pytest.mark.slow
@pytest.mark.parametrize(("content", "parse_words"), [(SCENES, parse), (FITS, parse_images)])
def test_a_runs_command_line_says_what_its_options_are(content, parse_words):
    for run in runs_of(content):
        command, *words = run.words()
        assert command == run.command
        assert parse_words(words) == run.config and run.config.run.resume


def test_schedules_are_named_by_what_they_do():
    runs = {run.names["schedule"]: run.config.ssim for run in runs_of(SCENES) if run.names["model"] == "dvgo"}
    assert runs["without"].s3im_weight == 0 and runs["with"].s3im_weight == 1
    assert (runs["remove_70"].ssim_remove_at, runs["add_30"].ssim_add_at) == (70, 30)
    assert runs["auto"].ssim_remove_at == "auto" and runs["add_30"].ssim_remove_at == "end"
    assert schedule_options("without", "fit-image")["ssim_weight"] == 0


def test_any_option_is_an_axis_and_a_power_of_two_is_a_number():
    runs = runs_of(FITS)
    assert [run.title for run in runs[:2]] == [
        "kodim05/siren/remove_30_lr_2^-10/seed_3",
        "kodim05/siren/remove_30_lr_2^-11/seed_3",
    ]
    assert [run.config.optim.lr for run in runs[:2]] == [2**-10, 2**-11]
    assert [run.names["schedule"] for run in runs] == ["remove_30", "remove_30", "with", "with"]


def test_values_with_names_set_any_options_and_exclusions_take_runs_out():
    axes = {
        "scene": ["bundled:room"],
        "schedule": {"with": None, "structure": {"s3im_weight": 0.5}},
        "seed": [1, 2],
    }
    runs = runs_of({"config": "room.txt", "axes": axes, "exclude": [{"schedule": "with", "seed": 2}]})
    assert [run.title for run in runs] == [
        "room/tensorf/with/seed_1",
        "room/tensorf/structure/seed_1",
        "room/tensorf/structure/seed_2",
    ]
    assert runs[1].config.ssim.s3im_weight == 0.5


def test_options_of_the_command_line_are_every_runs_and_data_says_where_scenes_are():
    runs = runs_of(SCENES, overrides={"stop_at": 20}, data=Path("/data"))
    assert {run.config.run.stop_at for run in runs} == {20} == {run.updates for run in runs}
    assert {run.config.data.datadir for run in runs} == {"bundled:room", "/data/scans/office"}


def test_a_hash_tells_results_apart_and_not_names():
    first, *others = runs_of(SCENES)
    again = runs_of(SCENES, name="other")[0]
    assert first.config_hash == again.config_hash
    # The room and the office differ in their data alone, which the scene's own hash tells apart.
    assert len({run.config_hash for run in [first, *others]}) == len(others + [first]) // 2


def test_a_scene_that_is_missing_is_named_and_a_generated_room_is_made_once(tmp_path, monkeypatch):
    made = []

    def write(folder, *, seed):
        made.append(seed)
        folder.mkdir(parents=True)
        return folder

    monkeypatch.setattr("nerf_ssim.datasets.room.write_room", write)
    monkeypatch.chdir(tmp_path)
    runs = runs_of({"config": "room.txt", "axes": {"scene": ["room:7", "gone"]}}, data=tmp_path)
    with pytest.raises(SceneError, match=str(tmp_path / "gone")):
        refuse_missing_data(runs)
    room = Path("data/rooms/room_7")
    assert make_rooms(runs) == [room] and room.is_dir() and runs[0].config.data.datadir == str(room)
    assert make_rooms(runs) == [] and made == [7]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"axis": {}}, "'axis'"),
        ({"command": "evaluate"}, "evaluate"),
        ({"options": {"n_itres": 3}}, "n_iters"),
        ({"axes": {"n_itres": [3]}}, "n_iters"),
        ({"axes": {"schedule": ["sometimes"]}}, "'sometimes'"),
        ({"axes": {"seed": []}}, "seed"),
        ({"axes": {"seed": [1, 1]}}, "twice"),
        ({"axes": {"seed": 1}}, "a list"),
        ({"axes": {"scene": {"a/b": {"datadir": "x"}}}}, "'a/b'"),
        ({"axes": {"seed": [1]}, "exclude": [{"seed": 2}]}, "no 2"),
        ({"axes": {"seed": [1]}, "exclude": [{"seed": 1}]}, "no run is left"),
        ({"axes": {"seed": [1]}, "best": {"seed": "colour"}}, "'colour'"),
        ({"axes": {"seed": {"a": 1, "b": -1}}, "config": "room.txt"}, "seed b"),
        ({"axes": {"schedule": ["remove_70"]}, "options": {"n_iters": 50, "upsamp_list": []}}, "remove_70"),
        ({"axes": {}, "config": None, "options": {}}, "datadir"),
        ({"retries": -1}, "retries"),
        ([], "a sweep"),
    ],
)
def test_what_is_wrong_is_named(change, named):
    content = change if isinstance(change, list) else {"options": {"datadir": "bundled:room"}, **change}
    if isinstance(content, dict) and content.get("config", 0) is None:
        del content["config"]
    with pytest.raises(ConfigError) as raised:
        runs_of(content)
    assert named in str(raised.value)


def test_a_file_is_read_and_its_faults_carry_its_name(tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "parts.yaml"
    path.write_text("config: room.txt\naxes:\n  schedule: {with: , late: {ssim_add_at: 30}}\n  seed: [1]\n")
    sweep = read_sweep(path)
    assert sweep.name == "parts" and list(sweep.axes["schedule"]) == ["with", "late"]
    for text in ("axes: [", "axes: {seed: no}", "colour: 1"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="parts.yaml"):
            read_sweep(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sweep(tmp_path / "none.yaml")


@pytest.mark.slow
def test_every_bundled_sweep_expands(monkeypatch):
    pytest.importorskip("yaml")
    folder = find_resource("configs", "sweeps")
    paths = sorted(folder.glob("*.yaml"))
    assert len(paths) >= 10
    for path in paths:
        assert expand(read_sweep(path), basedir=Path("runs"))
