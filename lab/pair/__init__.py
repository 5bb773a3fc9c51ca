"""Two hosts, the networks between them, an arbiter and a party outside."""
