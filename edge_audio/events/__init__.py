"""From scores to events: detection per label, and what of it is reported."""
