"""The run that lasts: settings, sources, events and destinations of all streams."""
