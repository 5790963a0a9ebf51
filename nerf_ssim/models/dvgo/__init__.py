"""DVGO (Sun et al. 2022): voxel grids, over contracted space or in a box that a coarse stage finds."""
