"""What the lab's clients see of a real guest, beside the guest unprotected and beside QEMU."""
