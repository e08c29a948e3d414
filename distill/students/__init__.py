"""Causal students: one parallel `forward` for training, one `step` for streaming."""
