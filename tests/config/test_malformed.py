"""Malformed files and lines: one clear line that names the option, and exit status 2."""

from __future__ import annotations

import pytest

from nerf_ssim.cli.main import main

GOOD = "datadir = ./room\n"

LINES = [
    # the words of the command line, what the message must contain
    (["--n_iter", "5"], ["--n_iter", "did you mean n_iters?"]),
    (["--n_iter=5"], ["--n_iter", "did you mean n_iters?"]),
    (["--ssim_removeat", "5"], ["did you mean ssim_remove_at?"]),
    (["--expn", "x"], ["--expn", "did you mean expname?"]),  # no abbreviations
    (["room.txt"], ["room.txt", "--config"]),
    (["--n_iters"], ["--n_iters", "expected one argument"]),
    (["--n_iters", "many"], ["--n_iters", "'many'", "whole number"]),
    (["--n_iters", "1.5"], ["--n_iters", "'1.5'", "whole number"]),
    (["--n_iters", "0"], ["--n_iters", "at least 1"]),
    (["--n_iters", "nan"], ["--n_iters", "whole number"]),
    (["--n_iters", "9" * 5000], ["--n_iters", "whole number"]),
    (["--lr_init", "nan"], ["--lr_init", "finite"]),
    (["--lr_init", "-inf"], ["--lr_init"]),
    (["--lr_init=-inf"], ["--lr_init", "finite"]),
    (["--lr_init", "1e999"], ["--lr_init", "finite"]),
    (["--lr_init", "0"], ["--lr_init", "above 0"]),
    (["--lr_init", "fast"], ["--lr_init", "'fast'", "number"]),
    (["--TV_weight_app=-1"], ["--TV_weight_app", "at least 0"]),
    (["--alpha_mask_thre", "1"], ["--alpha_mask_thre", "below 1"]),
    (["--downsample_train", "0.5"], ["--downsample_train", "at least 1"]),
    (["--shadingMode", "MLP_Feat"], ["--shadingMode", "MLP_Fea"]),
    (["--dataset_name", "blendr"], ["--dataset_name", "replica, monosdf"]),
    (["--device", "gpu"], ["--device", "cpu, cuda"]),
    (["--expname", "../other"], ["--expname", "plain name"]),
    (["--expname", ".."], ["--expname", "plain name"]),
    (["--expname", "a\nb"], ["--expname", "printed"]),
    (["--basedir", ""], ["--basedir"]),
    (["--render_test", "perhaps"], ["--render_test", "'perhaps'"]),
    (["--upsamp_list", "[2000,"], ["--upsamp_list", "list"]),
    (["--upsamp_list", "2000,,3000"], ["--upsamp_list", "list"]),
    (["--upsamp_list", "3000", "2000"], ["upsamp_list", "ascending"]),
    (["--upsamp_list", "2000", "2000"], ["upsamp_list", "ascending"]),
    (["--update_AlphaMask_list", "[-5]"], ["--update_AlphaMask_list", "at least 0"]),
    (["--stop_at", "40000"], ["stop_at", "n_iters 30000"]),
    (["--vis_at", "5", "40000"], ["vis_at", "n_iters 30000"]),
    (["--save_at", "5", "40000"], ["save_at", "n_iters 30000"]),
    (["--save_at", "0"], ["--save_at", "at least 1"]),
    (["--batch_size", "2048"], ["batch_size", "s3im_patch_height", "64*64"]),
    (["--s3im_weight", "0", "--batch_size", "2048"], ["batch_size", "luminance_every 0"]),
    (["--s3im_kernel", "12"], ["--s3im_kernel", "at most 11"]),
    (
        ["--s3im_patch_height", "2", "--s3im_patch_width", "2048", "--s3im_kernel", "4"],
        ["s3im_kernel", "does not fit"],
    ),
    (["--ssim_remove_at", "soon"], ["--ssim_remove_at", "'auto' or 'end'"]),
    (["--ssim_remove_at", "0"], ["--ssim_remove_at", "at least 1"]),
    (["--ssim_add_at", "70", "--ssim_remove_at", "70"], ["ssim_remove_at", "ssim_add_at 70", "s3im_weight 0"]),
    (["--ssim_remove_at", "30001"], ["ssim_remove_at", "n_iters 30000"]),
    (["--ssim_add_at", "30000"], ["ssim_add_at", "n_iters 30000"]),
    (["--N_voxel_final", "1000"], ["N_voxel_final", "N_voxel_init"]),
    (["--n_lamb_sigma", "[16,16]"], ["n_lamb_sigma", "grid vm takes 3"]),
    (["--model_name", "TensorCP"], ["n_lamb_sigma", "cp takes 1", "[96]"]),
    (["--grid", "dense", "--Ortho_weight", "0.1"], ["Ortho_weight", "dense"]),
    (["--model", "dvgo", "--grid", "cp"], ["n_lamb_sigma", "cp takes 1"]),
    (["--shadingMode", "RGB"], ["data_dim_color", "takes 3"]),
    (["--lr_decay_iters", "0"], ["lr_decay_iters", "-1"]),
    (["--resume", "--overwrite"], ["resume", "overwrite"]),
    (["--render_only", "1"], ["--render_only", "nerf-ssim render"]),
    (["--ckpt", "model.th"], ["--ckpt", "--resume"]),
    (["--add_timestamp", "1"], ["--add_timestamp", "--expname"]),
    (["--perturb", "much"], ["--perturb", "number"]),
    (["--datadir", ""], ["datadir", "bundled:room"]),
    (["--config", "no_such.txt"], ["no_such.txt", "room.txt"]),
    (["--config", "no/such/file.txt"], ["no/such/file.txt"]),
    (["--config", "a.txt", "--config", "b.txt"], ["--config", "twice"]),
]

