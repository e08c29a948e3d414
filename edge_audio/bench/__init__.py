"""What listening costs: contenders measured side by side, each in a process of its own."""
