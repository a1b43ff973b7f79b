"""Training data as batches: whole sequences, pairs, prefixes; recency weights and rows of fitted users."""
