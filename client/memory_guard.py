"""Keys in a process' memory: no core dump has them, and no other process of the same user reads them."""

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def guard_memory() -> None:
    """From now on this process leaves no core dump, and is closed to debuggers of its own user (`prctl(2)`)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
