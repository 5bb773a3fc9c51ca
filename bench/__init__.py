"""``python -m bench``: the product held against the floor, a bare C loop, in the same run."""
