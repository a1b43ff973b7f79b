"""Readers of files made elsewhere: vectors, texts, lists of ids, folders of clips."""
