"""Edits of the sampled motion, by its coordinates along the decoder's directions."""
