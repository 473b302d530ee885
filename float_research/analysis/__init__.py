"""Data frames, plots and the comparison page of logged runs."""
