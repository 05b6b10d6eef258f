"""`python -m kinevec`: the command line."""

from kinevec.cli import main

if __name__ == "__main__":  # loader processes import this file again
    main()
