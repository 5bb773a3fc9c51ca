"""KVM's modules, built from Debian's kernel source and the series in kernel-patches/."""
