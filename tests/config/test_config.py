"""A configuration: where values come from, and that it survives being written, stored and changed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nerf_ssim.config.sections import RunConfig, SsimConfig
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.errors import ConfigError
from nerf_ssim.models.config import Config, parse
from nerf_ssim.ssim import luminance, schedule

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def write(folder: Path, text: str, name: str = "run.txt") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_command_line_overrides_file_which_overrides_default(tmp_path):
    file = write(tmp_path, "datadir = a\nlr_init = 0.5\nlr_basis = 0.25\n")
    config = parse(["--config", file, "--lr_init", "0.125"])
    assert (config.model.lr_init, config.model.lr_basis) == (0.125, 0.25)
    assert config.model.TV_weight_app == Config.options()["TV_weight_app"].default


def test_an_overridden_list_is_replaced_not_extended(tmp_path):
    file = write(tmp_path, "datadir = a\nupsamp_list = [100,200]\n")
    assert parse(["--config", file, "--upsamp_list", "300"]).model.upsamp_list == (300,)
    assert parse(["--upsamp_list=[5, 6]", "--config", file]).model.upsamp_list == (5, 6)


def test_an_override_rescues_a_bad_value_in_the_file(tmp_path):
    file = write(tmp_path, "datadir = a\nn_iters = many\n")
    assert parse(["--config", file, "--n_iters", "9000"]).run.n_iters == 9000


def test_the_environment_has_no_say(monkeypatch):
    for name in Config.options():
        monkeypatch.setenv(name, "7")
        monkeypatch.setenv(name.upper(), "7")
    assert parse(["--datadir", "x"]) == Config(data=DataConfig(datadir="x"))


def test_the_last_of_repeated_lines_counts(tmp_path):
    assert parse(["--config", write(tmp_path, "datadir = a\nview_pe = 2\nview_pe = 3\n")]).model.view_pe == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1,2,3]", (1, 2, 3)),
        ("[ 1 , 2 ]  # why", (1, 2)),
        ("1 2", (1, 2)),
        ("1,2", (1, 2)),
        ("[]", ()),
        ("[1e3]", (1000,)),
    ],
)
def test_lists_are_read_in_every_usual_form(tmp_path, text, expected):
    assert parse(["--config", write(tmp_path, f"datadir = a\nvis_at = {text}\n")]).run.vis_at == expected


@pytest.mark.parametrize("text", ["30000", "3e4", "30000.0", "+30000"])
def test_whole_numbers_may_be_scientific(text):
    assert parse(["--datadir", "x", "--n_iters", text]).run.n_iters == 30000


@pytest.mark.parametrize(
    "words", [["--resume"], ["--resume", "1"], ["--resume=true"], ["--resume", "--seed", "3"], ["--resume", "YES"]]
)
def test_booleans_are_flags_and_words(words):
    assert parse(["--datadir", "x", *words]).run.resume is True


def test_a_boolean_can_be_switched_off():
    assert parse(["--datadir", "x", "--render_test", "0"]).run.render_test is False


def test_negative_numbers_are_values():
    assert parse(["--datadir", "x", "--density_shift", "-8"]).model.density_shift == -8.0
    assert parse(["--datadir", "x", "--density_shift=-8e0"]).model.density_shift == -8.0


@pytest.mark.parametrize(("text", "expected"), [("70", 70), ("auto", "auto"), ("end", "end"), ("AUTO", "auto")])
def test_removal_is_an_iteration_or_a_word(text, expected):
    assert parse(["--datadir", "x", "--ssim_remove_at", text]).ssim.ssim_remove_at == expected


def test_a_quoted_value_keeps_its_hash_sign(tmp_path):
    config = parse(["--config", write(tmp_path, "datadir = 'rooms/a #1' # comment\nlabel = \"it's # two\"\n")])
    assert (config.data.datadir, config.data.label) == ("rooms/a #1", "it's # two")


def test_hash_without_a_space_before_it_belongs_to_the_value(tmp_path):
    assert parse(["--config", write(tmp_path, "datadir = rooms/a#1\n")]).data.datadir == "rooms/a#1"


def test_windows_line_ends_and_byte_order_mark_are_no_matter(tmp_path):
    file = tmp_path / "run.txt"
    file.write_bytes("\ufeffdatadir = a\r\nn_iters = 9000\r\n".encode())
    assert parse(["--config", str(file)]).run.n_iters == 9000


def test_run_is_named_after_the_file_unless_it_has_a_name(tmp_path):
    assert parse(["--config", write(tmp_path, "datadir = a\n", "attic.txt")]).run.expname == "attic"
    assert parse(["--config", write(tmp_path, "datadir = a\nexpname = b\n", "attic.txt")]).run.expname == "b"


def test_bare_names_find_bundled_configurations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse(["--config", "room.txt"]) == parse(["--config", "room"])
    write(tmp_path, "datadir = mine\n", "room.txt")
    assert parse(["--config", "room.txt"]).data.datadir == "mine"


def odd_config() -> Config:
    """Every option away from its default where a rule allows it."""
    return Config().replace(
        expname="a #1",
        datadir="rooms/b c",
        n_iters=500,
        stop_at=400,
        vis_at=(1, 70),
        save_at=(70,),
        upsamp_list=[],
        update_AlphaMask_list=[100],
        downsample_test=1.5,
        label='"quoted"',
        lr_init=1 / 3,
        ssim_add_at=3,
        ssim_remove_at="auto",
        white_bg=True,
        seed=2**53,
    )


def test_written_file_reads_back_equal(tmp_path):
    for config in (Config().replace(datadir="x"), odd_config()):
        config.write(tmp_path / "config.txt")
        assert parse(["--config", str(tmp_path / "config.txt")]) == config


def test_written_file_does_not_ask_to_resume_or_overwrite(tmp_path):
    for wish in ("resume", "overwrite"):
        config = odd_config().replace(**{wish: True})
        config.write(tmp_path / "config.txt")
        assert parse(["--config", str(tmp_path / "config.txt")]) == odd_config()


def test_dictionary_survives_json():
    config = odd_config()
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_replace_changes_what_it_names_and_checks_it():
    config = odd_config()
    changed = config.replace(seed=5)
    assert {k for k, v in changed.to_dict().items() if v != config.to_dict()[k]} == {"seed"}
    with pytest.raises(ConfigError, match="did you mean n_iters"):
        config.replace(n_iter=5)
    with pytest.raises(ConfigError, match="stop_at"):
        config.replace(n_iters=300)


def test_a_group_made_by_hand_is_checked_too():
    with pytest.raises(ConfigError, match="n_iters: 0 is out of range"):
        RunConfig(n_iters=0)
    with pytest.raises(ConfigError, match="render_test"):
        RunConfig(render_test=3.5)
    assert DataConfig(datadir=Path("a") / "b").datadir == str(Path("a") / "b")


def test_groups_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().n_iters = 3


def test_no_two_groups_declare_one_name():
    names = [one.name for _, options in Config.groups().values() for one in options]
    assert len(names) == len(set(names)) == len(Config.options())


def test_every_default_is_within_its_own_range():
    for declared in Config.options().values():
        assert declared.convert(declared.default) == declared.default, declared.name
        assert declared.help


def test_convergence_defaults_are_those_of_the_rule():
    assert SsimConfig().ssim_auto_tolerance == luminance.DEFAULT_TOLERANCE
    assert SsimConfig().ssim_auto_watches == schedule.SsimSchedule().watches == "ssim"
    assert SsimConfig().ssim_auto_patience == luminance.DEFAULT_PATIENCE


def test_an_event_after_the_very_last_iteration_is_allowed():
    assert parse(["--datadir", "x", "--n_iters", "7001"]).model.upsamp_list[-1] == 7000


def test_without_ssim_and_its_measurement_the_patch_may_be_anything():
    config = parse(["--datadir", "x", "--s3im_weight", "0", "--luminance_every", "0", "--batch_size", "1000"])
    assert config.model.batch_size == 1000


@pytest.mark.parametrize("name", [f"replica_scene{n}" for n in range(1, 9)])
def test_bundled_replica_configurations_are_canonical(name):
    config = parse(["--config", str(CONFIGS / f"{name}.txt")]).to_dict()
    number = name[-1]
    assert (config["expname"], config["datadir"]) == (name, f"./data/Replica/scan{number}")
    canonical = {
        "n_iters": 30000,
        "batch_size": 4096,
        "N_voxel_init": 2097156,
        "N_voxel_final": 27000000,
        "upsamp_list": [2000, 3000, 4000, 5500, 7000],
        "update_AlphaMask_list": [2000, 4000],
        "n_lamb_sigma": [16, 16, 16],
        "n_lamb_sh": [48, 48, 48],
        "shadingMode": "MLP_Fea",
        "view_pe": 2,
        "fea_pe": 2,
        "TV_weight_density": 0.1,
        "TV_weight_app": 0.01,
        "L1_weight_inital": 0.0,
        "s3im_weight": 5.0 if number == "8" else 1.0,
        "ssim_remove_at": "end",
        "step_ratio": 0.5,
        "aabb_scale": 1.2,
        "box_about": "origin",
        "white_bg": False,
        "downsample_train": 1.0,
        "seed": 20211202,
    }
    assert {key: config[key] for key in canonical} == canonical


def test_small_replica_differs_from_the_canonical_one_only_in_size():
    small = parse(["--config", str(CONFIGS / "replica_small.txt")]).to_dict()
    canonical = parse(["--config", str(CONFIGS / "replica_scene1.txt")]).to_dict()
    differing = {key: small[key] for key in small if small[key] != canonical[key]}
    assert differing == {
        "expname": "replica_small",
        "downsample_train": 3.0,
        "n_iters": 1500,
        "batch_size": 1024,
        "s3im_patch_height": 32,
        "s3im_patch_width": 32,
        "N_voxel_init": 64**3,
        "N_voxel_final": 128**3,
        "upsamp_list": [400, 600, 800],
        "update_AlphaMask_list": [400, 800],
        "vis_every": 500,
    }


def test_fast_is_the_canonical_run_shortened_thinned_and_with_drawn_colours():
    fast = parse(["--config", str(CONFIGS / "fast.txt")]).to_dict()
    canonical = parse(["--config", str(CONFIGS / "replica_scene1.txt")]).to_dict()
    differing = {key: fast[key] for key in fast if fast[key] != canonical[key]}
    assert differing == {
        "expname": "fast",
        "n_iters": 6000,
        "color_samples": 32,
        "decoder_precision": "bf16",
        "test_color_samples": 64,
        "N_voxel_final": 256**3,
        "upsamp_list": [500, 800, 1100, 1500, 1900],
        "update_AlphaMask_list": [500, 1100],
        "lr_decay_target_ratio": 0.05,
    }


def test_room_trains_on_the_bundled_scene_and_can_be_cut_to_500():
    config = parse(["--config", str(CONFIGS / "room.txt"), "--ssim_remove_at", "70", "--n_iters", "500", "--seed", "1"])
    assert config.data.datadir == "bundled:room"


def test_help_shows_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for name, declared in Config.options().items():
        assert f"--{name} " in text
        assert f"default {declared.write(declared.default) or 'none'})" in text


def test_configuration_does_not_import_torch():
    code = "import sys, nerf_ssim.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
