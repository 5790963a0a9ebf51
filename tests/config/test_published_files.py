"""The published TensoRF and S3IM configurations, as keys and values, are read as they are."""

from __future__ import annotations

import logging

import pytest

from nerf_ssim.config import published as published_options
from nerf_ssim.errors import ConfigError
from nerf_ssim.models.config import Config, parse

SCHEDULE = """
n_iters = 30000
batch_size = 4096

N_voxel_init = 2097156 # 128**3
N_voxel_final = 27000000 # 300**3
upsamp_list = [2000,3000,4000,5500,7000]
update_AlphaMask_list = [2000,4000]
"""
MODEL = """
n_lamb_sigma = [16,16,16]
n_lamb_sh = [48,48,48]

shadingMode = MLP_Fea
fea2denseAct = softplus

view_pe = 2
fea_pe = 2
"""
CP_NOTE = """
## please uncomment the following for the CP model
#model_name = TensorCP
#n_lamb_sigma = [96]
#n_lamb_sh = [288]
#N_voxel_final = 125000000 # 500**3
#L1_weight_inital = 1e-5
#L1_weight_rest = 1e-5
"""
S3IM_REPLICA = (
    "dataset_name = replica\ndatadir = ./data/Replica/scan1\nexpname =  tensorf_replica_scan1_VM_s3im_1.0\n"
    "basedir = ./logs/replica_exp/tensorf\n"
    + SCHEDULE
    + "\nN_vis = 5\nvis_every = 1000\n\nrender_test = 1\n"
    + MODEL
    + "\nTV_weight_density = 0.1\nTV_weight_app = 0.01\ns3im_weight = 1.0\n"
    + CP_NOTE
)
LEGO = (
    "\ndataset_name = blender\ndatadir = ./data/nerf_synthetic/lego\nexpname =  tensorf_lego_VM\nbasedir = ./log\n"
    + SCHEDULE
    + "\nN_vis = 5\nvis_every = 10000\n\nrender_test = 1\nmodel_name = TensorVMSplit\n"
    + MODEL
    + "\nL1_weight_inital = 8e-5\nL1_weight_rest = 4e-5\nrm_weight_mask_thre = 1e-4\n"
    + CP_NOTE
)
WINEHOLDER = (
    LEGO.replace("= blender", "= nsvf")
    .replace("nerf_synthetic/lego", "Synthetic_NSVF/Wineholder")
    .replace("lego_VM", "Wineholder_VM")
    .replace("model_name = TensorVMSplit\n", "")
)
TRUCK = (
    "dataset_name = tankstemple\ndatadir = ./data/TanksAndTemple/Truck\nexpname =  tensorf_truck_VM\nbasedir = ./log\n"
    + SCHEDULE
    + MODEL
    + "TV_weight_density = 0.1\nTV_weight_app = 0.01\n"
)
OWN_DATA = (
    "dataset_name = own_data\ndatadir = ./data/xxx\nexpname =  tensorf_xxx_VM\nbasedir = ./log\n"
    + SCHEDULE
    + MODEL
    + "\nview_pe = 2\nfea_pe = 2\n\nTV_weight_density = 0.1\nrm_weight_mask_thre = 1e-4\n"
)
FLOWER = """
dataset_name = llff
datadir = ./data/nerf_llff_data/flower
expname =  tensorf_flower_VM
downsample_train = 4.0
ndc_ray = 1
n_iters = 25000
N_voxel_init = 2097156 # 128**3
N_voxel_final = 262144000 # 640**3
upsamp_list = [2000,3000,4000,5500]
update_AlphaMask_list = [2500]
N_vis = -1 # vis all testing images
vis_every = 10000
render_test = 1
render_path = 1
n_lamb_sigma = [16,4,4]
n_lamb_sh = [48,12,12]
shadingMode = MLP_Fea
fea2denseAct = relu
view_pe = 0
fea_pe = 0
TV_weight_density = 1.0
TV_weight_app = 1.0
"""
S3IM_WITHOUT = S3IM_REPLICA.replace("s3im_weight = 1.0", "s3im_weight = 0.0").replace("s3im_1.0", "s3im_0.0")
TEXT_IDS = ["lego", "wineholder", "truck", "own_data", "s3im_0.0"]
# Every option of the two published parsers.
PUBLISHED_NAMES = """
expname basedir add_timestamp datadir progress_refresh_rate with_depth downsample_train downsample_test model_name
batch_size s3im_weight s3im_kernel s3im_stride s3im_repeat_time s3im_patch_height s3im_patch_width n_iters dataset_name
lr_init lr_basis lr_decay_iters lr_decay_target_ratio lr_upsample_reset L1_weight_inital L1_weight_rest Ortho_weight
TV_weight_density TV_weight_app n_lamb_sigma n_lamb_sh data_dim_color rm_weight_mask_thre alpha_mask_thre distance_scale
density_shift shadingMode pos_pe view_pe fea_pe featureC ckpt render_only render_test render_train render_path
export_mesh lindisp perturb accumulate_decay fea2denseAct ndc_ray nSamples step_ratio white_bkgd N_voxel_init
N_voxel_final upsamp_list update_AlphaMask_list idx_view N_vis vis_every
""".split()


