"""A root with Python and this project, made of the machine's own files."""
