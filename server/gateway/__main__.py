"""`python -m server.gateway FOLDER`: the gateway's process, which `python -m server start` keeps alive."""

import sys
from pathlib import Path

from common.cli.command import exit_status
from server.gateway.app import main

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m server.gateway FOLDER   (`python -m server start` does it)")
    sys.exit(exit_status(lambda: main(Path(sys.argv[1])), "the gateway has ended."))
