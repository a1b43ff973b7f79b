"""Text processing of extractors: prompts, structured answers, repetition, windows of sound tags."""
