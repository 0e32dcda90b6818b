"""Load TensorFlow without its start-up chatter, which no log level holds back, and without what Keras need not load."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

CHATTER = ("WARNING: All log messages before absl::InitializeLog()", "oneDNN custom operations are on")
NEEDLESS = ("sklearn", "matplotlib", "pandas")
"""Keras wraps and plots with these where it finds them; a third of its start is theirs."""


def load(module: str) -> None:
    """Import a module; what it writes to standard error meanwhile is passed on, save for the lines of CHATTER."""
    # One thread inside an operation: the bits then do not hang on the number of cores, and small images are no slower.
    # For large images on many cores set TF_NUM_INTRAOP_THREADS; the bits then hold for that number.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _hide(NEEDLESS), _filter_stderr():
        importlib.import_module(module)


@contextmanager
def _hide(packages: tuple[str, ...]) -> Iterator[None]:
    """Make packages that are not yet loaded look as if they were not installed."""
    absent = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None there is how Python says "not to be had"
    try:
        yield
    finally:
        for package in absent:
            del sys.modules[package]


@contextmanager
def _filter_stderr() -> Iterator[None]:
    sys.stderr.flush()
    stderr_copy = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr_copy, 2)
            os.close(stderr_copy)
            caught.seek(0)
            rest = [line for line in caught.read().decode(errors="replace").splitlines() if not _is_known(line)]
            print(*rest, sep="\n", end="\n" if rest else "", file=sys.stderr)


def _is_known(line: str) -> bool:
    return any(words in line for words in CHATTER)
