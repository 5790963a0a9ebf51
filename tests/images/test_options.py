"""Options of `nerf-ssim fit-image`: what goes together, and what the bundled configurations say."""

from __future__ import annotations

import pytest

from nerf_ssim.errors import ConfigError
from nerf_ssim.images.options import ImageConfig, parse_images


def test_the_bundled_configurations_are_the_published_protocol_and_a_smaller_one():
    kodak = parse_images(["--config", "siren_kodak.txt", "--image", "a.png"])
    assert (kodak.data.size, kodak.data.grey, kodak.data.linear) == ((512,), True, True)
    assert (kodak.network.hidden, kodak.network.hidden_layers, kodak.network.omega) == (512, 4, 30)
    assert kodak.run.expname == "siren_kodak"
    small = parse_images(["--config", "siren_small.txt", "--image", "a.png"])
    assert (small.data.size, small.network.hidden) == ((128,), 256)
    assert kodak == small.replace(size=[512], hidden=512, expname="siren_kodak")


def test_a_written_configuration_reads_back_equal(tmp_path):
    config = ImageConfig().replace(image="a b.png", permute=True, lr_exponents=[8, 10], stop_psnr=60, size=[96, 128])
    config.write(tmp_path / "config.txt")
    assert parse_images(["--config", str(tmp_path / "config.txt"), "--expname", "run"]) == config


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"image": "a.png", "images": "dir"}, "one picture or one folder"),
        ({"size": [10]}, "ssim_window"),
        ({"size": [3, 4, 5]}, "size"),
        ({"size": [0, 64]}, "size"),
        ({"ssim_domain": "image"}, "permute"),
        ({"lr_exponents": [11]}, "stop_psnr"),
        ({"lr_exponents": [11, 11], "stop_psnr": 60}, "twice"),
        ({"field": "fourier", "weight_scale": 2.0}, "weight_scale"),
        ({"spread": 2.0}, "spread"),
        ({"field": "wire", "precision": "bf16x3"}, "precision"),
        ({"field": "gaussian", "omega": 30.0}, "omega"),
        ({"ssim_add_at": 5, "ssim_remove_at": 5}, "ssim_weight 0"),
        ({"ssim_remove_at": 4000}, "n_iters"),
        ({"resume": True, "overwrite": True}, "contradict"),
    ],
)
def test_contradictions_are_refused_by_name(options, named):
    with pytest.raises(ConfigError, match=named):
        ImageConfig().replace(**options)


def test_a_command_without_a_picture_says_which_option_names_one():
    with pytest.raises(ConfigError, match="--image"):
        parse_images(["--config", "siren_small.txt"])


def test_options_of_radiance_fields_are_unknown_here_and_the_help_named_is_this_commands():
    with pytest.raises(ConfigError, match="unknown option '--N_voxel_init'"):
        parse_images(["--N_voxel_init", "8"])
    with pytest.raises(ConfigError, match="nerf-ssim fit-image --help"):
        parse_images(["--qqqqqq", "8"])
