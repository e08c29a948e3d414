"""Audio around events, kept as FLAC."""
