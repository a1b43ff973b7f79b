"""Contracts, datasets, splits, evaluation and leak audit; imports none of the other packages."""
