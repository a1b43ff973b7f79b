"""Publishing: committed results, BENCHMARKS.md, citations, verification of tables."""
