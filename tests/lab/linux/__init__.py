"""Linux guests in the microvm. `image.py` is for the machine outside; the rest runs on a host of the lab."""
