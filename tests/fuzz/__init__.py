"""Fuzzing and fault injection: damaged files, bombs, kills, signals, full disks, hostile records and names."""
