"""Targets that are built here: Android libraries and the web page."""
