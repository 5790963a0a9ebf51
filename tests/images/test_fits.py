"""A 2D fit: what a step is, what is measured, what a restart continues, what a search keeps."""

from __future__ import annotations

import csv
import json
import math

import cv2
import numpy as np
import pytest
import torch

from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.images.fits import rate_order, run_fit, search_rate
from nerf_ssim.images.options import ImageConfig
from nerf_ssim.images.session import ImageSession
from nerf_ssim.runs.interrupts import GracefulStop
from nerf_ssim.training.objective import PART_FIGURES

STEPS = 24


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    rows, columns = np.mgrid[0:20, 0:18]
    grey = 120 + 60 * np.sin(rows / 3.0) * np.cos(columns / 4.0) + np.random.default_rng(1).normal(0, 12, (20, 18))
    path = tmp_path_factory.mktemp("picture") / "waves.png"
    cv2.imwrite(str(path), grey.clip(0, 255).astype(np.uint8))
    return path


@pytest.fixture
def make_config(picture, tmp_path):
    def make(**options):
        small = {"image": str(picture), "size": [0], "hidden": 24, "hidden_layers": 2, "n_iters": STEPS, "lr": 2.0**-9}
        small |= {"basedir": str(tmp_path), "expname": "fit", "save_every": 7, "permute": True, "ssim_remove_at": 10}
        return ImageConfig().replace(**{**small, **options})

    return make


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def outcome(results):
    """What a fit came to, without how it was asked for and how long it took."""
    return {key: value for key, value in results.items() if key not in ("options", "seconds_train")}


def final_state(folder):
    return torch.load(sorted((folder / "checkpoints").glob("*.pt"))[-1], weights_only=True)


class StopAfter(GracefulStop):
    """A stop that somebody requests once so many steps have asked for it."""

    def __init__(self, steps: int) -> None:
        self.left, self._requested = steps, None
        super().__init__()

    @property
    def requested(self):
        self.left -= 1
        return 15 if self.left < 0 else None

    @requested.setter
    def requested(self, value):
        pass


def test_every_step_is_scored_and_a_steps_score_is_that_of_so_many_updates(make_config, tmp_path):
    results = run_fit(make_config(), GracefulStop())
    log = rows(tmp_path / "fit")
    assert [int(row["iteration"]) for row in log] == list(range(STEPS + 1))
    psnr = [float(row["psnr"]) for row in log]
    assert results["psnr_best"] == pytest.approx(max(psnr), rel=1e-8)
    assert results["step_best"] == psnr.index(max(psnr)) and results["stopped_at"] == STEPS
    first = next(step for step, value in enumerate(psnr) if value >= 20)
    assert results["cost"]["20"] == first
    assert results["variance"]["20"] == pytest.approx(float(log[first]["variance"]), rel=1e-8)

    session = ImageSession(make_config(expname="again", n_iters=1, ssim_remove_at="end"))
    session.folder.close()
    run_fit(make_config(expname="again", n_iters=1, ssim_remove_at="end"), GracefulStop())
    state = final_state(tmp_path / "again")
    session.network.load_state_dict(state["network"])
    with torch.no_grad():
        error = (session.network(session.coordinates).double() - session.fitted).square().mean()
    assert float(rows(tmp_path / "again")[1]["psnr"]) == pytest.approx(-10 * math.log10(error), rel=1e-6)


@pytest.mark.parametrize("reset", [False, True])
def test_an_update_is_adam_on_the_mean_squared_error_and_weighted_ssim(make_config, reset):
    from nerf_ssim.ssim.index import fused_ssim

    config = make_config(n_iters=3, ssim_remove_at=1, ssim_weight=0.3, ssim_reset_adam=reset)
    session = ImageSession(config)
    session.folder.close()
    network, where, target = session.network, session.coordinates, session.fitted
    adam = torch.optim.Adam(network.parameters(), lr=config.optim.lr)
    for step in range(3):
        if step == 1 and reset:
            adam = torch.optim.Adam(network.parameters(), lr=config.optim.lr)
        values = network(where)
        loss = (values.double() - target).square().mean()
        if step == 0:
            planes = (image.T.reshape(1, 20, 18) for image in (target.float(), values))
            loss = loss + 0.3 * (1 - fused_ssim(*planes))
        adam.zero_grad()
        loss.backward()
        adam.step()
    run_fit(config, GracefulStop())
    for name, value in final_state(session.folder.path)["network"].items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=2e-4, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["permuted", "image", "reshuffled"])
