"""Training: base classes of trained recommenders, loop, losses, negatives, snapshots, checkpoints."""
