"""DVGO's options: its users' names, defaults by model, and options of the other model."""

from __future__ import annotations

from pathlib import Path

import pytest

from nerf_ssim.cli.main import main
from nerf_ssim.errors import ConfigError
from nerf_ssim.models.config import Config, parse

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DVGO = ["--datadir", "x", "--model", "dvgo"]
CANONICAL_THRESHOLDS = ((0, 5e-6), (1500, 1e-5), (2500, 2.5e-5), (3500, 1e-4 / 3), (4500, 5e-5), (5500, 1e-4))


def write(folder: Path, text: str) -> str:
    (folder / "run.txt").write_text(text)
    return str(folder / "run.txt")


def test_dvgos_names_for_shared_options_mean_the_same(tmp_path):
    file = write(tmp_path, "datadir = a\nmodel = dvgo\nN_iters = 3000\nN_rand = 1024\n")
    patch = ["--s3im_patch_height", "32", "--s3im_patch_width", "32", "--pg_scale", "1000"]
    config = parse(["--config", file, *patch])
    assert (config.run.n_iters, config.model.batch_size) == (3000, 1024)
    assert parse(["--config", file, *patch, "--n_iters", "2000"]).run.n_iters == 2000
    assert parse(["--config", file, *patch, "--N_iters", "2500"]).run.n_iters == 2500


@pytest.mark.parametrize("lines", ["n_iters = 7\nN_iters = 9", "N_iters = 7\nn_iters = 9"])
def test_the_last_of_both_names_counts(tmp_path, lines):
    file = write(tmp_path, f"datadir = a\nmodel = dvgo\npg_scale = []\n{lines}\n")
    assert parse(["--config", file]).run.n_iters == 9


def test_defaults_are_the_models():
    assert parse(DVGO).run.seed == 777 and parse(["--datadir", "x"]).run.seed == 20211202
    assert parse(DVGO).data.white_bg is True and parse(["--datadir", "x"]).data.white_bg is False
    assert parse([*DVGO, "--seed", "5", "--white_bg", "0"]).run.seed == 5


def test_the_defaults_and_the_bundled_scenes_are_the_canonical_run():
    for config in (parse(DVGO), parse(["--config", str(CONFIGS / "dvgo_replica_scene1.txt")])):
        dvgo = config.model
        assert (config.run.n_iters, config.model.batch_size, config.ssim.s3im_weight) == (30000, 4096, 1.0)
        assert dvgo.num_voxels == dvgo.num_voxels_base == 320**3 and dvgo.pg_scale == tuple(range(1000, 7001, 1000))
        assert dvgo.fast_color_thres == CANONICAL_THRESHOLDS
        assert (dvgo.alpha_init, dvgo.stepsize, dvgo.bg_len, dvgo.decay_after_scale) == (1e-4, 0.5, 0.2, 1.0)
        assert (dvgo.rgbnet_dim, dvgo.rgbnet_depth, dvgo.rgbnet_width, dvgo.viewbase_pe) == (12, 3, 128, 4)
        assert (dvgo.lrate_density, dvgo.lrate_k0, dvgo.lrate_rgbnet, dvgo.lrate_decay) == (0.1, 0.1, 1e-3, 20)
        assert (dvgo.weight_distortion, dvgo.weight_entropy_last, dvgo.weight_rgbper) == (0.01, 1e-3, 0.01)
        assert (dvgo.weight_tv_density, dvgo.weight_tv_k0, dvgo.tv_dense_before) == (1e-6, 1e-7, 10000)
        assert dvgo.rand_bkgd and config.data.white_bg and dvgo.unbounded_inward
    scenes = [parse(["--config", str(CONFIGS / f"dvgo_replica_scene{k}.txt")]) for k in range(1, 9)]
    assert [scene.data.datadir for scene in scenes] == [f"./data/Replica/scan{k}" for k in range(1, 9)]
    assert [scene.ssim.s3im_weight for scene in scenes] == [1.0] * 7 + [5.0]
    assert len({scene.model for scene in scenes}) == 1


def test_the_bundled_bounded_run_is_the_canonical_one():
    config = parse(["--config", str(CONFIGS / "dvgo_bounded.txt")])
    dvgo = config.model
    assert (config.run.n_iters, dvgo.coarse_iters, dvgo.schedule_starts_at) == (25000, 5000, 5000)
    assert config.model.batch_size == 8192 == config.ssim.s3im_patch_height * config.ssim.s3im_patch_width
    assert (dvgo.coarse_num_voxels, dvgo.coarse_alpha_init, dvgo.coarse_fast_color_thres) == (1024000, 1e-6, 1e-7)
    assert (dvgo.coarse_weight_entropy_last, dvgo.coarse_weight_rgbper) == (0.01, 0.1)
    assert (dvgo.num_voxels, dvgo.num_voxels_base, dvgo.pg_scale) == (160**3, 160**3, (1000, 2000, 3000, 4000))
    assert (dvgo.alpha_init, dvgo.fast_color_thres, dvgo.world_bound_scale) == (1e-2, ((0, 1e-4),), 1.05)
    assert (dvgo.weight_entropy_last, dvgo.weight_rgbper, dvgo.weight_distortion) == (1e-3, 0.01, 0)
    assert dvgo.weight_tv_density == dvgo.weight_tv_k0 == 0 and not dvgo.rand_bkgd and not config.data.white_bg
    assert dvgo.bbox_thres == dvgo.mask_cache_thres == 1e-3 and dvgo.pervoxel_lr and dvgo.maskout_near_cam_vox


