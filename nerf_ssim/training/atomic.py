"""The old place of `nerf_ssim.atomic`."""

from nerf_ssim.atomic import atomic_file as atomic_file
from nerf_ssim.atomic import remove_leftovers as remove_leftovers
from nerf_ssim.atomic import sync_folder as sync_folder
