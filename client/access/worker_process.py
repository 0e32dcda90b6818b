"""The process that carries one command out: started with the caller's streams, watched to its end."""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client.access import door_messages, handed_file
from common.errors import AccessError

GRACE_S = 30.0
"""In which a command comes to its end whose caller has gone."""
WORKER = "client.worker"


@contextmanager
def started_worker(
    folder: Path, grant: Mapping[str, Any], handles: Sequence[int], tree: Mapping[str, Any]
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """The process that carries a command out."""
    content = {"grant": grant, "folder": tree["folder"], "home": str(folder.resolve())}
    paper, _ = handed_file.hold(json.dumps(content).encode())
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    stdin, stdout, stderr, channel, *rest = handles
    command = [sys.executable, "-P", "-m", WORKER, *map(str, (paper, channel, *rest))]
    environment = {**os.environ, **door_messages.shown_environment(tree.get("environment")), "PYTHONPATH": path}
    try:
        worker = subprocess.Popen(  # noqa: S603 (this program itself)
            command, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(paper, channel, *rest),
            start_new_session=True, env=environment,
        )  # fmt: skip
    finally:
        os.close(paper)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def wait_for(worker: subprocess.Popen[bytes], connection: socket.socket) -> int:
    """The worker's exit status; Ctrl-C of the caller is passed on, and ends it where the caller has gone."""
    end = os.pidfd_open(worker.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(end, selectors.EVENT_READ)
            selector.register(connection, selectors.EVENT_READ)
            patience_s = None
            while True:
                ready = {key.fileobj for key, _ in selector.select(patience_s)}
                if end in ready:
                    status = worker.wait()
                    return status if status >= 0 else 128 - status
                if not ready:  # the caller has gone, and the command has not come to its end
                    worker.kill()
                    return worker.wait()
                try:
                    tree, handles = door_messages.receive(connection)
                    door_messages.close(handles)
                    is_there = bool(tree.get("interrupt"))
                except (AccessError, EOFError, OSError):
                    is_there = False
                worker.send_signal(signal.SIGINT)
                if not is_there:
                    selector.unregister(connection)
                    patience_s = GRACE_S
    finally:
        os.close(end)
