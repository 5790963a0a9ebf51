from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
import torch

from nerf_ssim.datasets.scene import Views
from nerf_ssim.evaluation import metrics, scores
from nerf_ssim.evaluation.protocol import RenderedView, _lpips_note, picture_names, score_views, write_results

SIZE = (20, 28)
SCHEDULE = {"weight": 1.0, "add_at": 0, "remove_at": 70, "removed_at": 70}
KEYS = [
    *("scene", "model", "label", "iterations", "stopped_at", "schedule", "seed", "backend", "decoder_precision"),
    "seconds_train",
    *("psnr", "ssim", "lpips_alex", "lpips_vgg", "depth_error", "depth_within_5", "ssim_variant", "lpips_note"),
    *("depth_error_note", "depth_within_5_note", "per_image"),
]


def make_views(count: int = 3, names: tuple[str, ...] | None = None) -> Views:
    images = torch.randint(0, 256, (count, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    names = names or tuple(f"{index:06d}_rgb.png" for index in range(count))
    return Views(images, torch.eye(4)[:3].expand(count, 3, 4), torch.eye(3).expand(count, 3, 3), names)


def renderer(views: Views, offset: float = 0.05):
    def render(index: int) -> RenderedView:
        rgb = views.images[index].float() / 255.0 + offset * (index + 1)
        return RenderedView(rgb, torch.rand(SIZE) + 1.0, torch.ones(SIZE))

    return render


class FixedScorer:
    def __init__(self, net: str, value: float | None, note: str) -> None:
        self.net, self.value, self.note = net, value, note

    def score(self, rendered, truth):
        return self.value


def write(path, scores, **changes):
    facts = {"scene": "room", "model": "tensorf", "label": None, "iterations": 500, "stopped_at": 500, "seed": 1}
    facts |= {"schedule": SCHEDULE, "backend": {"ssim": "reference"}, "seconds_train": 12.5}
    facts |= {"decoder_precision": {"asked": "float32", "ran": "float32", "reason": "as asked"}}
    write_results(path, scores, **(facts | changes))
    return json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} in results.json"))


def test_the_mean_is_over_images_of_the_clamped_render(tmp_path):
    views = make_views()
    render = renderer(views, 0.2)
    scores = score_views(render, views, None, progress=False)
    expected = []
    for index in range(3):
        truth = views.images[index].double() / 255.0
        error = (render(index).rgb.double().clamp(0, 1) - truth).square().mean().item()
        expected.append(-10.0 * math.log10(error))
    assert [score.values["psnr"] for score in scores.per_image] == pytest.approx(expected, abs=1e-4)
    assert scores.mean("psnr") == pytest.approx(sum(expected) / 3, abs=1e-4)
    assert [score.name for score in scores.per_image] == list(views.names)


def test_every_view_leaves_its_three_pictures_and_the_split_a_sheet(tmp_path):
    views = make_views(2)
    score_views(renderer(views), views, tmp_path / "test", progress=False)
    stems = ("000000_rgb", "000001_rgb")
    expected = {f"{kind}{stem}.png" for stem in stems for kind in ("", "error_", "depth_")} | {"contact_sheet.png"}
    assert {path.name for path in (tmp_path / "test").iterdir()} == expected
    saved = cv2.imread(str(tmp_path / "test" / "000001_rgb.png"))[..., ::-1].astype(int)
    shown = renderer(views)(1).rgb.clamp(0, 1).numpy() * 255.0
    assert np.abs(saved - shown).max() <= 0.501


def test_results_have_every_key_and_the_reasons_beside_what_is_missing(tmp_path):
    views = make_views()
    lpips = (FixedScorer("alex", 0.25, "alex: here"), FixedScorer("vgg", None, "vgg not computed: nowhere"))
    results = write(tmp_path / "results.json", score_views(renderer(views), views, None, lpips=lpips, progress=False))
    assert list(results) == KEYS
    assert results["lpips_alex"] == 0.25
    assert results["lpips_vgg"] is None
    assert results["lpips_note"] == "alex: here; vgg not computed: nowhere"
    assert set(results["per_image"][0]) == {"name", *scores.METRICS}
    assert results["depth_error_note"] == "the scene has no depth maps"
    assert results["ssim_variant"] == "tensorf"
    assert results["schedule"] == SCHEDULE


def test_a_render_with_nan_scores_null_with_the_frame_named_and_never_nan(tmp_path):
    views = make_views()
    good = renderer(views)

    def render(index: int) -> RenderedView:
        view = good(index)
        if index == 1:
            view.rgb[3, 4, 0] = math.nan
            view.depth[0, 0] = math.nan
        return view

    lpips = (FixedScorer("alex", 0.25, "alex: here"),)
    scores = score_views(render, views, tmp_path / "test", lpips=lpips, progress=False)
    results = write(tmp_path / "results.json", scores)
    assert results["psnr"] is results["ssim"] is results["lpips_alex"] is None
    assert "000001_rgb.png" in results["psnr_note"] and "NaN" in results["psnr_note"]
    assert "000001_rgb.png" in results["ssim_note"]
    assert "NaN" in results["lpips_note"]
    assert results["per_image"][0]["psnr"] is not None
    assert results["per_image"][1]["psnr"] is None


def test_a_perfect_render_has_no_finite_psnr_and_says_so(tmp_path):
    views = make_views(1)
    results = write(tmp_path / "results.json", score_views(renderer(views, 0.0), views, None, progress=False))
    assert results["psnr"] is None and "infinite" in results["psnr_note"]
    assert results["ssim"] == pytest.approx(1.0)


def test_images_smaller_than_the_window_have_no_ssim_and_say_so(tmp_path):
    views = Views(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), torch.zeros(1, 3, 4), torch.eye(3)[None], ("tiny.png",))
    view = RenderedView(torch.full((8, 8, 3), 0.5), torch.ones(8, 8), torch.ones(8, 8))
    results = write(tmp_path / "results.json", score_views(lambda _: view, views, None, progress=False))
    assert results["ssim"] is None and "8x8" in results["ssim_note"]
    assert results["psnr"] is not None


