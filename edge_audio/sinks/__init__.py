"""Where events and scores go."""
