"""The worker's side of the channel to the person's process: files that it opens, and signatures that it gives."""

import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

from client.access import door_messages, handed_file
from common.errors import AccessError
from common.trust.statements import StatementKind


class PersonsProcess:
    """A `Lender` of files (`common.storage.lent_path`) and a `Signer`.

    Args:
        handles: descriptors of the files that were handed in, by their paths.
        public: the person's public key.
    """

    def __init__(self, channel: socket.socket, handles: Mapping[str, int], public: str) -> None:
        self._channel, self._handles, self._public = channel, handles, public
        self._lock = threading.Lock()

    @property
    def public(self) -> str:
        """The person's public key."""
        return self._public

    def sign(self, kind: StatementKind, content: Mapping[str, Any], before: bytes = b"") -> bytes:
        """A signature, which the person's process gives if it is on what the person asked for."""
        reply, _ = self._ask({"what": "sign", "kind": kind, "content": dict(content), "before": before.hex()})
        return bytes.fromhex(reply["signature"])

    def stat(self, name: str) -> os.stat_result:
        """As `os.stat`."""
        if (handle := self._handles.get(name)) is not None:
            return os.fstat(handle)
        reply, _ = self._ask({"what": "stat", "path": name})
        return os.stat_result(reply["stat"], {"st_mtime_ns": reply["mtime_ns"]})

    def names(self, name: str) -> list[str]:
        """As `os.listdir`."""
        names, more = list[str](), True
        while more:
            reply, _ = self._ask({"what": "names", "path": name, "from": len(names)})
            if any("/" in part or part in ("", ".", "..") for part in reply["names"]):
                raise AccessError(f"{name}: a folder with a name that no folder can have.")
            names, more = names + reply["names"], bool(reply["more"] and reply["names"])
        return names

    def open(self, name: str) -> int:
        """A descriptor to read from the beginning."""
        if (handle := self._handles.get(name)) is not None:
            return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
        _, (handle, *others) = self._ask({"what": "open", "path": name})
        door_messages.close(others)
        return handle

    def stand_in(self, name: str, content: bytes) -> None:
        """From now on another content stands for a file that was handed in."""
        self._handles = {**self._handles, name: handed_file.hold(content)[0]}

    def write_whole(self, name: str, content: bytes, mode: int, *, anew: bool) -> None:
        """Write a file as a whole."""
        handle, _ = handed_file.hold(content)
        try:
            self._ask({"what": "write", "path": name, "mode": mode, "anew": anew}, (handle,))
        finally:
            os.close(handle)

    def _ask(self, question: Mapping[str, Any], handles: tuple[int, ...] = ()) -> tuple[dict[str, Any], list[int]]:
        with self._lock:
            try:
                door_messages.send(self._channel, question, handles)
                reply, files = door_messages.receive(self._channel)
            except (EOFError, OSError):
                raise AccessError("whoever gave this command has gone.") from None
        if "errno" in reply:
            number = int(reply["errno"])
            raise OSError(number, os.strerror(number), question.get("path"))
        if "error" in reply:
            raise AccessError(str(reply["error"]))
        return reply, files
