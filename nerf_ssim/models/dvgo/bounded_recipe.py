"""How bounded DVGO is trained (Sun et al. 2022): a coarse stage finds the box, a fine one fills it."""

from __future__ import annotations

from torch import Tensor

from nerf_ssim.models.dvgo.bounded import BoundedDVGO
from nerf_ssim.models.dvgo.coarse import fine_box, mask_unseen
from nerf_ssim.models.dvgo.recipe import DvgoRecipe
from nerf_ssim.models.dvgo.stages import Stage, coarse_stage, fine_stage
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.bounds import frustum_box

__all__ = ["BoundedRecipe"]


class BoundedRecipe(DvgoRecipe):
    """DVGO in a box, in two stages."""

    field: BoundedDVGO

    def prepare(self, batches: PixelBatches) -> None:
        """Before the first iteration: the coarse stage looks at which voxels the cameras see."""
        batches.draw_with_replacement()
        dvgo, views = self.config.model, self.scene.train
        if dvgo.maskout_near_cam_vox:
            self.field.hide_near(views.c2w[:, :, 3], self.scene.near)
        if dvgo.pervoxel_lr:
            self._set_rates_by_views()

    def take_over(
        self, field: dict, stage: int, scalings_done: int, iteration: int, batches: PixelBatches | None
    ) -> None:
        """As every DVGO; the coarse stage looks at the views again, the fine one drops rays that its mask stops."""
        super().take_over(field, stage, scalings_done, iteration, batches)
        if batches is not None and self.stage is self.stages[-1]:
            batches.keep_where(self.field.meets_mask)
        elif batches is not None and self.config.model.pervoxel_lr:
            self._set_rates_by_views()

    def before_batch(self, iteration: int, batches: PixelBatches) -> list[str]:
        """The fine stage's start where it is due, then what every DVGO does."""
        is_due = self.stage is not self.stages[-1] and iteration == self.stages[-1].starts_at
        begun = [self._begin_fine_stage(iteration, batches)] if is_due else []
        return begun + super().before_batch(iteration, batches)

    def _stages(self) -> tuple[Stage, ...]:
        return coarse_stage(self.config.model), fine_stage(self.config.model)

    def _first_box(self) -> Tensor:
        return frustum_box(self.scene.train, self.scene.near, self.scene.far)

    def _make_field(self, aabb: Tensor) -> BoundedDVGO:
        return BoundedDVGO(
            self.stage.settings,
            aabb,
            self.stage.voxels_from(self.scalings_done),
            near=self.scene.near,
            generator=self.generators["init"],
        )

    def _set_rates_by_views(self) -> None:
        rates = mask_unseen(self.field, self.scene.train, self.config.model.pervoxel_lr_downrate)
        self.optimizer.set_rates(self.field.coarse_density.values, rates)

    def _begin_fine_stage(self, iteration: int, batches: PixelBatches) -> str:
        dvgo, coarse = self.config.model, self.field
        box = fine_box(coarse, dvgo.bbox_thres, dvgo.world_bound_scale, iteration)
        self.stage, self.rates_start_at = self.stages[-1], iteration
        self.threshold = self.stage.threshold_at(0)
        fine = self._placed_field(box)
        assert isinstance(fine, BoundedDVGO), "what _make_field makes"
        fine.open_where(coarse, dvgo.mask_cache_thres)
        self.field = fine
        self.optimizer = self._make_optimizer()
        share = batches.keep_where(self.field.meets_mask)
        size = "x".join(map(str, self.field.resolution))
        return f"fine stage of {size} voxels begins; its mask keeps {share:.1%} of the training pixels"
