"""Loaders of checkpoints: one module for each model family; pocket and real checkpoints take the same code path."""
