"""From a trained checkpoint to a bundle: int8 weights, exported graphs, thresholds, proof."""
