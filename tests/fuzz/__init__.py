"""The attack: damaged files, bombs, kills, signals, full disks, hostile records and names against the product."""
