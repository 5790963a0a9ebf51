"""LPIPS with AlexNet or VGG16, from weights on disk when there are any.

The distance needs two sets of weights: the linear heads, which the `lpips` package ships, and a backbone trained on
ImageNet, which it does not. The backbone is looked for in three places in order: a folder the user names, torch's hub
cache, and torchvision's download. The network itself is a dozen convolutions, run here directly: building torchvision's
models would draw from the global random generator and hold a 500 MB classifier that LPIPS never uses.
"""

from __future__ import annotations

import importlib.util
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nerf_ssim.evaluation.backbone_download import backbone_url, download_backbone
from nerf_ssim.evaluation.metrics import unit_pair
from nerf_ssim.files import require_regular, user_path


class Convolution(NamedTuple):
    """A convolution and the ReLU after it; `place` is its index in torchvision's `features`."""

    place: int
    stride: int
    padding: int
    channels: int
    side: int = 3  # of the kernel, pixels


POOL = None  # a pooling between two convolutions


@dataclass(frozen=True)
class Backbone:
    """A stack of convolutions, each followed by a ReLU; LPIPS compares the features after the marked ones."""

    weights_file: str
    hub_pattern: str
    layers: tuple[Convolution | None, ...]  # None is `POOL`
    taps: tuple[int, ...]  # the indices whose ReLU output is compared
    pool_window: int
    smallest_side: int


BACKBONES = {
    "alex": Backbone(
        weights_file="alexnet_features.pth",
        hub_pattern="alexnet-owt-*.pth",
        layers=(
            Convolution(0, 4, 2, 64, side=11),
            POOL,
            Convolution(3, 1, 2, 192, side=5),
            POOL,
            Convolution(6, 1, 1, 384),
            Convolution(8, 1, 1, 256),
            Convolution(10, 1, 1, 256),
        ),
        taps=(0, 3, 6, 8, 10),
        pool_window=3,
        smallest_side=31,
    ),
    "vgg": Backbone(
        weights_file="vgg16_features.pth",
        hub_pattern="vgg16-*.pth",
        layers=(
            *(Convolution(0, 1, 1, 64), Convolution(2, 1, 1, 64), POOL),
            *(Convolution(5, 1, 1, 128), Convolution(7, 1, 1, 128), POOL),
            *(Convolution(10, 1, 1, 256), Convolution(12, 1, 1, 256), Convolution(14, 1, 1, 256), POOL),
            *(Convolution(17, 1, 1, 512), Convolution(19, 1, 1, 512), Convolution(21, 1, 1, 512), POOL),
            *(Convolution(24, 1, 1, 512), Convolution(26, 1, 1, 512), Convolution(28, 1, 1, 512)),
        ),
        taps=(2, 7, 14, 21, 28),
        pool_window=2,
        smallest_side=16,
    ),
}
# ImageNet's mean and deviation carried to images in [-1, 1], as the LPIPS authors round them.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
# What torch.load and a look at its result raise for files that are torn, of another kind, or not only tensors.
UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    pickle.UnpicklingError,
)


