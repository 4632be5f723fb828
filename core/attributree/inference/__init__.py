"""Answers of the live tree, for files and for the catalogue."""
