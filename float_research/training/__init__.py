"""Training of FLOAT: an objective per stage, and one Lightning module that runs them all."""
