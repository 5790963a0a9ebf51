"""What nerfbaselines reads to know of `NerfSsimMethod`; see `nerfbaselines_method.py`."""

from nerfbaselines import register

register(
    {
        "id": "nerf-ssim",
        "method_class": "examples.nerfbaselines_method:NerfSsimMethod",
        "metadata": {"name": "nerf_ssim", "description": "TensoRF and DVGO trained with SSIM for part of the way"},
    }
)
