"""What can be measured of a clip or of a run, one metric a file."""
