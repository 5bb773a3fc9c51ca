"""Where a guest's output goes on a host: taps, bridges, and what is said on them when a guest has moved."""