def test_an_interruption_keeps_the_pictures_and_a_sheet_so_far(tmp_path):
    views = make_views(5)
    good = renderer(views)

    def render(index: int) -> RenderedView:
        if index == 2:
            raise KeyboardInterrupt
        return good(index)

    with pytest.raises(KeyboardInterrupt):
        score_views(render, views, tmp_path, progress=False)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"000000_rgb.png", "000001_rgb.png", "contact_sheet.png"} <= names
    assert "000002_rgb.png" not in names


def test_writing_fails_whole_and_keeps_the_results_that_were_there(tmp_path, monkeypatch):
    views = make_views(1)
    scores = score_views(renderer(views), views, None, progress=False)
    path = tmp_path / "results.json"
    write(path, scores)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write(path, scores, backend=object())
    with pytest.raises(ValueError, match="lacks removed_at"):
        write(path, scores, schedule={"weight": 1.0, "add_at": 0, "remove_at": "end"})
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["results.json"]


def test_only_the_views_asked_for_are_rendered(tmp_path):
    views, rendered = make_views(5), []
    good = renderer(views)

    def render(index: int) -> RenderedView:
        rendered.append(index)
        return good(index)

    scores = score_views(render, views, None, indices=[0, 3], progress=False)
    assert rendered == [0, 3]
    assert [score.name for score in scores.per_image] == ["000000_rgb.png", "000003_rgb.png"]


def test_the_variant_is_the_one_asked_for(tmp_path):
    views = make_views(1)
    found = score_views(renderer(views), views, None, ssim_variant="s3im", progress=False)
    truth = views.images[0].float() / 255.0
    assert found.mean("ssim") == pytest.approx(metrics.ssim(renderer(views)(0).rgb, truth, "s3im"))
    with pytest.raises(ValueError, match="not one of"):
        score_views(renderer(views), views, None, ssim_variant="other", progress=False)


@pytest.mark.parametrize(
    "names",
    [
        ("a/0.png", "b/0.png"),
        ("x.png", "x.jpg"),
        ("contact_sheet.png", "y.png"),
        ("error_x.png", "x.png"),
        ("a.png", "b.png"),
    ],
)
def test_no_two_pictures_share_a_file(names):
    stems = picture_names(names)
    files = [kind + stem for stem in stems for kind in ("", "error_", "depth_")] + ["contact_sheet"]
    assert len(set(files)) == len(files)
    assert not any("/" in stem for stem in stems)


def test_a_metric_is_one_entry_of_the_table(tmp_path, monkeypatch):
    """Results and tables follow the table; results that were written before the metric came have a dash for it."""
    brightness = scores.Metric("brightness", 3, lambda rendered, truth, scoring: float(rendered.mean()))
    before = write(
        tmp_path / "results.json", score_views(renderer(views := make_views(2)), views, None, progress=False)
    )
    monkeypatch.setitem(scores.METRICS, "brightness", brightness)
    after = write(tmp_path / "results.json", score_views(renderer(views), views, None, progress=False))
    assert after["brightness"] == pytest.approx(sum(image["brightness"] for image in after["per_image"]) / 2)
    assert (scores.score_titles()[-1], scores.score_cells(after)[-1]) == ("brightness", f"{after['brightness']:.3f}")
    assert scores.score_cells(before)[-1] == "-"


def test_a_reason_that_both_distances_have_is_given_once(tmp_path):
    reason = "not computed: nothing in torch's hub cache"
    both = tuple(FixedScorer(net, None, f"{net} {reason}") for net in ("alex", "vgg"))
    assert _lpips_note(both, {}) == f"alex and vgg {reason}"
    assert _lpips_note(both, {"lpips_vgg": "the view holds NaN"}) == f"alex {reason}; the view holds NaN"
