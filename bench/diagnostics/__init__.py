"""Diagnostics of data, features, texts and machines."""