class LpipsScorer:
    """Learned perceptual distance between a render and the truth; lower is closer.

    Weights are found and loaded at the first score, so that making a scorer costs nothing.

    Args:
        net: `alex` or `vgg`.
        weights: folder with `alexnet_features.pth` / `vgg16_features.pth` (torchvision's `features.*`), or None.
        device: where the distance is computed.
        allow_download: False to stop at the files on disk.
    Attributes:
        net: as given.
        note: after a score: where the backbone came from, or why there is no score.
    Raises:
        ValueError: an unknown net.
    Source: Zhang et al. 2018, version 0.1 of the published weights.
    """

    def __init__(
        self, net: str, weights: str | Path | None = None, *, device: str = "cpu", allow_download: bool = True
    ) -> None:
        if net not in BACKBONES:
            raise ValueError(f"lpips net {net!r} is not one of {', '.join(BACKBONES)}")
        self.net = net
        self.note = "not computed yet"
        self._folder = None if weights in (None, "") else user_path(weights)
        self._device = torch.device(device)
        self._allow_download = allow_download
        self._is_loaded = False
        self._features: dict[str, Tensor] | None = None
        self._heads: list[Tensor] = []

    def score(self, rendered: Tensor, truth: Tensor) -> float | None:
        """Distance of two images; None without weights, `note` says why.

        Args:
            rendered, truth: `[height, width, 3]`, of a range as `metrics.unit_pair` takes it.
        Raises:
            ValueError: as `metrics.unit_pair`.
        """
        rendered, truth = unit_pair(rendered, truth)
        if not self._is_loaded:
            self._load()
            self._is_loaded = True
        if self._features is None:
            return None
        smallest = BACKBONES[self.net].smallest_side
        if min(rendered.shape[:2]) < smallest:
            self.note = f"{self.net} needs images of at least {smallest} pixels a side"
            return None
        with torch.inference_mode():
            return float(self._distance(self._features, self._prepare(rendered), self._prepare(truth)))

    def _prepare(self, image: Tensor) -> Tensor:
        image = image.to(device=self._device, dtype=torch.float32).permute(2, 0, 1)[None]
        shift = torch.tensor(SHIFT, device=self._device).view(1, 3, 1, 1)
        scale = torch.tensor(SCALE, device=self._device).view(1, 3, 1, 1)
        return (2.0 * image - 1.0 - shift) / scale

    def _distance(self, features: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        backbone = BACKBONES[self.net]
        both = torch.cat((x, y))
        total = both.new_zeros(())
        heads = iter(self._heads)
        for layer in backbone.layers:
            if layer is POOL:
                both = functional.max_pool2d(both, backbone.pool_window, stride=2)
                continue
            weight, bias = features[f"features.{layer.place}.weight"], features[f"features.{layer.place}.bias"]
            both = functional.conv2d(both, weight, bias, stride=layer.stride, padding=layer.padding).relu_()
            if layer.place in backbone.taps:
                unit = both / (both.square().sum(1, keepdim=True).sqrt() + 1e-10)
                total = total + ((unit[0] - unit[1]).square() * next(heads)[0]).sum(0).mean()
        return total

    def _load(self) -> None:
        heads, reason = _load_heads(self.net)
        if heads is None:
            self.note = reason
            return
        features, self.note = _load_backbone(self.net, self._folder, self._allow_download)
        if features is not None:
            self._features = {name: tensor.to(self._device) for name, tensor in features.items()}
            self._heads = [head.to(self._device) for head in heads]


def lpips_scorers(weights: str | Path | None, *, device: str = "cpu") -> tuple[LpipsScorer, ...]:
    """The two scorers of `results.json`: alex, then vgg."""
    return tuple(LpipsScorer(net, weights, device=device) for net in BACKBONES)


def describe_weights(weights_dir: str | Path | None) -> str:
    """Where each backbone would come from, in one line, without loading or downloading anything."""
    folder = None if weights_dir in (None, "") else user_path(weights_dir)
    if _heads_file("alex") is None:
        return "LPIPS unavailable: the lpips package is not installed (pip install lpips)"
    parts = []
    for net in BACKBONES:
        candidates = [path for path in _files_on_disk(net, folder) if path.is_file()]
        if candidates:
            parts.append(f"{net} from {candidates[0]}")
            continue
        url, reason = backbone_url(net)
        parts.append(f"{net} by download from {url}" if url else f"{net} unavailable ({reason})")
    return "LPIPS weights: " + "; ".join(parts)


def _files_on_disk(net: str, folder: Path | None) -> list[Path]:
    backbone = BACKBONES[net]
    named = [] if folder is None else [folder / backbone.weights_file]
    return named + sorted((Path(torch.hub.get_dir()) / "checkpoints").glob(backbone.hub_pattern))


def _load_backbone(net: str, folder: Path | None, allow_download: bool) -> tuple[dict[str, Tensor] | None, str]:
    """The convolutions' tensors and their origin, or None and every reason met on the way."""
    reasons = []
    on_disk = _files_on_disk(net, folder)
    for path in on_disk:
        if not path.is_file():
            reasons.append(f"{path} does not exist")
            continue
        features, reason = _read(path, lambda tensors: _checked_features(net, tensors))
        if features is not None:
            return features, f"{net}: {path}"
        reasons.append(reason)
    if not any(path.is_file() for path in on_disk):
        reasons.append("nothing in torch's hub cache")
    if allow_download:
        downloaded, reason = download_backbone(net)
        if downloaded is not None:
            features, reason = _read(downloaded, lambda tensors: _checked_features(net, tensors))
            if features is not None:
                return features, f"{net}: {downloaded} (downloaded)"
        reasons.append(reason)
    return None, f"{net} not computed: {'; '.join(reasons)} (--lpips_weights DIR names a folder that has it)"


def _checked_features(net: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The convolutions' tensors in float32; KeyError or ValueError where one is missing or is no such convolution's."""
    found: dict[str, Tensor] = {}
    channels_in = 3
    for layer in BACKBONES[net].layers:
        if layer is POOL:
            continue
        kernel = (layer.channels, channels_in, layer.side, layer.side)
        for kind, shape in (("weight", kernel), ("bias", (layer.channels,))):
            name = f"features.{layer.place}.{kind}"
            found[name] = _checked_weight(tensors, name, shape)
        channels_in = layer.channels
    return found


def _checked_weight(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    tensor = tensors[name]
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} is of shape {list(tensor.shape)}, not {list(shape)}")
    copy = tensor.to(torch.float32).clone()  # a copy lets a mapped file's classifier go
    if not copy.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity")
    return copy


def _heads_file(net: str) -> Path | None:
    # Found without importing lpips, which would import torchvision's model zoo and print.
    spec = importlib.util.find_spec("lpips")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "weights" / "v0.1" / f"{net}.pth"


def _load_heads(net: str) -> tuple[list[Tensor] | None, str]:
    path = _heads_file(net)
    if path is None:
        return None, f"{net} not computed: the lpips package is not installed (pip install lpips)"
    return _read(path, lambda tensors: _checked_heads(net, tensors))


def _checked_heads(net: str, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """A weight a channel for each compared level; KeyError or ValueError as `_checked_features`."""
    layers = [layer for layer in BACKBONES[net].layers if layer is not POOL and layer.place in BACKBONES[net].taps]
    return [
        _checked_weight(tensors, f"lin{level}.model.1.weight", (1, layer.channels, 1, 1))
        for level, layer in enumerate(layers)
    ]


def _read(path: Path, select: Callable) -> tuple:
    """`(select(tensors of the file), "")`, or None and why it does not serve. Nothing but tensors is unpickled."""
    try:
        require_regular(path)
        # Mapping reads only the convolutions of a half-gigabyte file; the oldest format cannot be mapped.
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        return select(tensors), ""
    except UNREADABLE as error:  # a torn, foreign or unsafe file is one more reason to look further
        problem = f"lacks {error}" if isinstance(error, KeyError) else str(error).strip().split("\n")[0][:120]
        return None, f"{path} cannot be used ({problem or type(error).__name__})"
