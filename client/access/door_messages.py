"""Messages through a site's door: one JSON object each, with file descriptors beside it, over a local socket.

The socket keeps the bounds of messages (SOCK_SEQPACKET), so nothing is half of one, and what is too long is refused.
"""

import json
import os
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import AccessError

MOST_BYTES = 1 << 16
MOST_FILES = 200
"""Descriptors of one message; Linux passes 253 at most."""
NAME = "door"
"""Of the socket, in the site's folder."""
_ENVIRONMENT = ("COLUMNS", "LINES", "TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8")
"""What of the person's environment the worker's output depends on."""
_PLAIN = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
"""What of the environment may be handed on."""


def new_socket() -> socket.socket:
    """A local socket that keeps the bounds of messages."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def address(folder: int) -> str:
    """The door of an open folder: its own path may be longer than the 107 bytes that an address has."""
    return f"/proc/self/fd/{folder}/{NAME}"


def peer(connection: socket.socket) -> int:
    """The system user at the other end, as the kernel says.

    Raises:
        OSError: nobody is there.
    """
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def shown_environment(words: object) -> dict[str, str]:
    """What of an environment, or of what a message says to be one, decides how output looks; all else is left out."""
    variables = words if isinstance(words, Mapping) else {}
    return {
        name: word for name in _ENVIRONMENT
        if isinstance(word := variables.get(name), str) and _PLAIN.fullmatch(word)
    }  # fmt: skip


def send(connection: socket.socket, tree: Mapping[str, Any], files: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        AccessError: it is longer than a message can be.
        OSError: nobody is there.
    """
    content = json.dumps(tree).encode()
    if len(content) > MOST_BYTES or len(files) > MOST_FILES:
        raise AccessError("a command with too many words or files for the door; name the folder of the files.")
    socket.send_fds(connection, [content], files)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The next message, and its descriptors, which are the caller's to close.

    Raises:
        EOFError: there is none any more.
        AccessError: it is no message.
        OSError: nobody is there, or none came in time.
    """
    content, files, flags, _ = socket.recv_fds(connection, MOST_BYTES, MOST_FILES, socket.MSG_CMSG_CLOEXEC)
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ValueError
        if not content:
            raise EOFError
        tree = json.loads(content)
        if not isinstance(tree, dict):
            raise ValueError
        return tree, files
    except (ValueError, RecursionError, EOFError) as error:
        close(files)
        if isinstance(error, EOFError):
            raise
        raise AccessError("what came through the door is no message of this release.") from None


def close(files: Sequence[int]) -> None:
    """Close descriptors."""
    for file in files:
        os.close(file)
