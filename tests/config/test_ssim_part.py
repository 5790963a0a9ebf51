"""What the SSIM term is made of, as options."""

from __future__ import annotations

import pytest

from nerf_ssim.errors import ConfigError
from nerf_ssim.images.options import parse_images
from nerf_ssim.models.config import parse
from nerf_ssim.ops.ssim_window import SsimMix
from nerf_ssim.runs.schedule import make_mix, make_schedule

PARSERS = {"train": (parse, ["--datadir", "x"]), "fit-image": (parse_images, ["--image", "x"])}
either = pytest.mark.parametrize("command", PARSERS)


def ssim_of(command: str, *words: str):
    parse_words, needed = PARSERS[command]
    return parse_words([*needed, *words]).ssim


@either
@pytest.mark.parametrize(
    ("words", "mix", "label"),
    [
        ([], SsimMix(1, 0, 0), "both"),
        (["--ssim_part", "luminance"], SsimMix(0, 1, 0), "luminance"),
        (["--ssim_part", "structure"], SsimMix(0, 0, 1), "structure"),
        (["--ssim_part", "sum"], SsimMix(0, 1, 1), "sum 1 1"),
        (["--ssim_part", "sum", "--ssim_structure_weight", "0.25"], SsimMix(0, 1, 0.25), "sum 1 0.25"),
        (["--ssim_part", "sum", "--ssim_luminance_weight", "0"], SsimMix(0, 0, 1), "sum 0 1"),
    ],
)
def test_options_make_this_mix_and_results_say_so(command, words, mix, label):
    ssim = ssim_of(command, *words)
    assert make_mix(ssim) == mix
    assert make_schedule(ssim, 1.0, 100).summary()["part"] == label


@either
@pytest.mark.parametrize("part", ["both", "luminance", "structure"])
@pytest.mark.parametrize("name", ["ssim_luminance_weight", "ssim_structure_weight"])
def test_weights_are_refused_where_the_term_is_not_a_sum(command, part, name):
    with pytest.raises(ConfigError, match=f"{name}: 0.5 has no effect with ssim_part {part}"):
        ssim_of(command, "--ssim_part", part, f"--{name}", "0.5")


@either
def test_sum_of_nothing_is_refused(command):
    with pytest.raises(ConfigError, match="both 0"):
        ssim_of(command, "--ssim_part", "sum", "--ssim_luminance_weight", "0", "--ssim_structure_weight", "0")
