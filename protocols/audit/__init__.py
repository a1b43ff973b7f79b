"""Leak audit: checks of a problem against the raw log, independent of the code that splits."""
