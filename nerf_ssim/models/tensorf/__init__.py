"""TensoRF (Chen et al. 2022): factorised grids, trained coarse to fine with an occupancy mask."""