FILES = [
    # a file's text, what the message must contain besides the file's name
    ("n_iter = 5\n", ["line 1", "'n_iter'", "did you mean n_iters?"]),
    (GOOD + "\n# comment\nupsample_list = [1]\n", ["line 4", "did you mean upsamp_list?"]),
    (GOOD + "zzz = 1\n", ["line 2", "'zzz'", "--help"]),
    (GOOD + "config = other.txt\n", ["line 2", "config"]),
    (GOOD + "n_iters\n", ["line 2", "name = value"]),
    (GOOD + "n_iters 5\n", ["line 2", "name = value"]),
    (GOOD + "= 5\n", ["line 2", "name = value"]),
    (GOOD + "[model]\n", ["line 2", "name = value"]),
    (GOOD + "n_iters = 1O0\n", ["line 2", "n_iters", "'1O0'"]),
    (GOOD + "n_iters =\n", ["line 2", "n_iters", "whole number"]),
    (GOOD + "upsamp_list =\n", ["line 2", "upsamp_list", "[]"]),
    (GOOD + "render_test =\n", ["line 2", "render_test", "no value"]),
    (GOOD + "lr_init = inf\n", ["line 2", "lr_init", "finite"]),
    (GOOD + "lr_init = 0.02, 0.03\n", ["line 2", "lr_init", "number"]),
    (GOOD + "expname = 'room\n", ["line 2", "expname", "quotation"]),
    (GOOD + "fea2denseAct = gelu\n", ["line 2", "fea2denseAct", "softplus, relu"]),
    (GOOD + "batch_size = 100\n", ["batch_size", "s3im_patch_height"]),
]


def one_line(capsys: pytest.CaptureFixture) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("\n") and printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("nerf-ssim: ")
    assert "Traceback" not in printed.err
    return printed.err


@pytest.mark.parametrize(("words", "expected"), LINES, ids=[" ".join(words)[:50] for words, _ in LINES])
def test_malformed_line_is_one_clear_error(words, expected, capsys):
    given = words if "--datadir" in words else ["--datadir", "./room", *words]
    assert main(["train", *given]) == 2
    message = one_line(capsys)
    for part in expected:
        assert part in message


@pytest.mark.parametrize(("text", "expected"), FILES, ids=[text.splitlines()[-1] for text, _ in FILES])
def test_malformed_file_is_one_clear_error_that_says_where(text, expected, capsys, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text(text)
    assert main(["train", "--config", str(file)]) == 2
    message = one_line(capsys)
    for part in expected:
        assert part in message
    assert "mine.txt" in message or "batch_size" in message  # contradictions may have several sources


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff\xfe", b"\xff\xfe\x00\x00"])
def test_a_file_that_is_not_text_is_one_clear_error(content, capsys, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    assert main(["train", "--config", str(file)]) == 2
    assert "mine.txt" in one_line(capsys)


def test_a_folder_as_configuration_is_one_clear_error(capsys, tmp_path):
    assert main(["train", "--config", str(tmp_path)]) == 2
    assert str(tmp_path) in one_line(capsys)
