"""A process with keys: no core dump has them, no other process of its user reads them, and its files are its own.

Whoever opens a key, of a site or of a person, shuts the memory first; so does a process that is handed one.
"""

import ctypes
import os
import resource

from common.storage import tensorfile

_PR_SET_DUMPABLE = 4


def guard_process() -> None:
    """`shut_memory`; and from now on this process makes files for its own user alone: a site's folder lets a group
    through, to its door."""
    os.umask(0o077)
    tensorfile.keep_private()
    shut_memory()


def shut_memory() -> None:
    """From now on this process leaves no core dump, and is closed to debuggers of its own user (`prctl(2)`).

    What it starts anew (exec) is open again, and leaves no core dump either.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
