from __future__ import annotations

import io
import urllib.error

import cv2
import pytest
import torch

from nerf_ssim.evaluation import backbone_download, perceptual
from nerf_ssim.evaluation.perceptual import BACKBONES, POOL, LpipsScorer, describe_weights, lpips_scorers

pytest.importorskip("lpips")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No test may reach out, nor find weights in this machine's own cache."""
    calls = []

    def refuse(url, timeout=None):
        calls.append(url)
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(backbone_download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    backbone_download.download_backbone.cache_clear()
    yield calls
    backbone_download.download_backbone.cache_clear()


def random_features(net: str, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    kernel = {"alex": {0: 11, 3: 5}, "vgg": {}}[net]
    tensors, channels_in = {}, 3
    for layer in BACKBONES[net].layers:
        if layer == POOL:
            continue
        index, channels = layer.place, layer.channels
        side = kernel.get(index, 3)
        scale = (2.0 / (channels_in * side * side)) ** 0.5
        kernel_shape = (channels, channels_in, side, side)
        tensors[f"features.{index}.weight"] = scale * torch.randn(kernel_shape, generator=generator)
        tensors[f"features.{index}.bias"] = 0.1 * torch.randn(channels, generator=generator)
        channels_in = channels
    return tensors


def pictures(side: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(side, side, 3, generator=generator), torch.rand(side, side, 3, generator=generator)


@pytest.mark.parametrize(("net", "expected"), [("alex", (0.7219, 0.1376)), ("vgg", (0.5686, 0.4217))])
def test_the_published_example_pair_scores_as_published(shared_path, net, expected):
    def read(name):
        image = cv2.imread(str(shared_path / "data" / "lpips_check" / f"{name}.png"))
        return torch.from_numpy(image[..., ::-1].copy()).float() / 255.0

    scorer = LpipsScorer(net, shared_path / "weights")
    found = [scorer.score(read(name), read("ex_ref")) for name in ("ex_p0", "ex_p1")]
    assert found == pytest.approx(expected, abs=1e-3)
    assert BACKBONES[net].weights_file in scorer.note


@pytest.mark.slow
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_distance_equals_that_of_the_lpips_package(net, tmp_path, monkeypatch):
    lpips = pytest.importorskip("lpips")
    models = pytest.importorskip("torchvision").models
    features = random_features(net)
    torch.save(features, tmp_path / BACKBONES[net].weights_file)
    # The package builds the whole classifier, half a gigabyte for VGG; its convolutions are all that the distance uses.
    plain = {"alex": models.AlexNet, "vgg": lambda: models.VGG(models.vgg.make_layers(models.vgg.cfgs["D"]), 2, False)}
    name = {"alex": "alexnet", "vgg": "vgg16"}[net]
    monkeypatch.setattr(lpips.pretrained_networks.tv, name, lambda pretrained: small(plain[net], features))
    judge = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    rendered, truth = pictures()
    with torch.no_grad():
        expected = judge(*(2 * image.permute(2, 0, 1)[None] - 1 for image in (rendered, truth))).item()
    assert LpipsScorer(net, tmp_path).score(rendered, truth) == pytest.approx(expected, rel=1e-5)


def small(build, features):
    with torch.device("meta"):
        model = build()
    tensors = {name.removeprefix("features."): tensor for name, tensor in features.items()}
    model.features.load_state_dict(tensors, assign=True)
    return model


def test_scoring_leaves_torch_as_it_was(tmp_path):
    torch.save(random_features("alex"), tmp_path / "alexnet_features.pth")
    before = torch.get_rng_state(), torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    LpipsScorer("alex", tmp_path).score(*pictures())
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads())


def test_the_named_folder_comes_before_the_hub_cache_and_that_before_the_network(tmp_path, no_network):
    hub = tmp_path / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    torch.save(random_features("alex", seed=1), hub / "alexnet-owt-7be5be79.pth")
    torch.save(random_features("alex", seed=2), tmp_path / "alexnet_features.pth")
    assert "alex from " + str(tmp_path / "alexnet_features.pth") in describe_weights(tmp_path)
    assert "alex from " + str(hub / "alexnet-owt-7be5be79.pth") in describe_weights(None)
    named, cached = LpipsScorer("alex", tmp_path), LpipsScorer("alex", None)
    assert named.score(*pictures()) != cached.score(*pictures())
    assert "alexnet_features.pth" in named.note
    assert "alexnet-owt" in cached.note
    assert no_network == []


def test_a_torn_file_is_passed_over_and_the_reason_kept(tmp_path):
    whole = io.BytesIO()
    torch.save(random_features("alex"), whole)
    (tmp_path / "alexnet_features.pth").write_bytes(whole.getvalue()[:1000])
    scorer = LpipsScorer("alex", tmp_path)
    assert scorer.score(*pictures()) is None
    assert "alexnet_features.pth cannot be used" in scorer.note


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(random_features("vgg"), tmp_path / "alexnet_features.pth")
    scorer = LpipsScorer("alex", tmp_path)
    assert scorer.score(*pictures()) is None
    assert "cannot be used" in scorer.note


def test_a_pickle_that_would_run_code_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"features.0.weight": Trap()}, tmp_path / "alexnet_features.pth")
    scorer = LpipsScorer("alex", tmp_path)
    assert scorer.score(*pictures()) is None
    assert not (tmp_path / "sprung").exists()


