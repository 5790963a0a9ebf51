"""The plain PyTorch specification of each op: any floating dtype, any device, differentiable."""
