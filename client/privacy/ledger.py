"""The account of a hospital's patients: every answer that was paid for, on the disk before it left.

    privacy/ledger    a line an answer: JSON, with the hash of the line before, under the key of the site's log
    audit/log         for each an entry `privacy spent`, with the line's number and hash

The line comes first, its entry in the log second, the answer last. So of a process that was killed in between, the
account knows more than left, never less: half a line was of no answer, and is taken off; a line that the log does not
know yet is counted, and entered there with the next one. A line that the log knows and the account does not is proof
that the account was set back: nothing is paid then, so nothing leaves.
"""

import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from client.home import Home
from client.privacy.patient_sets import EVERYBODY, PatientSet, PatientSets
from common.audit.entries import decode
from common.audit.log import Log
from common.audit.log_files import RESTORE
from common.config import Frozen
from common.errors import AuditError, SecAggError
from common.storage import file_lock, tensorfile
from common.storage.files import flush_folder
from common.trust.documents import canonical
from common.trust.keys import digest, public_of, sign, verify

EVENT = "privacy spent"
"""What the log calls an answer that was paid for."""
Amount = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class LineDraft(Frozen):
    """What a line says that is not for the ledger to say."""

    plan: str
    """Its name; with `digest`, which plan asked."""
    digest: str
    dataset: str
    part: str
    """Of its images: training or validation; empty where that is not known."""
    question: str
    mechanism: str
    sensitivity: Amount
    sigma: Amount
    squared_mu: Amount
    """μ² of the answer for one patient (Gaussian differential privacy)."""
    tail: Amount = 0.0
    """Of δ, what μ does not cover (`common.privacy.network_prices`); left out of the line where there is none."""


class LedgerLine(LineDraft):
    """One answer, and what it cost each patient whom it was over."""

    number: Annotated[int, Field(ge=0)]
    at_s: float
    site: str
    patients: str
    """The version of the data set: `PatientSet.version`."""
    count: int
    """Of those patients."""
    new: int
    """How many of them had paid nothing before."""
    account: Amount
    """μ² of the patient of these who has paid most, with this answer."""
    before: str
    """SHA-256 of the line before; empty for the first."""
    log: int
    """Bytes of the site's log when it was written: its own entry stands behind."""


