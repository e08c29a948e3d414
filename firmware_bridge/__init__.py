"""Bundles as firmware. Nothing here yet: the C99 engine is the next big part."""
