"""Subjects of bench.py."""
