"""``python -m npsubpix``: the command line."""

from npsubpix.cli.app import main

if __name__ == "__main__":
    main()
