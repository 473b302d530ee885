"""The commands of `float-research NAME`: one module each, whose docstring is its help."""
