"""What a model says: scores of clips and of streams."""
