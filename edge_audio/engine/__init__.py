"""What the C engine runs: one checked image of sizes, labels, thresholds and weights."""
