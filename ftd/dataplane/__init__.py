"""The path from a guest's store to the standby's acknowledgement, in C, and its Python face."""
