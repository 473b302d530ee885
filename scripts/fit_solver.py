"""`python scripts/fit_solver.py` is `float-research fit_solver`, from a source checkout."""

from float_research.__main__ import script

if __name__ == "__main__":
    script(__file__)
