"""From samples to scores and events in one object, and proof that a model runs right."""
