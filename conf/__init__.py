"""The configs, as `pkg://float_research.conf`."""
