"""What the person's process does for the worker that carries their command out: opens, writes and signs, within bounds.

Files are opened where the command line names them, or beneath; files are written where it says; and no signature is
given but on the entry of this command in the log, and on the policy that the person asked for.
"""

import argparse
import errno
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from client.access import door_messages, handed_file
from client.access.command_request import CommandRequest, Signer
from client.access.named_files import BENEATH, WRITE, NamedFile, Use
from client.access.policy import SitePolicy
from client.access.policy_change import changed_content
from common.audit.entries import plain
from common.errors import AccessError, ConsiliumError
from common.storage import tensorfile
from common.storage.files import write_secret
from common.trust.statements import statement

NAMES_BYTES = 30_000
"""Of a folder's names that one message carries."""


class LoanDesk:
    """Answers one worker.

    Args:
        files: what the command line names.
        options: the command line; None: it names no file, and no policy is signed.
    """

    def __init__(
        self, request: CommandRequest, files: Sequence[NamedFile], signer: Signer, options: argparse.Namespace | None
    ) -> None:
        self._request, self._files, self._signer, self._options = request, files, signer, options
        self._has_signed_act = False
        self._listing: tuple[str, list[str]] = ("", [])

    def answer(self, worker: socket.socket) -> bool:
        """Answer one question; whether there was one."""
        try:
            question, handles = door_messages.receive(worker)
        except (EOFError, OSError):
            return False
        files: list[int] = []
        try:
            reply = self._reply(question, handles, files)
        except FileExistsError as error:
            reply = {"errno": error.errno or errno.EEXIST}
        except OSError as error:
            reply = {"errno": error.errno or errno.EIO}
        except (ConsiliumError, KeyError, TypeError, ValueError) as error:
            reply = {"error": str(error)}
        try:
            door_messages.send(worker, reply, files)
        except OSError:
            return False
        finally:
            door_messages.close([*handles, *files])
        return True

    def _reply(self, question: Mapping[str, Any], handles: Sequence[int], files: list[int]) -> dict[str, Any]:
        what = question["what"]
        if what == "sign":
            return {"signature": self._sign(question).hex()}
        if what == "write":
            self._write(self._path(question, WRITE), handles[0], question)
            return {}
        if what == "stat":
            state = os.stat(self._path(question, BENEATH, WRITE))  # noqa: PTH116
            return {"stat": list(state), "mtime_ns": state.st_mtime_ns}
        path = self._path(question, BENEATH)
        if what == "names":
            return self._names(path, int(question["from"]))
        files.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        self._path(question, BENEATH)  # no link has come on the way meanwhile
        if not stat.S_ISREG(os.fstat(files[0]).st_mode):
            raise OSError(errno.EISDIR, "no file")
        return {}

    def _path(self, question: Mapping[str, Any], *uses: Use) -> str:
        """A path that the command names, or one beneath.

        Raises:
            AccessError: it is neither.
        """
        path = os.path.normpath(str(question["path"]))
        for file in self._files:
            if file.use in uses and (path == file.path or Path(path).is_relative_to(file.path)):
                refuse_others_links(file.path, path)
                return path
        raise AccessError(f"{path}: the command names neither it nor a folder around it. Name the folder.")

    def _names(self, path: str, since: int) -> dict[str, Any]:
        if since == 0 or self._listing[0] != path:
            self._listing = (path, sorted(os.listdir(path)))  # noqa: PTH208
        names: list[str] = []
        length = 0
        for name in self._listing[1][since:]:
            length += 6 * len(name) + 4
            if length > NAMES_BYTES and names:
                break
            names.append(name)
        return {"names": names, "more": since + len(names) < len(self._listing[1])}

    def _write(self, path: str, handle: int, question: Mapping[str, Any]) -> None:
        content, target = handed_file.content_of(handle), Path(path)
        if question["anew"]:
            if target.exists():
                raise FileExistsError(errno.EEXIST, "exists", path)
            write_secret(target, content)
        else:
            tensorfile.write_atomically(target, content, mode=0o600 if question["mode"] == 0o600 else 0o644)

    def _sign(self, question: Mapping[str, Any]) -> bytes:
        kind, content = question["kind"], question["content"]
        if content.get("site") != self._request.site:
            raise AccessError("the site's process wanted a signature for another site. Tell its data officers.")
        if kind == "act" and self._is_of_this_command(content):
            self._has_signed_act = True
            return self._signer.sign("act", content)
        if kind == "policy" and self._options is not None and self._is_asked_for(content, question.get("before")):
            return self._signer.sign("policy", content)
        raise AccessError("the site's process wanted a signature on what was not asked for. Tell its data officers.")

    def _is_of_this_command(self, content: dict[str, Any]) -> bool:
        """Whether an entry of the log is the one of this command; there is one, and about the plan that was named."""
        plan = str(getattr(self._options, "plan", None) or "")
        is_of_plan = not content["plan"] or content["plan"].startswith(plain(plan))
        return not self._has_signed_act and content["what"] == plain(self._request.action) and is_of_plan

    def _is_asked_for(self, content: dict[str, Any], before: Any) -> bool:
        """Whether a version of the policy is the one that the command line is about."""
        options = self._options
        if self._request.action == "access sign":
            proposal = str(options.proposal) if options else ""
            return len(proposal) >= 8 and statement("policy", content).hex().startswith(proposal)
        if self._request.action != "access propose" or options is None:
            return False
        version = SitePolicy.read(bytes.fromhex(before))
        content_of_options = changed_content(version, options).to_json()
        return {**content_of_options, "made_s": 0} == {**content, "made_s": 0}


def refuse_others_links(folder: str, path: str) -> None:
    """Follow no link on the way from what was named but one's own: where others may write, as in a folder of exports,
    another's link would have this process open, or write over, what its person never named (as the kernel's
    `fs.protected_symlinks`).

    Raises:
        AccessError: there is one.
    """
    at = Path(folder)
    for part in ("", *Path(path).relative_to(folder).parts):
        at = at / part
        try:
            state = at.lstat()
        except OSError:  # whoever opens it says what is wrong
            return
        if stat.S_ISLNK(state.st_mode) and state.st_uid not in (0, os.geteuid()):
            raise AccessError(
                f"{at}: user {state.st_uid} put a link there, which is not followed. Name the folder itself."
            )
