"""Tests mirror the packages; `support` has what they share."""
