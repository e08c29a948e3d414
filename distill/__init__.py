"""Training: teachers, students, mixtures, losses, evaluation."""
