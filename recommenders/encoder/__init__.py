"""Item encoder: item vectors from ids and features, with its fusions."""
