"""Files as people have them, in tables: how each is made, and what has to come of it."""
