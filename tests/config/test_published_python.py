"""DVGO's published Python configurations run as they are, or end in one line that names the setting."""

from __future__ import annotations

import logging

import pytest
from published_python import DEFAULT, FILES, write_files

from nerf_ssim.datasets.formats import FORMATS
from nerf_ssim.errors import ConfigError
from nerf_ssim.models.config import parse
from nerf_ssim.models.dvgo.published_defaults import DEFAULTS

BOUNDED = "_base_ = './default.py'\nexpname = 'chair'\ndata = dict(datadir='d', dataset_type='replica', {data})\n"


@pytest.fixture
def configs(tmp_path):
    return write_files(tmp_path)


@pytest.fixture
def read(configs):
    def read(text, *words):
        (configs / "own.py").write_text(text)
        return parse(["--config", str(configs / "own.py"), *words])

    return read


@pytest.mark.parametrize("weight", ["0.0", "1.0"])
def test_s3im_replica_file_is_the_canonical_contracted_run(configs, weight):
    ours = parse(["--config", "dvgo_replica_scene1.txt"]).replace(s3im_weight=float(weight)).to_dict()
    theirs = parse(["--config", str(configs / f"replica_exp/replica_scan1_s3im_{weight}.py")]).to_dict()
    assert theirs.pop("fast_color_thres")[:6] == ours.pop("fast_color_thres")
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert differing == {"expname", "basedir", "vis_every"}
    assert (theirs["expname"], theirs["datadir"]) == (f"dvgo_replica_scan1_s3im_{weight}", "./data/Replica/scan1")


def test_default_file_is_the_bounded_run(configs):
    words = ["--datadir", "x", "--dataset_name", "replica"]
    theirs = parse(["--config", str(configs / "default.py"), *words]).to_dict()
    ours = parse(["--config", "dvgo_bounded.txt", *words]).to_dict()
    differing = {name for name in ours if ours[name] != theirs[name]}
    # Total variation has weight 0 in both, and the coarse rates are those of the fine stage in both.
    without_meaning = {"tv_before", "tv_dense_before", "coarse_lrate_density", "coarse_lrate_k0"}
    assert differing == {"expname", "basedir", "vis_every", "s3im_weight"} | without_meaning
    assert (theirs["n_iters"], theirs["coarse_iters"], theirs["s3im_weight"]) == (25000, 5000, 0.0)


REFUSED = {
    "replica_exp/tt_default.py": r"tt_default\.py: data\.dataset_type: dataset_name: 'nerfpp' is not one of",
    "custom/default_forward_facing.py": r"default_forward_facing\.py: data\.ndc: True cannot be had: .*multiplane",
    "custom/default_ubd_inward_facing.py": r"default_ubd_inward_facing\.py: data\.\w+: .* cannot be had",
    "custom/Madoka.py": r"default_forward_facing\.py: data\.ndc: True cannot be had",
    "custom/Otobai.py": r"default_forward_facing\.py: data\.ndc: True cannot be had",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_here_is_one_line_that_names_file_and_setting(configs, name):
    with pytest.raises(ConfigError, match=REFUSED[name]):
        parse(["--config", str(configs / name)])


def test_every_file_is_read_or_refused(configs):
    assert len(FILES) == 8 and len(REFUSED) == 5  # default.py and the two Replica files are above


def test_the_table_of_defaults_is_the_default_file(tmp_path):
    from nerf_ssim.config.python_files import read_python

    (tmp_path / "default.py").write_text(DEFAULT)
    assert read_python(tmp_path / "default.py").values == DEFAULTS


def test_a_file_without_its_default_file_takes_dvgos(tmp_path, caplog):
    file = tmp_path / "scan.py"
    file.write_text(
        "_base_ = './default.py'\ndata = dict(dataset_type='replica', datadir='d')\n"
        "fine_train = dict(N_iters=30000, s3im_weight=1.0)\n"
    )
    with caplog.at_level(logging.WARNING, logger="nerf_ssim"):
        config = parse(["--config", str(file)])
    assert "default.py is not there; the default.py of DVGO's Python configurations is taken" in caplog.text
    assert (config.run.n_iters, config.model.batch_size, config.model.unbounded_inward) == (35000, 8192, False)
    assert (config.ssim.s3im_patch_height, config.ssim.s3im_patch_width) == (64, 128)


def test_the_command_line_counts_over_the_file(read):
    config = read(BOUNDED.format(data=""), "--s3im_weight", "1", "--n_iters", "9000", "--pg_scale", "5", "--seed", "3")
    assert (config.ssim.s3im_weight, config.run.n_iters, config.model.pg_scale, config.run.seed) == (1.0, 9000, (5,), 3)


def test_a_run_without_ssim_says_so_once(read, caplog):
    with caplog.at_level(logging.WARNING, logger="nerf_ssim"):
        read(BOUNDED.format(data=""))
    assert [r.getMessage() for r in caplog.records if "s3im_weight" in r.getMessage()] != []
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="nerf_ssim"):
        read(BOUNDED.format(data="") + "fine_train = dict(s3im_weight=0.5)\n")
    assert not caplog.records


