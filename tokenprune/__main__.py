"""`python -m tokenprune` is the command `tokenprune`."""

from tokenprune.cli import main

if __name__ == "__main__":
    main()
