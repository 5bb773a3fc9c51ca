"""Decisions of replication, pure: no I/O, no clock, no randomness of its own.

``states``      what a copy of a VM can be, and what its guest and its output may do then
``events``      what the cores are told; ``actions`` what they answer
``table``       the transitions, as data; docs/STATES.md is generated from it by ``diagram``
``active``      the copy that has the guest; ``standby`` the copy that waits
``first_sync``  when the first synchronisation slows the guest down, and when it ends
``epochs``      what is sealed, sent, acknowledged and released
"""
