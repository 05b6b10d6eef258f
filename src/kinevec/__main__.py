"""`python -m kinevec`: the command line."""

from kinevec.cli import main

main()
