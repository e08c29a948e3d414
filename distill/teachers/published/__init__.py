"""Checkpoints in their authors' own formats: read, checked, and opened as teachers."""
