"""A host of the lab: a machine under software emulation, with the kernel, modules and root it is given."""
