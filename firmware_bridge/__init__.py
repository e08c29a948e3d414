"""Bundles as firmware: the C99 engine, and what turns a bundle into a folder that builds by itself
for a microcontroller, a Pi, a phone or a web page."""
