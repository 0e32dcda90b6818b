"""The site's side of its door: who comes is named by the kernel, signs what they want, and is let in or refused.

One thread waits at the socket `door` of the site's folder, one goes with each caller. Nothing that a caller sends is
looked at before it is bounded, and nothing is done before the gate has checked the signature; then a process of its own
carries the command out (`client.worker`), with the caller's streams and the descriptors that came with it.

Who may come to the socket the folder itself says: its owner, and where its mode lets its group through (chmod 2710),
that group. All else in the folder is closed to both when the door opens.
"""

import errno
import logging
import os
import signal
import socket
import stat
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client.access import door_messages, gate, handed_file
from client.access.command_request import CommandRequest, new_challenge
from client.access.refusal_notes import RefusalNotes
from client.access.worker_process import GRACE_S, started_worker, wait_for
from client.home import SiteFolder
from common.audit.log import user
from common.cli.terminal import word
from common.errors import AccessError, ConsiliumError

log = logging.getLogger("consilium")

ANSWER_S = 10.0
"""Within which a caller signs the challenge."""
MOST_CALLERS, MOST_OF_ONE = 24, 8
"""At the same time; of one system user."""
FULL, FULL_S = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED), 0.2
"""Errors after which there is a door all the same, and the pause then."""


class Doorkeeper:
    """The door of one site."""

    def __init__(self, site: SiteFolder) -> None:
        self.site = site
        self._callers: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._notes = RefusalNotes()
        self._workers: set[subprocess.Popen[bytes]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether anybody gives a command."""
        return self._callers.total() > 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Answer at the door while this lasts.

        Raises:
            ConfigError, OSError: the socket cannot be made.
        """
        handle = os.open(self.site.folder, os.O_PATH | os.O_DIRECTORY)
        try:
            with door_messages.new_socket() as listener:
                _close_to_others(self.site.folder)
                _bind(listener, handle, self.site.folder)
                thread = threading.Thread(target=self._wait, args=(listener,), daemon=True)
                thread.start()
                try:
                    yield
                finally:
                    (self.site.folder / door_messages.NAME).unlink(missing_ok=True)
                    listener.shutdown(socket.SHUT_RDWR)
                    self._end_workers()
                    thread.join(timeout=3.0)
        finally:
            os.close(handle)

    def _wait(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno not in FULL:
                    return  # it was closed
                time.sleep(FULL_S)
                continue
            try:
                uid = door_messages.peer(connection)
            except OSError:
                connection.close()
                continue
            with self._lock:
                is_full = self._callers.total() >= MOST_CALLERS or self._callers[uid] >= MOST_OF_ONE
                self._callers[uid] += not is_full
            if is_full:
                _refuse(connection, "too many commands at once; wait for one to end.")
                connection.close()
                continue
            try:
                threading.Thread(target=self._receive, args=(connection, uid), daemon=True).start()
            except RuntimeError:  # this machine has no room for one more now
                connection.close()
                with self._lock:
                    self._callers[uid] -= 1

    def _receive(self, connection: socket.socket, uid: int) -> None:
        try:
            with connection:
                self._attend(connection, uid)
        except Exception:
            log.exception("a defect of this release")
        finally:
            with self._lock:
                self._callers[uid] -= 1

    def _attend(self, connection: socket.socket, uid: int) -> None:
        """One caller: challenge, check, worker."""
        challenge, handles = new_challenge(), list[int]()
        try:
            connection.settimeout(ANSWER_S)
            door_messages.send(connection, {"site": self.site.site, "challenge": challenge})
            tree, handles = door_messages.receive(connection)
            connection.settimeout(None)
            request = _request_in(tree, handles)
        except (AccessError, EOFError, OSError) as error:
            door_messages.close(handles)
            gate.note_stranger(self.site, uid, self._notes)
            _refuse(connection, str(error) if isinstance(error, AccessError) else "nothing was asked in time.")
            return
        try:
            grant = gate.hand_over(*gate.check(self.site, request, uid, challenge, self._notes), request)
            with started_worker(self.site.folder, grant, handles, tree) as worker:
                while handles:  # they are the worker's now: who gives many commands takes none from this process
                    os.close(handles.pop())
                self._workers.add(worker)
                try:
                    status = wait_for(worker, connection)
                finally:
                    self._workers.discard(worker)
            _say(connection, {"status": status})
        except (ConsiliumError, OSError) as error:  # the gate has written down why
            _refuse(connection, str(error))
        finally:
            door_messages.close(handles)

    def _end_workers(self) -> None:
        for worker in list(self._workers):
            worker.send_signal(signal.SIGINT)
        deadline_s = time.monotonic() + GRACE_S
        while self._workers and time.monotonic() < deadline_s:
            time.sleep(0.05)


STREAMS = 4
"""Standard input, output, errors, and the channel to the caller; behind them the files that are handed in."""


def _request_in(tree: Mapping[str, Any], handles: Sequence[int]) -> CommandRequest:
    """The command in a message.

    Raises:
        AccessError: there is none, or not with its streams and files.
    """
    command = tree.get("command")
    request = CommandRequest.from_json(command if isinstance(command, dict) else {})
    if len(handles) != STREAMS + len(request.files) or not isinstance(tree.get("folder"), str):
        raise AccessError("a command without its streams and files.")
    for handle in handles[STREAMS:]:
        handed_file.demand_sealed(handle)
    return request


def _refuse(connection: socket.socket, why: str) -> None:
    _say(connection, {"error": why[:20_000]})


def _say(connection: socket.socket, tree: Mapping[str, Any]) -> None:
    try:
        connection.settimeout(ANSWER_S)
        door_messages.send(connection, tree)
    except OSError:
        log.info("a caller had gone before the answer")


def _bind(listener: socket.socket, handle: int, folder: Path) -> None:
    path, before = folder / door_messages.NAME, os.umask(0o177)
    try:
        with door_messages.new_socket() as other:
            try:
                other.connect(door_messages.address(handle))
            except OSError:
                path.unlink(missing_ok=True)  # nobody is there: it was left over
            else:
                raise AccessError(f"{folder}: another process answers at its door. Stop it first.")
        listener.bind(door_messages.address(handle))
    finally:
        os.umask(before)
    state = folder.stat()
    if state.st_mode & stat.S_IXGRP:
        if path.stat().st_gid != state.st_gid:
            try:
                os.chown(path, -1, state.st_gid)
            except PermissionError:
                raise AccessError(
                    f"{folder}: is open for group {state.st_gid}, and {user()} cannot give its door to that group. Let "
                    f"what is made in the folder be the group's: chmod 2710 {word(folder)}. docs/access.md"
                ) from None
        path.chmod(0o660)
    listener.listen(MOST_CALLERS)


def _close_to_others(folder: Path) -> None:
    """Nothing in the folder but the door is for its group, nor for others."""
    if (mode := folder.stat().st_mode & 0o7777) & 0o067:
        folder.chmod(mode & ~0o067)
    for path in folder.iterdir():
        if not path.is_symlink() and path.name != door_messages.NAME and (mode := path.stat().st_mode & 0o7777) & 0o077:
            path.chmod(mode & 0o7700)
