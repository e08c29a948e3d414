"""Teachers: large models whose outputs the students learn to predict."""