def test_an_interrupted_fit_continues_bit_for_bit(make_config, tmp_path, domain):
    options = {"ssim_domain": domain, "ssim_remove_at": "auto", "ssim_auto_patience": 2, "ssim_auto_tolerance": 0.4}
    options["ssim_reset_adam"] = domain == "image"
    whole = run_fit(make_config(expname="whole", **options), GracefulStop())
    assert whole["schedule"]["removed_at"] is not None, "the case should include an automatic removal"
    for attempt in range(20):
        parts = run_fit(make_config(expname="parts", resume=attempt > 0, **options), StopAfter(5))
        if parts["ended"] != "interrupted":
            break
    assert attempt >= 2
    for key in ("psnr_best", "step_best", "cost", "variance", "schedule"):
        assert parts[key] == whole[key]
    states = [final_state(tmp_path / name) for name in ("whole", "parts")]
    for name, value in states[0]["network"].items():
        assert torch.equal(value, states[1]["network"][name])
    logs = [[{**row, "seconds": ""} for row in rows(tmp_path / name)] for name in ("whole", "parts")]
    assert logs[0] == logs[1]


def test_the_permutation_is_in_the_checkpoint_and_undone_in_what_is_shown(make_config, tmp_path):
    session = ImageSession(make_config(expname="one"))
    plain = ImageSession(make_config(expname="two", permute=False))
    assert sorted(session.order.tolist()) == list(range(360)) and session.order.tolist() != list(range(360))
    assert torch.equal(session.as_shown(session.fitted), session.target.values)
    assert torch.equal(plain.fitted.view(20, 18, 1), plain.target.values)
    assert not torch.equal(session.fitted, plain.fitted)
    other = ImageSession(make_config(expname="three", seed=1))
    assert not torch.equal(other.order, session.order)
    session.save()
    assert final_state(tmp_path / "one")["permutation"] == session.permutation.keys


def test_permuting_and_ssim_change_no_initial_weight(make_config):
    without_ssim = {"ssim_weight": 0.0, "ssim_remove_at": "end"}
    changes = enumerate(({}, {"permute": False}, without_ssim))
    sessions = [ImageSession(make_config(expname=str(number), **options)) for number, options in changes]
    for session in sessions[1:]:
        for a, b in zip(sessions[0].network.parameters(), session.network.parameters(), strict=True):
            assert torch.equal(a, b)


def test_a_fit_ends_at_its_target_with_the_state_that_reached_it(make_config, tmp_path):
    results = run_fit(make_config(stop_psnr=22.0), GracefulStop())
    assert results["ended"] == "reached"
    log = rows(tmp_path / "fit")
    assert float(log[-1]["psnr"]) >= 22.0 > float(log[-2]["psnr"])
    assert final_state(tmp_path / "fit")["iteration"] == results["stopped_at"] == int(log[-1]["iteration"])
    again = run_fit(make_config(stop_psnr=22.0, resume=True), GracefulStop())
    assert outcome(again) == outcome(results)


def test_ssim_is_in_the_loss_exactly_while_the_schedule_says(make_config, tmp_path):
    run_fit(make_config(ssim_add_at=3, ssim_remove_at=6), GracefulStop())
    log = rows(tmp_path / "fit")
    assert [int(row["iteration"]) for row in log if row["ssim"]] == [3, 4, 5]
    measured = [int(row["iteration"]) for row in log if row["luminance"]]
    assert measured == [0, 3, 4, 5, 10, 20]


def test_other_options_and_another_picture_are_not_resumed(make_config, tmp_path):
    run_fit(make_config(n_iters=3, ssim_remove_at=2), GracefulStop())
    with pytest.raises(ConfigError, match="--resume"):
        run_fit(make_config(n_iters=3, ssim_remove_at=2), GracefulStop())
    with pytest.raises(CheckpointError, match="lr was"):
        run_fit(make_config(n_iters=3, ssim_remove_at=2, lr=1e-3, resume=True), GracefulStop())
    flat = tmp_path / "flat.png"
    cv2.imwrite(str(flat), np.full((20, 18), 7, np.uint8))
    with pytest.raises(CheckpointError, match="other data than --image"):
        run_fit(make_config(n_iters=3, ssim_remove_at=2, image=str(flat), resume=True), GracefulStop())


