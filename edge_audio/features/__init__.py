"""From samples to what a model hears: log-mel frames, and the gate that skips silence."""
