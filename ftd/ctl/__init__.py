"""`ftctl`, the operator's command line."""
