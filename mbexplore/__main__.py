"""`python -m mbexplore`, the same as the `mbexplore` command."""

from mbexplore.cli import main

if __name__ == "__main__":
    main()
