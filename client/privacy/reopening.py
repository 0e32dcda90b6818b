"""A site that was restored, or set back, pays nothing until it knows again what it had signed.

    privacy/closed    since when, and why; while it is there, no answer leaves under a budget

Before an answer leaves, the site's word on its account is with the coordinator, which hands it to all other sites; each
of them says, signed, how much of it it has seen (`common.audit`). So the restored site asks: the coordinator for its
own word, which is under the key of its log; and every other site, by a statement of after the restoration, whether it
has seen more. What is missing here is then written down, and the account is open again. A set of patients that is not
known here any more stands for everybody.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.home import Home
from client.privacy.ledger import LineDraft, PrivacyLedger
from client.privacy.patient_sets import EVERYBODY
from common.audit.account_statement import AccountStatement
from common.errors import AuditError, ConsiliumError, PolicyError
from common.privacy.account import SLACK
from common.storage.files import read_json, replace
from common.trust.keys import public_of

CLOCKS_S = 600.0
"""How much the clocks of sites may differ: a statement counts as later than the restoration if it is by so much."""
RESTORED = "answers before the restoration"
"""The question of a line that stands for answers which are known by the site's own word alone."""


@dataclass(frozen=True)
class PeerWord:
    """What another site says of this one's account."""

    at_s: float
    total: float


def note_closed(home: Home, why: str, at_s: float | None = None) -> None:
    """From now on nothing is paid, until it is known what was."""
    content = {"at_s": time.time() if at_s is None else at_s, "why": why}
    _note(home).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(_note(home), json.dumps(content).encode())


def _note(home: Home) -> Path:
    return home.folder / "privacy" / "closed"


def why_closed(home: Home) -> str:
    """Why nothing is paid here; empty where it is."""
    note = read_json(_note(home))
    return str(note["why"]) if note else ""


def what_is_awaited(home: Home) -> str:
    """Why nothing is paid here, and what would open the account, as it stood when the coordinator was last asked."""
    note = read_json(_note(home))
    return "; ".join(str(note[part]) for part in ("why", "awaits") if part in note) if note else ""


def refuse_closed(home: Home) -> None:
    """Refuse to pay while it is not known what was paid.

    Raises:
        PolicyError: closed-account.
    """
    if why := why_closed(home):
        raise PolicyError(
            "closed-account",
            f"{home.site}: {why}, so it is not known here what the patients have paid. Nothing is answered "
            "under a budget until every other site has said what it saw: python -m client privacy show",
        )


def settle(home: Home, ledger: PrivacyLedger, document: str, peers: Mapping[str, PeerWord]) -> str:
    """Open the account again where it is known what was paid; why it is not open, if so.

    Args:
        document: this site's own word, as the coordinator has it; empty: it has none.
        peers: by the name of every other active site its newest word; at_s 0: there is none.

    Raises:
        AuditError, RunError, OSError: as `PrivacyLedger.record`.
    """
    with ledger.lock():
        word = _own_word(home, document)
        lines = ledger.lines()
        total = sum(line.squared_mu for line in lines)
        note = read_json(_note(home))
        if note is None and word and word.total > total * (1 + SLACK):
            note_closed(home, "this site's account was set back")
            note = read_json(_note(home))
        if note is None:
            return ""
        if silent := sorted(site for site, word in peers.items() if word.at_s <= note["at_s"] + CLOCKS_S):
            return _stay_closed(home, note, f"it waits for a word of {', '.join(silent)}")
        most = max(word.total if word else 0.0, total)
        if ahead := sorted(site for site, peer in peers.items() if peer.total > most * (1 + SLACK)):
            awaits = f"{', '.join(ahead)} saw more of its account than the coordinator shows: telephone"
            return _stay_closed(home, note, awaits)
        if word:
            _adopt(ledger, word)
        _note(home).unlink()
        home.log.record("privacy account opened", facts={"seen by": len(peers), "total": repr(most)})
        return ""


def _stay_closed(home: Home, note: dict[str, Any], awaits: str) -> str:
    """Keep what is awaited beside why, so that `client privacy show` can say it."""
    if note.get("awaits") != awaits:
        replace(_note(home), json.dumps(note | {"awaits": awaits}).encode())
    return f"{note['why']}; {awaits}"


def _own_word(home: Home, document: str) -> AccountStatement | None:
    if not document or not home.log.exists:
        return None
    try:
        return AccountStatement.load_verified(document.encode(), public_of(home.log.key()), home.site)
    except AuditError:
        raise
    except ConsiliumError:
        return None  # of a log before this one, or made up: as good as none


def _adopt(ledger: PrivacyLedger, word: AccountStatement) -> None:
    """Write down what the site's own word has and its account has not."""
    for version, paid in word.paid.items():
        lines = [line for line in ledger.lines() if line.patients == version]
        missing = paid - sum(line.squared_mu for line in lines)
        tail = word.tails.get(version, 0.0) - sum(line.tail for line in lines)
        if missing > 0 or tail > 0:
            _record(ledger, version, max(0.0, missing), max(0.0, tail))


def _record(ledger: PrivacyLedger, version: str, squared_mu: float, tail: float) -> None:
    is_known = version != EVERYBODY and ledger.sets.has(version)
    draft = LineDraft(
        plan="", digest="", dataset="", part="", question=RESTORED, mechanism="unknown", sensitivity=0.0, sigma=0.0,
        squared_mu=squared_mu, tail=tail,
    )  # fmt: skip
    ledger.record(draft, ledger.sets.load(version) if is_known else None)