@pytest.fixture
def read(tmp_path):
    def read(text, *words):
        file = tmp_path / "published.txt"
        file.write_text(text)
        return parse(["--config", str(file), *words])

    return read


def test_s3im_replica_file_gives_the_canonical_values(read):
    config = read(S3IM_REPLICA)
    assert (config.run.n_iters, config.model.batch_size) == (30000, 4096)
    assert (config.model.N_voxel_init, config.model.N_voxel_final) == (2097156, 27000000)
    assert config.model.upsamp_list == (2000, 3000, 4000, 5500, 7000)
    assert config.model.update_AlphaMask_list == (2000, 4000)
    assert (config.model.n_lamb_sigma, config.model.n_lamb_sh) == ((16, 16, 16), (48, 48, 48))
    assert (config.model.shadingMode, config.model.view_pe, config.model.fea_pe) == ("MLP_Fea", 2, 2)
    assert (config.model.TV_weight_density, config.model.TV_weight_app) == (0.1, 0.01)
    assert (config.run.expname, config.run.basedir) == (
        "tensorf_replica_scan1_VM_s3im_1.0",
        "./logs/replica_exp/tensorf",
    )
    assert (config.run.N_vis, config.run.vis_every, config.run.render_test) == (5, 1000, True)
    assert config.data.datadir == "./data/Replica/scan1"
    assert config.model.grid == "vm"  # the commented CP lines stay comments


def test_uncommenting_the_cp_lines_replaces_the_vm_values_above(read):
    uncommented = S3IM_REPLICA.replace("#model", "model").replace("#n_", "n_").replace("#N_", "N_").replace("#L1", "L1")
    config = read(uncommented)
    assert (config.model.grid, config.model.n_lamb_sigma, config.model.n_lamb_sh) == ("cp", (96,), (288,))
    assert (config.model.N_voxel_final, config.model.L1_weight_rest) == (125000000, 1e-5)


@pytest.mark.parametrize("text", [LEGO, WINEHOLDER, TRUCK, OWN_DATA, S3IM_WITHOUT], ids=TEXT_IDS)
def test_other_published_files_parse_once_pointed_at_a_layout_that_is_loaded(read, text):
    config = read(text, "--dataset_name", "replica")
    assert config.model.upsamp_list == (2000, 3000, 4000, 5500, 7000)


@pytest.mark.parametrize(("text", "layout"), [(LEGO, "blender"), (TRUCK, "nsvf"), (OWN_DATA, "own_data")])
def test_other_published_files_name_layouts_that_are_loaded(read, text, layout):
    assert read(text).data.dataset_name == layout


def test_a_layout_that_is_not_loaded_is_refused_saying_which_are(read):
    with pytest.raises(ConfigError, match=r"line \d+: dataset_name: .* is not one of auto, replica, monosdf"):
        read(LEGO.replace("blender", "multiscale"))


