"""A synthetic world of illustrated talking heads, whose every parameter is known."""
