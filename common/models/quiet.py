"""Load TensorFlow without its start-up chatter, which no log level of its own holds back."""

import importlib
import os
import sys
import tempfile

CHATTER = ("WARNING: All log messages before absl::InitializeLog()", "oneDNN custom operations are on")


def load(module: str) -> None:
    """Import a module; what it writes to standard error meanwhile is passed on, save for the lines of CHATTER."""
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            importlib.import_module(module)
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            caught.seek(0)
            rest = [line for line in caught.read().decode(errors="replace").splitlines() if not _known(line)]
            print(*rest, sep="\n", end="\n" if rest else "", file=sys.stderr)


def _known(line: str) -> bool:
    return any(words in line for words in CHATTER)
