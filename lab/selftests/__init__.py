"""Tests of the patched KVM that run on hosts of the lab: ours, and the kernel's own."""
