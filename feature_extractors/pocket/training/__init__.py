"""Training scripts of the pocket checkpoints. Not part of the wheel."""