def test_the_bounded_room_differs_from_the_canonical_bounded_run_in_size_and_in_the_coarse_stages_start_alone():
    names = ("dvgo_bounded.txt", "dvgo_bounded_room.txt")
    canonical, room = (parse(["--config", str(CONFIGS / name)]).to_dict() for name in names)
    changed = {name for name in canonical if canonical[name] != room[name]}
    sizes = "n_iters batch_size coarse_iters coarse_num_voxels num_voxels num_voxels_base pg_scale vis_every"
    others = "coarse_alpha_init coarse_fast_color_thres s3im_patch_height s3im_patch_width datadir dataset_name expname"
    assert changed == {*sizes.split(), *others.split()}


@pytest.mark.parametrize("name", ["dvgo_replica_small", "dvgo_room"])
def test_the_small_runs_differ_from_the_canonical_one_in_size_alone(name):
    config, canonical = parse(["--config", str(CONFIGS / f"{name}.txt")]), parse(DVGO)
    assert config.model.batch_size == 1024 and config.model.pg_scale == (100, 200, 300)
    sizes = {"num_voxels": 320**3, "num_voxels_base": 320**3, "pg_scale": canonical.model.pg_scale, "n_iters": 30000}
    patch = {"batch_size": 4096, "s3im_patch_height": 64, "s3im_patch_width": 64}
    same = config.replace(**sizes, **patch)
    assert same.model == canonical.model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", ((0, 1e-4),)),
        ("{0: 5e-6, 1500: 1e-5}", ((0, 5e-6), (1500, 1e-5))),
        ("{0:0}", ((0, 0.0),)),
    ],
)
def test_a_threshold_is_a_number_or_changes_on_the_way(text, expected):
    assert parse([*DVGO, "--fast_color_thres", text]).model.fast_color_thres == expected


@pytest.mark.parametrize("text", ["{1: 2}", "{0: 1e-4, 0: 2e-4}", "{5: 1, 0: 2}", "{0: 1e-4", "{}", "{0 1}", "x", "2"])
def test_malformed_thresholds_are_one_line(text, capsys):
    assert main(["train", *DVGO, "--fast_color_thres", text]) == 2
    assert capsys.readouterr().err.startswith("nerf-ssim: --fast_color_thres: ")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ([*DVGO, "--lr_init", "1"], ["--lr_init", "--model tensorf", "lrate_density"]),
        (["--datadir", "x", "--num_voxels", "1000"], ["--num_voxels", "--model dvgo", "N_voxel"]),
        (["--datadir", "x", "--bg_len", "1"], ["--bg_len", "--model dvgo"]),
        (["--config", "replica_small.txt", "--model", "dvgo"], ["replica_small.txt", "--model tensorf", "dvgo"]),
    ],
)
def test_an_option_of_the_other_model_is_one_clear_line(argv, parts, capsys):
    assert main(["train", *argv]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(part in lines[0] for part in parts)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pg_scale": [5, 3]}, "pg_scale"),
        ({"rgbnet_direct": False, "rgbnet_dim": 3}, "rgbnet_direct"),
        ({"rgbnet_direct": False, "decoder_precision": "bf16"}, "decoder_precision"),
        ({"num_voxels": 64}, "num_voxels"),
        ({"unbounded_inward": False}, "weight_distortion"),
        ({"unbounded_inward": False, "weight_distortion": 0, "n_iters": 5000, "pg_scale": []}, "coarse"),
        ({"decoder_precision": "bf16", "rgbnet_depth": 4}, "decoder_precision"),
        ({"batch_size": 1000}, "batch_size"),
    ],
)
def test_contradictions_are_named(changes, named):
    with pytest.raises(ConfigError, match=named):
        Config().replace(model="dvgo", datadir="x", **changes)


def test_the_ssim_schedule_of_a_bounded_run_must_fit_its_fine_stage():
    bounded = {"model": "dvgo", "datadir": "x", "unbounded_inward": False, "weight_distortion": 0, "pg_scale": []}
    with pytest.raises(ConfigError, match="ssim_remove_at: 1500 is beyond n_iters 1000"):
        Config().replace(n_iters=6000, ssim_remove_at=1500, **bounded)


def test_a_run_is_written_with_its_own_models_options_and_read_back(tmp_path):
    config = parse([*DVGO, "--fast_color_thres", "{0: 1e-6, 3: 2e-6}", "--alpha_init", "0.01"])
    config.write(tmp_path / "config.txt")
    text = (tmp_path / "config.txt").read_text()
    assert "lr_init" not in text and "fast_color_thres = {0: 1e-06, 3: 2e-06}" in text
    assert parse(["--config", str(tmp_path / "config.txt")]) == config == Config.from_dict(config.to_dict())
    assert "num_voxels" not in parse(["--datadir", "x"]).to_dict()


def test_each_model_has_its_own_grid_unless_told_otherwise():
    assert (Config().model.grid, Config().replace(model="dvgo").model.grid) == ("vm", "dense")
    assert Config().replace(model="dvgo", grid="vm").model.grid == "vm"
    assert Config().replace(seed=5).replace(model="dvgo").run.seed == 5, "what was chosen stays"
    assert Config().replace(model="dvgo").run.seed == 777


def test_the_published_name_of_a_grid_is_read_wherever_it_stands():
    assert parse(["--datadir", "x", "--model_name", "TensorVMSplit"]).model.grid == "vm"
    old = {"model_name": "TensorCP", "n_lamb_sigma": [96], "n_lamb_sh": [288]}  # as checkpoints had it
    assert Config.from_dict(old).model.grid == "cp"
    assert Config.from_dict(old).replace(model_name="TensorVMSplit", n_lamb_sigma=[1, 2, 3], n_lamb_sh=[1, 2, 3])
