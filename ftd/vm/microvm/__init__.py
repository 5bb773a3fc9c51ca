"""ftd's own small KVM machine. Its devices are in C, beside this file; the rest is Python."""
