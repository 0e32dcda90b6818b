"""The person's side of a site's door: a command is signed here, and given to the resident process of the site.

What the command names is opened by this process, with the person's own rights; the worker that carries the command out
(`client.worker`) prints to this process' streams, and asks it for files and signatures (`client.access.loan_desk`).

`give` is what the command line uses; `answer` is the same for a program, which wants the text: a page, for example:

    key = people.open_key(path)
    answer(folder, ["approve", name, "--reason", "fits"], "approve", key).status
"""

import argparse
import os
import selectors
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.access import door_messages, handed_file
from client.access.command_request import CommandRequest, Signer
from client.access.loan_desk import LoanDesk, refuse_others_links
from client.access.named_files import READ, NamedFile, named_files
from common.errors import AccessError

HELLO_S = 30.0
STREAMS = (0, 1, 2)


@dataclass(frozen=True)
class Answer:
    """What became of a command, for a program."""

    status: int
    output: str
    errors: str


def is_anothers(folder: Path) -> bool:
    """Whether a site's folder is another system user's, so that its commands go through its door.

    Raises:
        OSError: it is not for this user.
    """
    return folder.exists() and folder.stat().st_uid != os.geteuid()


def answer(
    folder: Path, words: Sequence[str], action: str, signer: Signer, *, options: argparse.Namespace | None = None
) -> Answer:  # fmt: skip
    """As `ask`, with what was printed; nobody is there to be asked.

    Raises:
        AccessError: as `ask`.
    """
    files = [os.memfd_create("answer"), os.memfd_create("errors")]
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        status = ask(folder, words, action, signer, options=options, streams=(nothing, *files))
        texts = [os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace") for file in files]
        return Answer(status, *texts)
    finally:
        door_messages.close([nothing, *files])


def give(
    folder: Path, words: Sequence[str], action: str, signer: Signer, *, options: argparse.Namespace | None = None
) -> int:  # fmt: skip
    """As `ask`, with the streams of this process; where they are no files, what was printed is written to them.

    Raises:
        AccessError: as `ask`.
    """
    try:
        streams = [sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()]
    except (AttributeError, OSError, ValueError):
        reply = answer(folder, words, action, signer, options=options)
        print(reply.output, end="")
        print(reply.errors, end="", file=sys.stderr)
        return reply.status
    sys.stdout.flush()
    return ask(folder, words, action, signer, options=options, streams=streams)


def ask(
    folder: Path, words: Sequence[str], action: str, signer: Signer, *, options: argparse.Namespace | None = None,
    streams: Sequence[int] = STREAMS,
) -> int:  # fmt: skip
    """Give a command at the door of a site whose resident process runs; its exit status.

    Args:
        folder: of the site.
        words: as they are typed after `python -m client`; `--home` and `--as` may be left out.
        action: which row of `client.access.permissions.RULES` it is (`permissions.rule_name` of the parsed words).
        signer: the person's key.
        options: the parsed words, of which the files are handed in; None: it names none.
        streams: standard input, output and errors of the command.

    Raises:
        AccessError: nobody is at the door, or the person may not; the site's log says so.
    """
    here = os.getcwd()  # noqa: PTH109 (a string goes to the other side)
    files = list(named_files(options, here)) if options else []
    with _handed_in(files) as handed_in, _connection(folder) as connection:
        hello = _hear(connection)
        request = CommandRequest.make(
            hello["site"], action, words, {path: digest for path, (_, digest) in handed_in.items()}, os.geteuid(),
            hello["challenge"], signer,
        )  # fmt: skip
        channel, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with channel:
            with workers:
                environment = door_messages.shown_environment(os.environ)
                tree = {"command": request.to_json(), "folder": here, "environment": environment}
                handles = [*streams, workers.fileno(), *(handle for handle, _ in handed_in.values())]
                door_messages.send(connection, tree, handles)
            return _serve(connection, channel, LoanDesk(request, files, signer, options))


def _serve(connection: socket.socket, channel: socket.socket, desk: LoanDesk) -> int:
    """Answer the worker until the command has ended; its exit status. Ctrl-C is passed on."""
    with selectors.DefaultSelector() as selector:
        for each in (connection, channel):
            selector.register(each, selectors.EVENT_READ)
        while True:
            try:
                for key, _ in selector.select():
                    if key.fileobj is connection:
                        end = _hear(connection)
                        return int(end["status"])
                    if not desk.answer(channel):
                        selector.unregister(channel)
            except KeyboardInterrupt:
                door_messages.send(connection, {"interrupt": True})


def _hear(connection: socket.socket) -> dict[str, Any]:
    try:
        tree, files = door_messages.receive(connection)
    except (EOFError, OSError):
        raise AccessError(
            "the site's process went away before the command had ended. Does `client run` still run?"
        ) from None
    door_messages.close(files)
    if "error" in tree:
        raise AccessError(str(tree["error"]))
    return tree


@contextmanager
def _connection(folder: Path) -> Iterator[socket.socket]:
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        owner = os.fstat(handle).st_uid
        with door_messages.new_socket() as connection:
            connection.settimeout(HELLO_S)
            try:
                connection.connect(door_messages.address(handle))
            except OSError as error:
                raise AccessError(_why_closed(folder, owner, error)) from None
            if door_messages.peer(connection) != owner:
                raise AccessError(f"{folder}: who answers at its door is not its owner. Nothing was asked.")
            yield connection
    finally:
        os.close(handle)


def _why_closed(folder: Path, owner: int, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"{folder}: its door is not for user {os.geteuid()}. Who runs the site lets a group in: docs/deploy.md."
    return (
        f"{folder}: belongs to user {owner}, and nobody is at its door ({error.strerror or error}). Commands of others "
        "go through the process of that user: python -m client run. docs/access.md"
    )


@contextmanager
def _handed_in(files: Sequence[NamedFile]) -> Iterator[dict[str, tuple[int, str]]]:
    """Descriptors and digests of the files that are read as a whole, by their paths."""
    handed_in: dict[str, tuple[int, str]] = {}
    try:
        for file in files:
            if file.use == READ and file.path not in handed_in:
                refuse_others_links(file.path, file.path)
                with open(file.path, "rb") as stream:  # noqa: PTH123
                    content = stream.read(handed_file.MOST_BYTES + 1)
                if len(content) > handed_file.MOST_BYTES:
                    raise AccessError(f"{file.path}: has more than {handed_file.MOST_BYTES >> 30} GiB.")
                handed_in[file.path] = handed_file.hold(content)
        yield handed_in
    finally:
        door_messages.close([handle for handle, _ in handed_in.values()])
