"""Figures of the demo model, on people and sentences that no training saw."""
