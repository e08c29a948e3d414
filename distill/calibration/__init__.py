"""Thresholds chosen by scenes of held-out clips."""
