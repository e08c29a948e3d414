"""What is drawn into the terminal while it listens."""
