"""Architectures and training data of the pocket checkpoints. Not part of the wheel."""
