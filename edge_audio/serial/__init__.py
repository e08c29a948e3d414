"""Devices that tag by themselves, on a serial line."""
