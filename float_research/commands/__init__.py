"""What `float-research NAME` does: a module for each command, whose docstring is its help."""
