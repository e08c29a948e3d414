"""Clips, their labels, and the data sets that they come from."""
