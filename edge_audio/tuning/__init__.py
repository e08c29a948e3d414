"""Thresholds chosen by the user's own recordings."""
