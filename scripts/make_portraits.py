"""`python scripts/make_portraits.py` is `float-research make_portraits`, from a source checkout."""

from float_research.__main__ import script

if __name__ == "__main__":
    script(__file__)
