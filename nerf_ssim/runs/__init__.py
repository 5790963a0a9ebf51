"""What a run leaves and needs: its folder, checkpoints, manifest, metrics log, lock, interrupts and generators."""
