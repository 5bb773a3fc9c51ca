"""`python -m lab.outside`."""

from lab.outside.cli import main

main()
