"""A synthetic world of illustrated talking heads with known parameters."""
