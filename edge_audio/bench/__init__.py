"""What listening costs: candidates measured side by side, each in a process of its own."""
