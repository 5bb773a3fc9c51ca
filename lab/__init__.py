"""The lab: kernel modules built from kernel-patches/, and hosts under software emulation that run them."""
