"""Experiments on pictures: which fits they make, that they go on where they stopped, and what their reports say."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from nerf_ssim.experiments import images
from nerf_ssim.experiments.__main__ import main
from nerf_ssim.experiments.report import pictures as picture_reports
from nerf_ssim.images.options import ImageConfig

SMALL = "--size 16 --hidden 16 --hidden_layers 2 --n_iters 12".split()


@pytest.fixture
def words(tmp_path):
    for number, name in enumerate(("one", "two")):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    return ["--images", str(tmp_path), "--basedir", str(tmp_path / "runs"), "--expname", "e", *SMALL]


def test_every_experiment_is_made_of_options_that_go_together():
    config = ImageConfig().replace(image="a.png", n_iters=500, precision="bf16x3")
    for experiment in images.EXPERIMENTS.values():
        for name, options in experiment.fits(config).items():
            assert config.replace(expname=name, **options).run.expname == name


def test_methods_differ_in_what_they_are_named_for():
    fits = {name: ImageConfig().replace(**options) for name, options in images.three_methods(ImageConfig()).items()}
    assert not fits["plain"].data.permute and fits["rpp"].data.permute and fits["guided"].data.permute
    assert [fits[name].ssim.ssim_weight for name in ("plain", "rpp", "guided")] == [0, 0, 0.1]
    assert fits["guided"].ssim.ssim_remove_at == 60
    assert images.guided(ImageConfig().replace(ssim_remove_at=70))["ssim_remove_at"] == 70


def test_figure_2_removes_and_adds_at_each_of_the_papers_moments():
    fits = images.schedules(ImageConfig())
    moments = [10, 20, 40, 60, 80, 120, 200, 400]
    assert {f"{kind}_{moment}" for kind in ("remove", "add") for moment in moments} | {"with", "without"} == set(fits)


def test_a_table_is_regenerated_from_the_logs_and_done_fits_are_not_done_again(words, tmp_path, capsys, monkeypatch):
    assert main(["table2", *words, "--ssim_remove_at", "5"]) == 0
    first = (tmp_path / "runs" / "e" / "table2.md").read_text()
    assert "| one | guided + RPP |" in first and "mean of 2" in first and first in capsys.readouterr().out
    monkeypatch.setattr(images, "run_fit", lambda *arguments: pytest.fail("the fit was there"))
    assert main(["table2", *words, "--ssim_remove_at", "5"]) == 0
    assert main(["table3", *words, "--report_only"]) == 0
    assert main(["figure5", *words, "--report_only"]) == 0
    assert (tmp_path / "runs" / "e" / "figure5_one_guided.png").exists()
    assert (tmp_path / "runs" / "e" / "table2.md").read_text() == first


def test_a_search_stands_in_a_table_as_its_best_fit(words, tmp_path):
    search = ["--lr_exponents", "[8,10]", "--stop_psnr", "20", "--ssim_remove_at", "5"]
    assert main(["table2", *words, *search]) == 0
    assert main(["figure5", *words, *search, "--report_only"]) == 0
    results = json.loads((tmp_path / "runs" / "e" / "one" / "rpp" / "results.json").read_text())
    assert f"{results['lr']:.3g}" in (tmp_path / "runs" / "e" / "table2.md").read_text()


def test_some_fits_alone_and_means_over_the_pictures_that_have_them(words, tmp_path):
    words += ["--ssim_remove_at", "5"]
    assert main(["table2", *words, "--fits", "rpp,guided"]) == 0
    text = (tmp_path / "runs" / "e" / "table2.md").read_text()
    assert "| mean of 2 | RPP |" in text and "plain" not in text
    assert not (tmp_path / "runs" / "e" / "one" / "plain").exists()
    one = ["--image", str(tmp_path / "one.png"), *words[2:]]
    assert main(["table2", *one, "--fits=plain"]) == 0
    text = (tmp_path / "runs" / "e" / "table2.md").read_text()
    assert "| mean of 1 | plain |" in text and "| mean of 2 | guided + RPP |" in text


def test_figures_are_drawn_from_the_logs(words, tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("figure2", "figure3"):
        assert main([name, *words]) == 0
        assert (tmp_path / "runs" / "e" / f"{name}_two.png").stat().st_size > 1000
    assert "remove_10" in (tmp_path / "runs" / "e" / "figure2.md").read_text()


def test_costs_and_accelerations_are_those_of_the_results(tmp_path):
    for method, cost in (("plain", 300), ("rpp", 150), ("guided", 100)):
        folder = tmp_path / "kodim01" / method
        folder.mkdir(parents=True)
        costs = {"50": cost, "55": None if method == "plain" else cost, "60": cost * 2}
        results = {"cost": costs, "psnr_best": 70.0, "lr": 0.5, "variance": dict.fromkeys(("30", "40", "50", "60"))}
        (folder / "results.json").write_text(json.dumps(results))
    text = picture_reports.table2(tmp_path)
    assert "| kodim01 | guided + RPP | 100 | 100 | 200 | 3.00 | – | 3.00 | 70.00 | 0.50 |" in text
    assert "| mean of 1 | RPP | 150.00 | 150.00 | 300.00 | 2.00 | – | 2.00 | 70.00 | – |" in text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["tabel2"], "table2"),
        (["table2"], "--image"),
        (["table2", "--image", "a.png", "--report_only"], "finished fit"),
        (["table2", "--image", "a.png", "--fits", "rpp,gided"], "'gided'"),
        (["table2", "--image", "a.png", "--fits"], "--fits"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, words, named):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and named in line