def test_blendedmvs_and_tensorf_grids_become_options(read):
    text = BOUNDED.format(data="white_bkgd=True") + (
        "coarse_train = dict(pervoxel_lr_downrate=2)\nfine_train = dict(lrate_density=0.02, lrate_k0=0.02)\n"
        "fine_model_and_render = dict(density_type='TensoRFGrid', density_config=dict(n_comp=8),\n"
        "    k0_type='TensoRFGrid', k0_config=dict(n_comp=24, n_comp_xy=36))\n"
    )
    model = read(text).model
    assert (model.grid, model.n_lamb_sigma, model.n_lamb_sh) == ("vm", (8, 8, 8), (36, 24, 24))
    assert (model.lrate_density, model.coarse_lrate_density, model.pervoxel_lr_downrate) == (0.02, 0.1, 2)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("fine_train = dict(weight_nearclip=1.0)", "fine_train.weight_nearclip: 1.0 cannot be had"),
        ("fine_train = dict(ray_sampler='random')", "fine_train.ray_sampler: 'random'"),
        ("coarse_train = dict(N_rand=4096)", "coarse_train.N_rand: 4096"),
        ("fine_train = dict(weight_tv_density=1e-6)", "fine_train.weight_tv_density: 1e-06"),
        ("fine_model_and_render = dict(rgbnet_full_implicit=True)", "rgbnet_full_implicit: True"),
        ("fine_model_and_render = dict(density_type='HashGrid')", "density_type: 'HashGrid'"),
        ("fine_model_and_render = dict(num_voxels='many')", "fine_model_and_render.num_voxels: num_voxels: 'many'"),
        ("fine_train = dict(N_iter=5)", r"fine_train: unknown setting 'N_iter'; did you mean N_iters\?"),
        ("fine_trian = dict(N_iters=5)", r"unknown group 'fine_trian'; did you mean fine_train\?"),
        ("data = 5", "data: 5 is not a dict"),
        ("data = dict(unbounded_inward=True)", "coarse_train.N_iters: 5000 cannot be had"),
        ("coarse_train = dict(N_iters=0)", "coarse_train.N_iters: coarse_iters: 0 is out of range"),
    ],
)
def test_a_setting_that_cannot_be_had_is_named(read, line, named):
    text = "data = dict(datadir='d', dataset_type='replica')\n" + line + "\n"
    with pytest.raises(ConfigError, match=rf"own\.py.*{named}") as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_dvgos_own_norm_of_contraction_is_refused_by_name(read):
    text = "data = dict(datadir='d', dataset_type='replica', unbounded_inward=True)\ncoarse_train = dict(N_iters=0)\n"
    text += "fine_train = dict(ray_sampler='flatten', N_rand=4096)\nfine_model_and_render = dict(world_bound_scale=1)\n"
    with pytest.raises(ConfigError, match=r"fine_model_and_render\.contracted_norm: 'inf' cannot be had"):
        read(text)


def test_a_layout_is_one_of_the_registry(read):
    for name in ("nsvf", "blender", "deepvoxels"):
        text = f"data = dict(datadir='d', dataset_type='{name}')\n"
        if name in FORMATS:
            assert read(text).data.dataset_name == name
        else:
            with pytest.raises(ConfigError, match=f"data.dataset_type: dataset_name: '{name}' is not one of"):
                read(text)


def test_a_2d_fit_has_no_python_configuration(configs):
    from nerf_ssim.images.options import parse_images

    with pytest.raises(ConfigError, match="is a Python configuration, and a text file"):
        parse_images(["--config", str(configs / "default.py")])
