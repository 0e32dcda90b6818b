"""A process that is killed, or a disk that is full, at the n-th thing that a program does to the disk."""

import errno
import os
import signal
import traceback

CALLS = ("open", "pwrite", "write", "fsync", "replace", "rename", "ftruncate", "unlink", "mkdir", "rmdir")


def count(action):
    """How many things `action` does to the disk."""
    told = _forked(action, stop_at=-1)
    assert told >= 0, "the action itself failed"
    return told


def killed(action, at):
    """Run an action in a process of its own that SIGKILL ends at the at-th of them, half way through a write."""
    return _forked(action, stop_at=at)


def _forked(action, stop_at):
    """How many things were done; -1: an error; -9: killed."""
    back, forth = os.pipe()
    child = os.fork()
    if not child:
        try:
            done = _patch(stop_at)
            action()
            os.close(back)
            _WRITE(forth, str(done()).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(forth)
    _, status = os.waitpid(child, 0)
    told = os.read(back, 100)
    os.close(back)
    if os.WIFSIGNALED(status):
        return -os.WTERMSIG(status)
    return int(told) if told else -1


_WRITE = os.write


def _patch(stop_at):
    done = 0

    def patched(name, call):
        def counted(*arguments, **keywords):
            nonlocal done
            done += 1
            if done == stop_at:
                if name in ("pwrite", "write"):
                    call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], *arguments[2:])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return counted

    for name in CALLS:
        setattr(os, name, patched(name, getattr(os, name)))
    return lambda: done


class FullDisk:
    """From the n-th byte of a pack on, there is no room, until there is."""

    def __init__(self, monkeypatch, room_bytes):
        self.room, self._call = room_bytes, os.pwrite
        monkeypatch.setattr(os, "pwrite", self)

    def __call__(self, handle, content, offset):
        fits = min(self.room, len(content))
        if not fits and len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= fits
        return self._call(handle, bytes(content)[:fits], offset)
