"""Prompts of the extractors: one text file each."""
