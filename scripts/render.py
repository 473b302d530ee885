"""`python scripts/render.py` is `float-research render`, from a source checkout."""

from float_research.__main__ import script

if __name__ == "__main__":
    script(__file__)