def test_forward_facing_file_parses(read):
    config = read(FLOWER)
    assert (config.model.n_lamb_sh, config.run.N_vis, config.model.ndc_ray) == ((48, 12, 12), -1, True)
    assert config.data.dataset_name == "llff"


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_every_published_option_is_known(name):
    known = {*Config.options(), *Config.aliases()}
    assert (name in known) != (name in published_options.NAMES)


def test_options_without_effect_give_one_warning_that_names_them_all(read, caplog):
    with caplog.at_level(logging.WARNING, logger="nerf_ssim"):
        read(S3IM_REPLICA + "rm_weight_mask_thre = 1e-4\nperturb = 1.0\nwith_depth\nwhite_bkgd = True\n")
    (record,) = caplog.records
    for name in ("rm_weight_mask_thre", "perturb", "with_depth", "white_bkgd"):
        assert name in record.getMessage()


def test_what_another_command_does_after_training_is_said_and_does_not_stop_it(read, caplog):
    with caplog.at_level(logging.WARNING, logger="nerf_ssim"):
        read(S3IM_REPLICA + "render_path = 1\n")
    (record,) = caplog.records
    assert "render_path is not part of training" in record.getMessage()
    assert "nerf-ssim render RUN --path" in record.getMessage()


@pytest.mark.parametrize(
    ("n_iters", "late"),
    [("7001", []), ("7000", ["upsamp_list: 7000"]), ("60", ["upsamp_list: 2000, 3000", "update_AlphaMask_list: 2000"])],
)
def test_milestones_beyond_the_end_are_said_once_and_never_come(read, caplog, n_iters, late):
    with caplog.at_level(logging.WARNING, logger="nerf_ssim"):
        config = read(S3IM_REPLICA, "--n_iters", n_iters)
    assert config.model.upsamp_list == (2000, 3000, 4000, 5500, 7000)  # its length decides the steps, as published
    assert len(caplog.records) == len(late)
    for record, text in zip(caplog.records, late, strict=True):
        assert record.getMessage().startswith(text)


@pytest.mark.parametrize(
    "words",
    [
        ["--upsamp_list", "2000", "--upsamp_list", "3000"],
        ["--upsamp_list=[2000]", "--upsamp_list", "3000"],
        ["--upsamp_list", "2000,3000"],
        ["--upsamp_list", "2000", "3000"],
    ],
)
def test_a_list_that_is_given_twice_is_added_to_and_replaces_the_files(read, words):
    assert read(S3IM_REPLICA, *words).model.upsamp_list == (2000, 3000)


def test_a_list_that_is_given_empty_is_empty(read):
    assert read(S3IM_REPLICA, "--upsamp_list", "[]").model.upsamp_list == ()


def test_options_in_effect_give_no_warning(read, caplog):
    read(S3IM_REPLICA + "add_timestamp = 0\nndc_ray = 0\nrender_only = 0\n")
    assert not caplog.records


def test_published_defaults_are_kept():
    defaults = parse(["--datadir", "x"]).to_dict()
    kept = {
        "batch_size": 4096,
        "n_iters": 30000,
        "lr_init": 0.02,
        "lr_basis": 1e-3,
        "lr_decay_iters": -1,
        "lr_decay_target_ratio": 0.1,
        "lr_upsample_reset": True,
        "L1_weight_inital": 0.0,
        "Ortho_weight": 0.0,
        "TV_weight_density": 0.0,
        "alpha_mask_thre": 1e-4,
        "distance_scale": 25.0,
        "density_shift": -10.0,
        "shadingMode": "MLP_PE",
        "pos_pe": 6,
        "view_pe": 6,
        "fea_pe": 6,
        "featureC": 128,
        "data_dim_color": 27,
        "fea2denseAct": "softplus",
        "nSamples": 10**6,
        "step_ratio": 0.5,
        "N_voxel_init": 100**3,
        "N_voxel_final": 300**3,
        "N_vis": 5,
        "vis_every": 10000,
        "s3im_kernel": 4,
        "s3im_stride": 4,
        "s3im_repeat_time": 10,
        "s3im_patch_height": 64,
        "s3im_patch_width": 64,
    }
    assert {name: defaults[name] for name in kept} == kept
