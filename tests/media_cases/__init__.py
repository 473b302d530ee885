"""Realistic media files with expected values: built by PyAV and Pillow, read, and measured."""
