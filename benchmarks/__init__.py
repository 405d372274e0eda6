"""Every promise about speed, measured beside its peers: `python -m benchmarks`."""
