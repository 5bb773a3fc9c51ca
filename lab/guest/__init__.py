"""The lab's real guest: Debian's kernel, a small root on a disk, a database, services for clients outside."""
