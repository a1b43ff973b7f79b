"""Decoding of video and sound with PyAV and decord, in processes of their own. Imports no torch."""
