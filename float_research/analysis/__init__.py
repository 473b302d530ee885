"""Logged runs as data frames, plots, and a page that compares them."""
