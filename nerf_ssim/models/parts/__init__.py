"""What the models share: grids, decoders, rendering, occupancy, thinning and optimisers."""
