"""What a log says about hours or months of listening: aggregated, then drawn."""
