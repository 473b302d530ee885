"""Evaluation of the demo model on held-out people and sentences."""
