"""What a run keeps in its folder: settings, checkpoints, curves."""
