"""One distillation run: recipe, targets, losses, trainer and what is published of it."""
