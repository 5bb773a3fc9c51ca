"""Machines that ftd protects: the contract, and the microvm."""
