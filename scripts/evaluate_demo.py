"""`python scripts/evaluate_demo.py` is `float-research evaluate_demo`, from a source checkout."""

from float_research.__main__ import script

if __name__ == "__main__":
    script(__file__)
