"""Runs: from a request to records. Workers, pools, grids, tuning."""
