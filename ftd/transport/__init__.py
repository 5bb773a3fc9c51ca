"""Control connections over trio: framing, a server for a table of methods, a client, listeners."""
