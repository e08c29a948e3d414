"""The page of a listening run: what it hears, what it heard, and what may be changed."""
