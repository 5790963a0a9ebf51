"""The benchmarks run, say what they promise, and measure the states that they name."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import dvgo, memory, poses, profile, render, tensorf
from benchmarks.ceilings import Ceilings, floor
from benchmarks.states import canonical_config, make_workload
from benchmarks.timing import measure
from nerf_ssim.ops import backend

needs_native = pytest.mark.skipif(backend.describe()["vm_density"][0] != "native", reason="needs the native extension")
TINY = {
    "batch_size": 64, "s3im_patch_height": 8, "s3im_patch_width": 8, "N_voxel_init": 1000, "N_voxel_final": 4000,
    "upsamp_list": [5], "update_AlphaMask_list": [3], "n_lamb_sigma": [2, 2, 2], "n_lamb_sh": [4, 4, 4],
    "data_dim_color": 9, "featureC": 16,
}  # fmt: skip
FIGURES = {"native_ms", "reference_ms", "ratio", "peak_rss_mb", "page_faults", "threads", "floor"}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def arguments(state: str, reference: int = 1) -> argparse.Namespace:
    return argparse.Namespace(state=state, threads=1, repeats=1, reference=reference)


@pytest.mark.slow
@needs_native
@pytest.mark.parametrize("state", ["start", "trained"])
def test_iteration_record_has_its_figures_and_counts_samples(state):
    record = tensorf.run(arguments(state), [], size=12, **TINY)
    assert record.keys() >= FIGURES and json.dumps(record)
    assert record["native_ms"] > 0 and record["reference_ms"] > 0
    assert record["density_samples"] > record["rays"]
    assert state == "start" or record["colour_samples"] > record["rays"]


@pytest.mark.slow
@needs_native
def test_render_record_covers_every_pixel_of_one_view():
    record = render.run(arguments("trained", reference=0), [], size=16, **TINY)
    assert record.keys() >= FIGURES and record["reference_ms"] is None and record["ratio"] is None
    assert record["rays"] == 256 and record["colour_samples"] > 256


@needs_native
@pytest.mark.parametrize("state", ["step0", "dense", "sparse"])
def test_voxel_iteration_record_has_its_figures_and_counts_samples(state):
    tiny = {
        "batch_size": 64, "s3im_patch_height": 8, "s3im_patch_width": 8, "num_voxels": 16**3, "num_voxels_base": 16**3,
        "pg_scale": [3, 4], "rgbnet_width": 16,
    }  # fmt: skip
    record = dvgo.run(arguments(state), [], size=12, **tiny)
    assert record.keys() >= FIGURES - {"floor"} and json.dumps(record)
    assert record["density_samples"] > record["rays"] and record["colour_samples"] > 0
    assert record["resolution"] == [10] * 3 if state == "step0" else [16] * 3


@pytest.mark.slow
@needs_native
def test_training_options_reach_the_iteration():
    record = tensorf.run(arguments("trained", reference=0), ["--color_samples", "4"], size=12, **TINY)
    assert record["colour_samples"] <= 4 * record["rays"]


@pytest.mark.slow
@needs_native
def test_memory_record_is_of_a_fresh_process_that_trains():
    ballast = torch.ones(100_000_000)  # 400 MB of this process must not count
    record = memory.run(arguments("trained", reference=0), [], size=12, **TINY)
    ours = measure(lambda: ballast.sum()).peak_rss_mb
    assert record["iterations"] == 1 and record["size"] == [12, 12] and record["views"] == 81
    assert 50 < record["before_training_mb"] <= record["peak_rss_mb"] < ours - 100


@pytest.mark.slow
@needs_native
def test_profile_names_the_native_kernels_and_their_share_of_the_time():
    native, reference = profile.run(arguments("trained"), [], size=12, **TINY)
    assert any(name.startswith("nerf_ssim::") for name in native["operators"])
    assert not any("nerf_ssim" in name for name in reference["operators"])
    assert 0.5 < sum(operator["share"] for operator in native["operators"].values()) <= 1.001


def test_repeated_measurements_see_the_same_field():
    workload = make_workload("start", canonical_config([]).replace(**TINY), size=12)
    before = [parameter.detach().clone() for parameter in workload.recipe.field.parameters()]
    tensorf.take_step(workload.recipe, workload.batches, workload.s3im, 1.0, 0)
    for old, new in zip(before, workload.recipe.field.parameters(), strict=True):
        torch.testing.assert_close(old, new.detach(), rtol=0, atol=1e-6)


def test_background_seeds_are_one_white_and_one_black_batch():
    workload = make_workload("start", canonical_config([]).replace(**TINY), size=12)
    grey = []
    for seed in tensorf.background_seeds():
        workload.recipe.generators["background"].manual_seed(seed)
        grey.append(float(workload.recipe.render(workload.batches.next().rays, 0).rgb.detach().mean()))
    assert grey[0] > 0.9 and grey[1] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("state", "density", "colour"), [("start", 639_000, 0), ("trained", 1_450_000, 571_000)])
def test_states_have_the_promised_counts_a_batch_of_4096(state, density, colour):
    small = {"batch_size": 1024, "s3im_patch_height": 32, "s3im_patch_width": 32, "data_dim_color": 3, "featureC": 8}
    workload = make_workload(state, canonical_config([]).replace(**small), size=64)
    with torch.no_grad():
        rendered = workload.recipe.render(workload.batches.next().rays, workload.iteration)
    assert 4 * rendered.n_samples == pytest.approx(density, rel=0.05)
    assert 4 * rendered.n_coloured == pytest.approx(colour, rel=0.05)


def test_floor_is_the_longer_of_arithmetic_and_memory_plus_the_parameters():
    ceilings = Ceilings(gemm_gflops=100.0, copy_gb_s=10.0)
    found = floor(ceilings, density_samples=0, colour_samples=1_000_000, parameters=1_000_000, native_ms=4_907.2)
    assert found["floor_ms"] == pytest.approx(2450 + 3.6)  # 245 GFLOP; 36 MB
    assert found["share_of_floor"] == pytest.approx(0.5)
    memory_bound = floor(ceilings, density_samples=0, colour_samples=0, parameters=1_000_000, native_ms=36.0)
    assert memory_bound["share_of_floor"] == pytest.approx(0.1)


def test_unknown_options_are_one_line_and_exit_code_2(capsys):
    assert command.main(["tensorf", "--state", "start", "--decoder_precsion", "bf16"]) == 2
    assert "decoder_precsion" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        command.main(["ssim", "--state", "start"])
    assert stopped.value.code == 2


@pytest.mark.slow
@needs_native
@pytest.mark.parametrize(
    "words",
    [
        ["grids", "--samples", "500", "--nodes", "5"],
        ["march", "--samples", "500", "--nodes", "5"],
        ["composite", "--samples", "500", "--nodes", "5"],
        ["ssim"],
        ["s3im"],
        ["decoder", "--samples", "50"],
    ],
)
def test_every_op_has_a_record_of_native_and_reference(words, capsys):
    assert command.main([*words, "--repeats", "1"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records
    for record in records:
        assert record["native_ms"] > 0 and record["reference_ms"] > 0 and record["threads"] == 1


@pytest.mark.slow
def test_pose_record_tells_right_cameras_from_every_mistake():
    (record,) = poses.run(argparse.Namespace(scenes=[]))
    pixels = record["pixels"]
    assert pixels.keys() == poses.mistakes("opencv").keys() and json.dumps(record)
    assert pixels.pop("right") < 0.5 < 3 < min(pixels.values())
