"""Sounds that a user taught: the file that they are kept in."""
