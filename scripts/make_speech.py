"""`python scripts/make_speech.py` is `float-research make_speech`, from a source checkout."""

from float_research.__main__ import script

if __name__ == "__main__":
    script(__file__)
