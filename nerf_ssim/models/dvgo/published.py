"""DVGO's published configurations, which are Python files in four groups, as the options that DVGO has here.

A published file says what its coarse and its fine stage do each. Where one value serves both stages here, or a value
has no counterpart, a file that asks for something else is refused by the name of that setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nerf_ssim.config.options import shown
from nerf_ssim.config.published import FileSetting, PublishedFile
from nerf_ssim.config.python_files import PythonSettings, read_python
from nerf_ssim.errors import ConfigError
from nerf_ssim.models.dvgo.published_defaults import DEFAULTS

__all__ = ["read_published"]

_S3IM = ("s3im_kernel", "s3im_stride", "s3im_repeat_time", "s3im_patch_height", "s3im_patch_width")
_OPTIONAL = {"fine_train": ("s3im_weight", *_S3IM), "fine_model_and_render": ("contracted_norm", "bg_len")}
_NOT_OF_TRAINING = (
    *("inverse_y", "flip_x", "flip_y"),  # a layout's own file says how its axes point
    *("annot_path", "split_path", "sequence_name", "scene"),  # of layouts that are refused by their name
    *("load2gpu_on_the_fly", "movie_render_kwargs", "unbounded_inner_r"),  # no result of training depends on them
)
_OF_FORWARD_FACING = {"bd_factor": 0.75, "spherify": False, "width": None, "height": None, "load_depths": False}
_LAYOUTS = {"blendedmvs": "nsvf"}  # published names of layouts that go by another here


def read_published(path: Path) -> PublishedFile:
    """The options that a published Python configuration sets, in DVGO's terms here.

    Raises:
        ConfigError: a file that cannot be read, or a setting that DVGO does not have here, by its name.
    """
    settings = read_python(path, stand_ins={"default.py": DEFAULTS})
    return _Translation(path, settings).result()


@dataclass(frozen=True)
class _Group:
    """A group of settings with what it is compared to."""

    name: str
    values: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.values[key]


class _Translation:
    """One file's settings on their way to options."""

    def __init__(self, path: Path, settings: PythonSettings) -> None:
        self._path, self._settings = path, settings
        self._check_names()
        self._data = self._group("data")
        self._coarse, self._fine = self._group("coarse_train"), self._group("fine_train")
        self._coarse_model = self._group("coarse_model_and_render")
        self._fine_model = self._group("fine_model_and_render")
        self._is_contracted = bool(self._data["unbounded_inward"])

    def result(self) -> PublishedFile:
        """The options, and what there is to say of them."""
        settings = list(self._all())
        remarks = [
            f"{missing} is not there; the default.py of DVGO's Python configurations is taken"
            for missing in self._settings.missing
        ]
        if "s3im_weight" not in self._fine.values:
            remarks.append("DVGO's own files know no SSIM: this run has none unless --s3im_weight says so")
        return PublishedFile(settings, [f"{self._path}: {remark}" for remark in remarks])

    def _all(self) -> Iterator[FileSetting]:
        yield FileSetting("model", "dvgo", str(self._path))
        for name in ("expname", "basedir"):
            if (value := self._settings.values.get(name)) is not None:
                yield FileSetting(name, value, f"{self._settings.origins[name]}: {name}")
        yield from self._scene()
        yield from self._lengths()
        yield from self._fine_training()
        yield from self._fine_field()
        yield from self._ssim()
        if not self._is_contracted:
            yield from self._coarse_stage()

    def _scene(self) -> Iterator[FileSetting]:
        data = self._data
        self._only(data, "ndc", False, "DVGO's model of multiplane images, which NDC is for, is not here")
        if data["datadir"] is not None:
            yield self._take(data, "datadir")
        layout = str(data["dataset_type"])
        if data["dataset_type"] is not None:
            yield self._take(data, "dataset_type", "dataset_name", _LAYOUTS.get(layout, layout))
        yield self._take(data, "white_bkgd", "white_bg")
        yield self._take(data, "rand_bkgd")
        yield self._take(data, "unbounded_inward")
        self._only(data, "testskip", 1, "every test view is scored here")
        if layout == "llff":
            for key, value in _OF_FORWARD_FACING.items():
                self._only(data, key, value, "the layout is read as published by default")
            yield self._take(data, "factor", "downsample_train")
            yield self._take(data, "llffhold", "test_every")
        elif data["half_res"]:
            yield self._take(data, "half_res", "downsample_train", 2)

    def _lengths(self) -> Iterator[FileSetting]:
        coarse, fine = self._coarse, self._fine
        if self._is_contracted:
            self._only(coarse, "N_iters", 0, "the contracted model has no coarse stage here")
            yield self._take(fine, "N_iters", "n_iters")
        else:
            yield self._take(coarse, "N_iters", "coarse_iters")
            both = [coarse["N_iters"], fine["N_iters"]]
            updates = sum(both) if all(isinstance(count, int) for count in both) else fine["N_iters"]
            yield self._take(fine, "N_iters", "n_iters", updates)

    def _fine_training(self) -> Iterator[FileSetting]:
        fine = self._fine
        sampler = "flatten" if self._is_contracted else "in_maskcache"
        self._only(fine, "ray_sampler", sampler, "rays are drawn as the published files of this model draw them")
        self._only(fine, "weight_main", 1.0, "the colour error has weight 1")
        self._only(fine, "weight_nearclip", 0, "that loss is not here")
        self._only(fine, "pervoxel_lr", False, "rates of voxels are of the coarse stage here")
        self._only(fine, "skip_zero_grad_fields", ["density", "k0"], "the fine stage skips idle voxels of both grids")
        self._only(fine, "maskout_lt_nviews", 0, "the fine stage masks no voxels by their views")
        yield self._take(fine, "N_rand", "batch_size")
        for key in ("lrate_density", "lrate_k0", "lrate_rgbnet", "lrate_decay", "pg_scale", "decay_after_scale"):
            yield self._take(fine, key)
        for key in ("weight_entropy_last", "weight_distortion", "weight_rgbper", "weight_tv_density", "weight_tv_k0"):
            yield self._take(fine, key)
        for key in ("tv_every", "tv_after", "tv_before", "tv_dense_before"):
            yield self._take(fine, key)

    def _fine_field(self) -> Iterator[FileSetting]:
        model = self._fine_model
        self._plain_field(model)
        self._only(model, "maskout_near_cam_vox", False, "voxels near cameras are emptied in the coarse stage only")
        for key in ("num_voxels", "num_voxels_base", "alpha_init", "stepsize", "fast_color_thres"):
            yield self._take(model, key)
        for key in ("rgbnet_dim", "rgbnet_depth", "rgbnet_width", "rgbnet_direct"):
            yield self._take(model, key)
        yield from self._grids(model)
        if self._is_contracted:
            norm = model.values.get("contracted_norm", "inf")  # DVGO's own where a file does not say
            if norm != "l2":
                raise self._refusal(model, "contracted_norm", norm, "space is contracted by the norm l2 here")
            self._only(model, "world_bound_scale", 1, "the contracted model's box is not scaled here")
            if "bg_len" in model.values:
                yield self._take(model, "bg_len")
        else:
            for key in ("bbox_thres", "mask_cache_thres", "world_bound_scale"):
                yield self._take(model, key)

    def _grids(self, model: _Group) -> Iterator[FileSetting]:
        kinds = {"DenseGrid": "dense", "TensoRFGrid": "vm"}
        kind = str(model["density_type"])
        if kind not in kinds:
            raise self._refusal(model, "density_type", kind, f"there are {' and '.join(kinds)}")
        self._only(model, "k0_type", kind, "both grids are of one kind here")
        yield self._take(model, "density_type", "grid", kinds[kind])
        if kinds[kind] == "vm":
            for key, option in (("density_config", "n_lamb_sigma"), ("k0_config", "n_lamb_sh")):
                config = model[key]
                if not isinstance(config, dict) or "n_comp" not in config or set(config) - {"n_comp", "n_comp_xy"}:
                    raise self._refusal(model, key, config, "n_comp and n_comp_xy are read here")
                components = [config.get("n_comp_xy", config["n_comp"]), config["n_comp"], config["n_comp"]]
                yield self._take(model, key, option, components)

    def _coarse_stage(self) -> Iterator[FileSetting]:
        train, model = self._coarse, self._coarse_model
        for key in ("N_rand", "lrate_decay", "weight_main"):
            self._only(train, key, self._fine[key], "it is one for both stages here")
        for key in ("weight_distortion", "weight_nearclip", "weight_tv_density", "weight_tv_k0", "maskout_lt_nviews"):
            self._only(train, key, 0, "the coarse stage does not have it here")
        for key in ("weight_tv_density", "weight_tv_k0"):
            self._only(self._fine, key, 0, "total variation would reach the coarse stage too here")
        self._only(train, "ray_sampler", "random", "the coarse stage draws rays at random")
        self._only(train, "pg_scale", [], "the coarse stage is not scaled")
        self._only(train, "skip_zero_grad_fields", [], "the coarse stage updates every voxel")
        for key in ("pervoxel_lr", "pervoxel_lr_downrate"):
            yield self._take(train, key)
        for key in ("lrate_density", "lrate_k0", "weight_entropy_last", "weight_rgbper"):
            yield self._take(train, key, f"coarse_{key}")
        self._plain_field(model)
        self._only(model, "density_type", "DenseGrid", "the coarse stage has voxels of their own")
        self._only(model, "k0_type", "DenseGrid", "the coarse stage has voxels of their own")
        self._only(model, "rgbnet_dim", 0, "the coarse stage has no network")
        self._only(model, "num_voxels_base", model["num_voxels"], "the coarse grid is its own base")
        self._only(model, "stepsize", self._fine_model["stepsize"], "it is one for both stages here")
        self._only(model, "world_bound_scale", 1, "the coarse box is that of the cameras' view")
        yield self._take(model, "maskout_near_cam_vox")
        for key in ("num_voxels", "alpha_init", "fast_color_thres"):
            yield self._take(model, key, f"coarse_{key}")

    def _plain_field(self, model: _Group) -> None:
        for key in ("nearest", "pre_act_density", "in_act_density", "rgbnet_full_implicit"):
            self._only(model, key, False, "that variant of the model is not here")

    def _ssim(self) -> Iterator[FileSetting]:
        fine, rays = self._fine, self._fine["N_rand"]
        if "s3im_weight" in fine.values:
            yield self._take(fine, "s3im_weight")
        else:
            yield FileSetting("s3im_weight", 0.0, str(self._path))
        for key in _S3IM:
            if key in fine.values:
                yield self._take(fine, key)
        if not {"s3im_patch_height", "s3im_patch_width"} & set(fine.values) and isinstance(rays, int):
            if rays % 64 == 0 and rays > 0:  # an image as S3IM's for this model: 64 rows of the batch
                yield FileSetting("s3im_patch_height", 64, f"{self._path}: fine_train.N_rand")
                yield FileSetting("s3im_patch_width", rays // 64, f"{self._path}: fine_train.N_rand")
            else:
                yield FileSetting("luminance_every", 0, f"{self._path}: fine_train.N_rand")

    def _take(self, group: _Group, key: str, option: str | None = None, value: Any = None) -> FileSetting:
        """A setting under the name that it has as an option here, with its own value where none is given."""
        return FileSetting(option or key, group[key] if value is None else value, self._place(group, key))

    def _only(self, group: _Group, key: str, wanted: Any, why: str) -> None:
        """Refuses a setting of another value than `wanted`."""
        if group[key] != wanted:
            raise self._refusal(group, key, group[key], f"{why} (as with {wanted!r})")

    def _refusal(self, group: _Group, key: str, value: object, why: str) -> ConfigError:
        return ConfigError(f"{self._place(group, key)}: {shown(value)} cannot be had: {why}")

    def _place(self, group: _Group, key: str) -> str:
        name = f"{group.name}.{key}"
        return f"{self._settings.origins.get(name, self._path)}: {name}"

    def _group(self, name: str) -> _Group:
        own = self._settings.values.get(name, {})
        if not isinstance(own, dict):
            raise ConfigError(f"{self._settings.origins[name]}: {name}: {shown(own)} is not a dict of settings")
        return _Group(name, {**DEFAULTS[name], **own})

    def _check_names(self) -> None:
        """Refuses groups and settings that DVGO does not know; a plain value of its own name is a file's variable."""
        for name, value in self._settings.values.items():
            if not isinstance(value, dict):
                continue
            known: dict[str, Any] = dict(DEFAULTS.get(name) or {})
            if not isinstance(DEFAULTS.get(name), dict):
                groups = [group for group, default in DEFAULTS.items() if isinstance(default, dict)]
                raise ConfigError(f"{self._settings.origins[name]}: unknown group {name!r}{_nearest(name, groups)}")
            names = [*known, *_OPTIONAL.get(name, ()), *(_NOT_OF_TRAINING if name == "data" else ())]
            for key in value:
                if key not in names:
                    place = self._settings.origins[f"{name}.{key}"]
                    raise ConfigError(f"{place}: {name}: unknown setting {key!r}{_nearest(str(key), names)}")


def _nearest(name: str, names: list[str]) -> str:
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(names)}"
