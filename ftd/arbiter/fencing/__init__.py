"""In place of an arbiter, between two hosts: proof that the other one is off.

``agent``    runs a fence command, by the conventions of the fence-agents package
``proof``    that a host was off at some moment: one file, shared by all workers of this host
``arbiter``  answers claims by it
"""
