"""Training: the loop, its optimisers, and what a run leaves behind (checkpoints, metrics, manifest)."""
