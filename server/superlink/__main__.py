"""`python -m server.superlink …`: Flower's own SuperLink, with its own options, from an environment at any path."""

import sys

from flwr.superlink.cli import flower_superlink

from server.superlink.migrations import allow_any_path

if __name__ == "__main__":
    allow_any_path()
    sys.argv[0] = "flower-superlink"
    flower_superlink()
