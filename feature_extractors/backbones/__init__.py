"""One loader per model family; each serves the pocket checkpoint and the real one with the same code."""
