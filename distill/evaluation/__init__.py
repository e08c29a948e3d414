"""What a model is worth: metrics, tables and figures of clips, streams and folds."""
