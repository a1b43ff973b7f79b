"""Top floor: what users touch (command line, runs, records, leaderboards)."""
