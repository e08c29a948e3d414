"""One exporter per runtime; each takes the same StepGraph."""
