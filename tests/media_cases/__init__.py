"""Files as people have them, each with the right values: built by PyAV and Pillow, read, and measured."""
