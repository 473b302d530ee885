"""Training FLOAT: an objective for each stage, and one Lightning module that runs them all."""
