"""Listening as a service of systemd."""
