"""One step of a student as a graph: rewritten, in int8, with known ranges."""
