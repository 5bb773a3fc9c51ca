"""Fixtures of this folder; tests/unit/arbiter has some of them, too."""

from tests.etcd.fixtures import _three_members, etcd_program, one_member, prefix, three

__all__ = ["_three_members", "etcd_program", "one_member", "prefix", "three"]
