"""Stages of a chain: inputs, scheduling, sharding, devices. A stage fills one feature space of the store."""
