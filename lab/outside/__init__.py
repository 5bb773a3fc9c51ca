"""Clients that stand outside and judge what they see of the lab's guest."""
