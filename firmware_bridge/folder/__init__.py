"""A folder that builds by itself on a device: written, compiled, probed and measured."""
