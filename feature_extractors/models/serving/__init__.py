"""Models that a server or an engine in this process answers for."""
