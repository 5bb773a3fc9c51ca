"""Fault tolerance for KVM guests: a guest that survives the death of its host."""

__version__ = "0.1.0"
