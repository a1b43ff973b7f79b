"""Runs, from a request to records: jobs, worker processes, grids, tuning."""
