"""The specification of each op in plain PyTorch: any floating dtype, any device, differentiable."""
