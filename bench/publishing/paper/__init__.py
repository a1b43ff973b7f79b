"""Papers: a folder of LaTeX with tables, charts, text and references, all from records."""

from __future__ import annotations

from bench.publishing.paper.folder import Written, write

__all__ = ["Written", "write"]
