"""Training data as batches: whole sequences, pairs, prefixes, weighted histories."""
