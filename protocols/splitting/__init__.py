"""Splits: rolling windows and leave-one-out, from rows of a log to ranking problems."""
