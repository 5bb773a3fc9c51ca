"""The simulator: production decisions in a simulated world. docs/SIMULATOR.md describes it."""