def test_offline_the_network_is_tried_once_and_the_score_is_none_with_the_reason(no_network):
    pytest.importorskip("torchvision")
    for scorer in (*lpips_scorers(None), *lpips_scorers(None)):
        assert scorer.score(*pictures()) is None
        assert scorer.score(*pictures()) is None
        assert "no network in tests" in scorer.note
    assert len(no_network) == 2  # alex once, vgg once


def test_a_server_that_never_answers_is_given_up_on(monkeypatch):
    pytest.importorskip("torchvision")
    import threading

    release = threading.Event()
    monkeypatch.setattr(backbone_download.urllib.request, "urlopen", lambda url, timeout: release.wait(20))
    monkeypatch.setattr(backbone_download, "CONNECT_SECONDS", 0.1)
    path, reason = backbone_download.download_backbone("alex")
    release.set()
    assert path is None
    assert "no answer within" in reason


def test_a_damaged_download_is_not_kept(monkeypatch, tmp_path):
    pytest.importorskip("torchvision")

    class Response(io.BytesIO):
        headers = {"Content-Length": "7"}

    monkeypatch.setattr(backbone_download.urllib.request, "urlopen", lambda url, timeout: Response(b"garbage"))
    path, reason = backbone_download.download_backbone("alex")
    assert path is None
    assert "arrived damaged" in reason
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_without_the_lpips_package_the_score_is_none_with_the_remedy(monkeypatch):
    monkeypatch.setattr(perceptual.importlib.util, "find_spec", lambda name: None)
    scorer = LpipsScorer("alex")
    assert scorer.score(*pictures()) is None
    assert "pip install lpips" in scorer.note
    assert "pip install lpips" in describe_weights(None)


def test_an_image_too_small_for_the_network_has_no_score(tmp_path):
    torch.save(random_features("alex"), tmp_path / "alexnet_features.pth")
    scorer = LpipsScorer("alex", tmp_path)
    smallest = BACKBONES["alex"].smallest_side
    assert scorer.score(*pictures(smallest - 1)) is None
    assert "at least 31 pixels" in scorer.note
    assert scorer.score(*pictures(smallest)) is not None


@pytest.mark.slow
@pytest.mark.parametrize("net", BACKBONES)
@pytest.mark.parametrize("change", ["kernel", "bias", "nan"])
def test_weights_of_another_shape_or_not_finite_are_refused(tmp_path, net, change):
    tensors = random_features(net)
    if change == "kernel":
        tensors["features.0.weight"] = tensors["features.0.weight"][..., :2].contiguous()
    elif change == "bias":
        tensors["features.0.bias"] = tensors["features.0.bias"][:1]
    else:
        tensors["features.0.bias"][3] = float("nan")
    torch.save(tensors, tmp_path / BACKBONES[net].weights_file)
    scorer = LpipsScorer(net, tmp_path)
    assert scorer.score(*pictures()) is None
    assert "features.0." in scorer.note and ("NaN" in scorer.note) == (change == "nan")


def test_bytes_are_refused():
    with pytest.raises(ValueError, match="data_range"):
        LpipsScorer("alex").score(*(picture.mul(255).byte() for picture in pictures()))