@dataclass(frozen=True)
class PrivacyLedger:
    """The account in one site's folder. Processes and threads may share it."""

    folder: Path
    """HOME/privacy"""
    site: str
    log: Log

    @property
    def sets(self) -> PatientSets:
        """Who was answered over."""
        return PatientSets(self.folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process and thread away for a block: from looking at an account to writing in it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with file_lock.hold(self.folder / ".lock"):
            yield

    def lines(self) -> list[LedgerLine]:
        """All that was paid, oldest first. To be called under the lock.

        Raises:
            AuditError: the account is not what was written, or was set back.
        """
        lines, hashes, _ = self._read()
        self._refuse_set_back(lines, hashes)
        return lines

    def record(self, draft: LineDraft, patients: PatientSet | None) -> LedgerLine:
        """Write down an answer that is about to leave. To be called under the lock.

        Args:
            patients: over whom; none: it is not known, so it counts for everybody.

        Raises:
            AuditError: as `lines`.
            RunError, OSError: it cannot be written; then nothing may leave.
        """
        lines, hashes, length = self._read()
        if unlogged := self._refuse_set_back(lines, hashes):
            self._enter(unlogged, hashes[-1])
        accounts = self.accounts(lines, patients) if patients else np.zeros(1)
        if patients:
            self.sets.keep(patients)
        self.log.begin()  # the key that signs the line; made with the log where there is none yet
        head = self.log.head()
        line = LedgerLine(
            number=len(lines), at_s=round(time.time(), 3), site=self.site, **draft.model_dump(),
            patients=patients.version if patients else EVERYBODY, count=patients.patients if patients else 0,
            new=int((accounts == 0).sum()) if patients else 0,
            account=float(accounts.max(initial=0.0)) + draft.squared_mu,
            before=hashes[-1] if hashes else "", log=head.length if head else 0,
        )  # fmt: skip
        content = self._encode(line)
        self._append(content, length)
        self._enter(line, _hash(content))
        return line

    def accounts(
        self, lines: Iterable[LedgerLine], patients: PatientSet, amount: Literal["squared_mu", "tail"] = "squared_mu"
    ) -> NDArray[np.float64]:
        """What each of these patients has paid by these lines: μ², or the tails of δ, float64[patients]."""
        by_version = defaultdict[str, float](float)
        for line in lines:
            by_version[line.patients] += getattr(line, amount)
        accounts = np.full(patients.patients, by_version.pop(EVERYBODY, 0.0))
        for version, paid in by_version.items():
            units = self.sets.units(version) & patients.units.keys()
            accounts[list({patients.units[unit] for unit in units})] += paid
        return accounts

    # --- inside ---

    @property
    def _path(self) -> Path:
        return self.folder / "ledger"

    def _read(self) -> tuple[list[LedgerLine], list[str], int]:
        """The whole lines, their hashes, and how many bytes they are."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return [], [], 0
        lines, hashes, length, signature = list[LedgerLine](), list[str](), 0, ""
        last = b""
        for raw in content.splitlines(keepends=True):
            if not raw.endswith(b"\n"):
                break  # it was being written when the process was killed, so its answer never left
            try:
                signed_line = json.loads(raw)
                line, signature = LedgerLine.model_validate(signed_line["line"]), str(signed_line["signature"])
                if (line.number, line.before) != (len(lines), hashes[-1] if hashes else "") or line.site != self.site:
                    raise ValueError
            except (ValueError, KeyError, TypeError, ValidationError):
                raise self._fault(len(lines)) from None
            lines.append(line)
            hashes.append(_hash(raw))
            length, last = length + len(raw), raw
        if lines:  # its hash of the line before is of all lines before: the last signature stands for all
            try:
                if last != self._statement(lines[-1], signature):
                    raise ValueError
                key = public_of(self.log.key())
                verify(key, bytes.fromhex(signature), _signable(lines[-1]), who="the site", what="account")
            except (ValueError, SecAggError):
                raise self._fault(len(lines) - 1) from None
        return lines, hashes, length

    def _fault(self, number: int) -> AuditError:
        return AuditError(
            f"{self._path}: line {number + 1} is not what this site wrote there. Nothing is answered under a budget. "
            f"{RESTORE}"
        )

    def _refuse_set_back(self, lines: list[LedgerLine], hashes: list[str]) -> LedgerLine | None:
        """Hold the account against the log; the last line, if the log does not know it yet."""
        logged = self._logged_hashes(lines[-1].log if lines else 0)
        for number, logged_hash in logged.items():
            if number >= len(lines) or hashes[number] != logged_hash:
                raise AuditError(
                    f"{self._path}: payment {number}, which the site's log has, is gone or another: the account was "
                    f"set back. Nothing is answered under a budget. {RESTORE}"
                )
        return lines[-1] if lines and lines[-1].number not in logged else None

    def _logged_hashes(self, since: int) -> dict[int, str]:
        """By its number the hash of every payment that stands behind so many bytes of the log."""
        hashes, mark = dict[int, str](), f'"what":"{EVENT}"'.encode()
        head = self.log.head() if self.log.exists else None
        if head is None:
            return hashes
        # A log from a backup may be shorter than it was then, and have grown otherwise since: all of it is read then.
        is_there = 0 < since <= head.length and next(self.log.lines(since - 1), b"") == b""
        for raw in self.log.lines(since if is_there else 0):
            if mark in raw:
                facts = decode(raw, json.loads(raw)["number"], str(self.log.folder)).facts
                hashes[int(facts["number"])] = str(facts["hash"])
        return hashes

    def _encode(self, line: LedgerLine) -> bytes:
        return self._statement(line, sign(self.log.key(), _signable(line)).hex())

    def _statement(self, line: LedgerLine, signature: str) -> bytes:
        return canonical({"line": _content(line), "signature": signature}) + b"\n"

    def _append(self, line: bytes, length: int) -> None:
        is_new = not self._path.exists()
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            with tensorfile.naming(self._path):
                os.ftruncate(handle, length)  # half a line of a process that was killed
                rest = memoryview(line)
                while rest:
                    rest = rest[os.pwrite(handle, rest, length + len(line) - len(rest)) :]
                os.fsync(handle)
        finally:
            os.close(handle)
        if is_new:
            flush_folder(self.folder)

    def _enter(self, line: LedgerLine, line_hash: str) -> None:
        facts: dict[str, int | str] = {
            "number": line.number, "hash": line_hash, "question": line.question, "mechanism": line.mechanism,
            "sensitivity": repr(line.sensitivity), "sigma": repr(line.sigma), "squared mu": repr(line.squared_mu),
            **({"tail": repr(line.tail)} if line.tail else {}),
            "patients": line.patients, "count": line.count, "new": line.new, "account": repr(line.account),
        }  # fmt: skip
        self.log.record(EVENT, plan=line.plan, dataset=line.dataset, facts=facts)


def ledger_of(home: Home) -> PrivacyLedger:
    """The account in a site's folder."""
    return PrivacyLedger(home.folder / "privacy", home.site, home.log)


def _signable(line: LedgerLine) -> bytes:
    return digest("privacy", canonical(_content(line)))


def _content(line: LedgerLine) -> dict[str, Any]:
    return line.model_dump(mode="json", exclude_defaults=True)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
