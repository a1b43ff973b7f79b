"""Evaluation: full ranking, metrics, slices, statistics."""