def test_a_rate_that_is_too_high_diverges_and_says_so(make_config):
    assert run_fit(make_config(lr=1e37), GracefulStop())["ended"] == "diverged"


@pytest.mark.slow
def test_a_search_keeps_the_rate_with_the_fewest_steps_and_caps_the_others(make_config, tmp_path):
    config = make_config(n_iters=60, lr_exponents=[6, 7, 8, 9, 10, 14], stop_psnr=25.0)
    found = search_rate(config, GracefulStop())
    assert json.loads((tmp_path / "fit" / "results.json").read_text()) == found
    costs = {rate: entry["cost"] for rate, entry in found["rates"].items()}
    reached = {rate: cost for rate, cost in costs.items() if cost is not None}
    assert found["cost"]["25"] == min(reached.values()) and len(costs) == 6
    assert found["lr"] == 2.0 ** int(min(reached, key=reached.get)[2:])
    lowest = found["rates"]["2^-14"]
    assert lowest["ended"] in ("hopeless", "steps") and lowest["stopped_at"] <= found["cost"]["25"] < 60

    exhaustive = {}
    for exponent in (6, 7, 8, 9, 10):
        alone = make_config(n_iters=60, stop_psnr=25.0, lr=2.0**-exponent, expname=f"alone{exponent}")
        exhaustive[exponent] = run_fit(alone, GracefulStop())["cost"]["25"]
    assert found["cost"]["25"] == min(cost for cost in exhaustive.values() if cost is not None)


@pytest.mark.slow
def test_an_interrupted_search_continues(make_config, tmp_path):
    options = {"n_iters": 60, "lr_exponents": [8, 9, 10], "stop_psnr": 25.0}
    whole = search_rate(make_config(expname="whole", **options), GracefulStop())
    for attempt in range(40):
        parts = search_rate(make_config(expname="parts", resume=attempt > 0, **options), StopAfter(11))
        if parts["ended"] != "interrupted":
            break
    assert attempt >= 1
    assert outcome(parts) == outcome(whole)


def test_rates_are_tried_from_the_middle():
    assert rate_order((8, 9, 10, 11, 12)) == [10, 9, 11, 8, 12]
    assert rate_order((11,)) == [11]


def test_figures_of_ssims_parts_stand_in_the_log_while_it_is_on_and_change_nothing(make_config, tmp_path):
    for name, every in (("measured", 3), ("plain", 0)):
        run_fit(make_config(expname=name, grad_norm_every=every, ssim_remove_at=10), GracefulStop())
    ours, theirs = (final_state(tmp_path / name) for name in ("measured", "plain"))
    assert all(torch.equal(ours["network"][name], theirs["network"][name]) for name in ours["network"])
    for row in rows(tmp_path / "measured"):
        is_due = int(row["iteration"]) % 3 == 0 and int(row["iteration"]) < STEPS
        assert bool(row["grad_mse"]) == is_due
        assert all(bool(row[name]) == (is_due and int(row["iteration"]) < 10) for name in PART_FIGURES)
        if row["grad_luminance"]:
            low, high = (abs(float(row["grad_luminance"]) + sign * float(row["grad_structure"])) for sign in (-1, 1))
            assert low <= float(row["grad_ssim"]) * 1.001 and float(row["grad_ssim"]) <= high * 1.001


@pytest.mark.slow
def test_the_rate_is_scaled_from_a_step_on_and_the_steps_before_are_the_same(make_config, tmp_path):
    run_fit(make_config(expname="constant"), GracefulStop())
    run_fit(make_config(expname="scaled", lr_scale=((0, 1.0), (12, 0.25))), GracefulStop())
    run_fit(make_config(expname="low", lr=2.0**-11), GracefulStop())
    run_fit(make_config(expname="factor", lr_scale=((0, 0.25),)), GracefulStop())
    constant, scaled = rows(tmp_path / "constant"), rows(tmp_path / "scaled")
    assert [row["mse"] for row in scaled[:13]] == [row["mse"] for row in constant[:13]]
    assert all(one["mse"] != other["mse"] for one, other in zip(scaled[13:], constant[13:], strict=True))
    low, factor = final_state(tmp_path / "low")["network"], final_state(tmp_path / "factor")["network"]
    assert all(torch.equal(low[name], factor[name]) for name in low)
