"""This site as a witness of the coordinator's log: every head that it is shown extends the one before, or it stops.

The log is also held to what other sites were shown: each signs the head that it saw, and the coordinator hands these
words on, with proofs that its log begins so. It can withhold one, which `python -m client witness` shows; not make one.

    witness/head        the newest head that was accepted, written when the log was last seen to go on from it
    witness/others      who else saw how much of the same log, and when
    witness/accounts    how much the others said at most that their patients have paid (`client.privacy.reopening`)
    witness/refused     what did not fit; while it is there the site answers no plan
"""

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.home import Home
from client.privacy import reopening
from client.privacy.ledger import ledger_of
from client.privacy.reopening import PeerWord
from common.audit.account_statement import AccountStatement
from common.audit.heads import LogHead, load_verified_log_key
from common.audit.merkle_tree import verify_consistency
from common.audit.witness_statement import WitnessStatement
from common.errors import AuditError, ConfigError, ConsiliumError, IdentityError, WireError
from common.storage.files import read_json, replace, write_json

if TYPE_CHECKING:
    from client.connection.gateway_client import (
        GatewayClient,  # and Flower with it, for which a command that only reads here should not wait
    )

log = logging.getLogger("consilium")

SHORTEST = 16


@dataclass(frozen=True)
class Witness:
    """What one site keeps of the coordinator's log."""

    home: Home

    @property
    def folder(self) -> Path:
        """The folder in which this site keeps what it saw of the log."""
        return self.home.folder / "witness"

    @property
    def head(self) -> LogHead | None:
        """The newest head that was accepted.

        Raises:
            AuditError: it is damaged.
        """
        path = self.folder / "head"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _head(json.loads(content))
        except (ValueError, ConsiliumError) as error:
            raise AuditError(f"{path}: is not what was written ({error}). Restore it from a backup.") from None

    def look(self, gateway: "GatewayClient") -> None:
        """Ask for the newest head, and accept it if it extends everything that was seen.

        Raises:
            AuditError: it does not. That is kept, with both heads, and the site answers no plan from then on.
            LinkError, IdentityError, WireError: as of the gateway; nothing has changed then.
        """
        before = self.head
        question: dict[str, Any] = {"size": before.size if before else 0}
        if before and not self.home.witness_refused.exists():
            # Not as of now: this very look may show another history, which others accept before this site does.
            seen_s = (self.folder / "head").stat().st_mtime
            statement = WitnessStatement.sign(self.home.site, before, self.home.identity, self.accounts, seen_s)
            question["witness"] = statement.document.to_json()
        answer = gateway.history(question)
        try:
            head = self._check(answer, before)
        except AuditError as error:
            self._refuse(answer, before, str(error))
            raise
        if head and (before is None or head.size > before.size):
            self._keep(head, answer["voucher"])
        elif head:
            os.utime(self.folder / "head")
        self._look_at_accounts(answer)

    def _look_at_accounts(self, answer: dict[str, Any]) -> None:
        """Remember how much the others have paid; learn what this site had, where that is not known here."""
        words, active = answer.get("accounts"), self.home.roster.active
        words = words if isinstance(words, dict) else {}
        totals = dict(self.accounts)
        for site, word in words.items():
            try:
                total = AccountStatement.load_verified(json.dumps(word).encode(), active[site], site).total
            except (IdentityError, WireError, KeyError):
                continue  # under keys before, or a stranger's
            totals[site] = max(total, totals.get(site, 0.0))
        totals.pop(self.home.site, None)
        if totals != self.accounts:
            write_json(self.folder / "accounts", totals)
        nothing, others = {"at_s": 0.0, "paid": 0.0}, self.others
        newest = {site: nothing | others.get(site, {}) for site in active if site != self.home.site}
        peers = {site: PeerWord(word["at_s"], word["paid"]) for site, word in newest.items()}
        mine = words.get(self.home.site)
        if why := reopening.settle(self.home, ledger_of(self.home), json.dumps(mine) if mine else "", peers):
            log.warning("no plan with a budget is answered: %s.", why)

    @property
    def accounts(self) -> dict[str, float]:
        """Of every other site, the most that its word on its account came to."""
        return read_json(self.folder / "accounts") or {}

    def how_to_accept(self) -> str:
        """What the coordinator's people are asked for, if it was restored from a backup: its log has grown since."""
        head = (read_json(self.home.witness_refused) or {}).get("shown", {}).get("head")
        if not head:
            return "No head was shown that could be accepted."
        size = int(head["content"]["size"])
        return (
            "If the coordinator says that it was restored from a backup: its people type `python -m server audit "
            f"verify --at {size}` and read out the root. Then a data officer here, with what they read: `python -m "
            "client witness --accept ROOT`."
        )

    def accept(self, root: str) -> LogHead:
        """Go on from a head that was refused.

        Raises:
            ConfigError: none was, or of another root.
        """
        refusal = read_json(self.home.witness_refused)
        shown_head = refusal and refusal["shown"].get("head")
        if not shown_head or len(root) < SHORTEST or not str(shown_head["content"]["root"]).startswith(root.lower()):
            waits = (
                f"the refused head has root {shown_head['content']['root']}" if shown_head else "no head was refused"
            )
            raise ConfigError(f"--accept {root}: {waits}. Compare it by telephone, {SHORTEST} digits at least.")
        head = self._authentic(refusal["shown"])
        self._keep(head, refusal["shown"]["voucher"])
        write_json(self.folder / "accepted", {"at_s": time.time()})
        self.home.witness_refused.rename(self.folder / f"refused-{int(time.time())}")
        return head

    # --- inside ---

    def _check(self, answer: dict[str, Any], before: LogHead | None) -> LogHead | None:
        if answer.get("head") is None:
            if before is not None:
                raise AuditError(f"the coordinator shows no log any more; this site saw {before.size} entries.")
            return None
        head = self._authentic(answer)
        if before:
            head.refuse_unless_extends(before, _proof(answer.get("proof")))
        since_s = (read_json(self.folder / "accepted") or {"at_s": 0.0})["at_s"]
        others = {}
        for word in _dicts_in(answer.get("witnesses", [])):
            try:
                statement = WitnessStatement.load_verified(
                    json.dumps(word["paper"]).encode(), self.home.roster.active, head.origin
                )
            except (IdentityError, WireError, KeyError, TypeError):
                continue  # of keys before, or none: a witness less, which is shown
            if statement.at_s <= since_s:
                continue
            try:
                verify_consistency(statement.size, statement.root, head.size, head.root, _proof(word.get("proof")))
            except AuditError as error:
                raise AuditError(
                    f"{statement.site} was shown another history of the coordinator than this site: {error}"
                ) from None
            paid = statement.accounts.get(self.home.site, 0.0)
            others[statement.site] = {"size": statement.size, "at_s": statement.at_s, "paid": paid}
        if others != self.others:
            write_json(self.folder / "others", others, durably=False)
        return head

    @property
    def others(self) -> dict[str, dict[str, float]]:
        """Who else saw how many entries of the same log, how much of this site's account, and when."""
        return read_json(self.folder / "others") or {}

    def as_json(self) -> dict[str, Any]:
        """What was seen of the log, for programs."""
        head, refusal, others = self.head, read_json(self.home.witness_refused), self.others
        newest = head and {"log": head.origin, "entries": head.size, "root": head.root.hex(), "at_s": head.at_s}
        sites = {site: others.get(site) for site in sorted(set(self.home.roster.active) - {self.home.site})}
        return {"seen": newest, "refused": refusal and str(refusal["why"]), "others": sites}

    def _authentic(self, answer: dict[str, Any]) -> LogHead:
        pins = self.home.pins
        try:
            key = load_verified_log_key(str(answer["voucher"]).encode(), pins)
            return LogHead.load_verified(json.dumps(answer["head"]).encode(), key, f"consortium {pins.federation}")
        except KeyError:
            raise WireError("the coordinator's history is of another release. Bring both sides to one.") from None

    def _keep(self, head: LogHead, voucher: str) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        replace(self.folder / "head", json.dumps({"head": head.document.to_json(), "voucher": voucher}).encode())
        self.home.log.record("head witnessed", facts={"entries": head.size, "root": head.root.hex()})

    def _refuse(self, answer: dict[str, Any], before: LogHead | None, why: str) -> None:
        if self.home.witness_refused.exists():
            return
        self.folder.mkdir(mode=0o700, exist_ok=True)
        seen_head = before.document.to_json() if before else None
        replace(self.home.witness_refused, json.dumps({"why": why, "seen": seen_head, "shown": answer}).encode())
        self.home.log.record("head refused", "failed", facts={"entries": before.size if before else 0})
        log.error("TWO HISTORIES: %s This site answers no plan until somebody has found out why: docs/audit.md", why)


def _head(file_content: Any) -> LogHead:
    """The head in this site's own file, under the key that it was verified with before it was written there."""
    content = file_content["head"]
    (key,) = content["signatures"]
    return LogHead.load_verified(json.dumps(content).encode(), bytes.fromhex(key), content["content"]["origin"])


def _dicts_in(value: Any) -> list[Any]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _proof(hashes: Any) -> list[bytes]:
    try:
        return [bytes.fromhex(piece) for piece in hashes or []]
    except (TypeError, ValueError):
        raise AuditError("the coordinator's log comes without proof that it goes on from what was seen.") from None
