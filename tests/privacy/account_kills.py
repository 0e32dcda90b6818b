"""Kills while a hospital answers under a budget, backs up, restores, changes keys, alone or twice at once.

What has left is what a witness outside the killed process was told, after the account was written: over a pipe, which a
kill does not empty. The account on the disk must never say less.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client.backup import create, restore, unlock
from client.custody.key_ring import Custody
from client.home import Home
from client.privacy import reopening
from client.privacy.ledger import ledger_of
from client.privacy.patient_sets import PatientSet
from client.privacy.reopening import PeerWord, why_closed
from client.privacy.site_account import PlanBudget, SiteAccount
from client.setup import enrol
from common.audit.account_statement import AccountStatement
from common.errors import ConsiliumError, PolicyError
from common.privacy import Price, mu_of
from common.privacy.price_list import Part
from tests.admitted import home_of

EPSILON, DELTA = 3.0, 1e-5
LIMIT = mu_of(EPSILON, DELTA) ** 2
PRICE = 0.003 * LIMIT
SLACK = 1e-9


@dataclass
class Outside:
    """What is not on the hospital's disk: what left, and the site's word with the coordinator."""

    folder: Path
    left: dict[str, int] = field(default_factory=dict)
    """How many answers have left, by part."""

    @property
    def word(self) -> Path:
        """The newest word of the site on its account; a coordinator keeps it durably before it answers."""
        return self.folder / "word.json"

    def tell(self, account: AccountStatement) -> None:
        """As the coordinator takes it: never one that says less."""
        if self.word.exists() and account.is_behind(self.total):
            raise PolicyError("set-back", "the account was set back")
        temporary = self.word.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(account.document.encode())
        temporary.replace(self.word)

    @property
    def total(self) -> float:
        """By the word."""
        return AccountStatement.of_file(self.word.read_bytes()).total


@dataclass
class Hospital:
    """One site that lives through kills."""

    folder: Path
    draw: random.Random
    outside: Outside = field(init=False)
    pace_s: float = field(init=False)
    """Seconds an answer takes here."""
    over_budget: int = 0
    """Questions that would have passed the budget."""
    refusals: int = 0
    """Of these, refused."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.outside = Outside(self.folder)
        (self.folder / "disk").mkdir()
        enrol.begin(self.home, "lisbon", "")
        settings = self.home.folder / "site.yaml"
        rule = f"  privacy: {{epsilon: {EPSILON}, delta: {DELTA}}}\n"
        settings.write_text(settings.read_text(encoding="utf-8") + rule, encoding="utf-8")
        Custody(self.home).begin(self.folder / "recovery.key")
        began = time.perf_counter()
        self.killed(lambda sink: self.answer("training", sink, many=4), after_s=None)
        self.pace_s = (time.perf_counter() - began) / 4
        self.backup()

    @property
    def home(self) -> Home:
        """The site's folder."""
        return home_of(self.folder / "site")

    def people(self, part: Part) -> PatientSet:
        """The patients of a part."""
        return ledger_of(self.home).sets.of([(f"{part} {i}", f"{part} image {i}") for i in range(40)])

    # --- what is killed ---

    def answer(self, part: Part, sink: int, price: float = PRICE, many: int = 1000) -> None:
        """Pay, and let each answer leave, until the budget is spent."""
        patients: dict[Part, PatientSet] = {part: self.people(part)}
        budget = PlanBudget("plan", "ab" * 32, "chest", EPSILON, DELTA, "patient")
        account = SiteAccount(self.home, budget, patients, self.outside.tell)
        for number in range(many):
            account.spend(Price(f"gradient/{number}", 0.5, 1.0, price, part))
            os.write(sink, b"t" if part == "training" else b"v")  # it has left

    def backup(self) -> None:
        """A snapshot."""
        custody = Custody(self.home)
        create.run(custody, unlock.open_or_begin(custody, self.folder / "disk", False))

    def restore(self) -> None:
        """The folder is lost, and comes back from the backup; killed, it goes on."""
        if (self.home.folder / restore.LAST).exists() and not (self.home.folder / restore.MARK).exists():
            return
        vault = unlock.open_by_recovery_key(self.folder / "disk" / "lisbon", self.folder / "recovery.key")
        restore.run(vault, self.home, None)

    def lose(self) -> None:
        """The folder is gone."""
        shutil.rmtree(self.home.folder)

    def reopen(self) -> None:
        """Every other site has said, long after, that it saw what the coordinator shows."""
        if why_closed(self.home):
            reopening.note_closed(self.home, why_closed(self.home), at_s=0.0)
        shown = self.outside.word.read_text(encoding="utf-8") if self.outside.word.exists() else ""
        total = self.outside.total if shown else 0.0
        problem = reopening.settle(self.home, ledger_of(self.home), shown, {"osaka": PeerWord(time.time(), total)})
        assert not problem, problem

    # --- what must hold ---

    def spent(self) -> dict[str, float]:
        """μ² on the disk, of the patient of each part who has paid most."""
        ledger = ledger_of(self.home)
        with ledger.lock():
            lines = ledger.lines()
        parts: tuple[Part, ...] = ("training", "validation")
        return {part: float(ledger.accounts(lines, self.people(part)).max()) for part in parts}

    def is_smaller(self) -> bool:
        """Whether the account says less than has left. A site that knows that it does not know pays nothing."""
        if why_closed(self.home):
            return False
        spent = self.spent()
        return any(spent[part] < count * PRICE * (1 - SLACK) for part, count in self.outside.left.items())

    def try_over_budget(self) -> None:
        """Ask more than is left."""
        for part in ("training", "validation"):
            reader, sink = os.pipe()
            self.over_budget += 1
            try:
                self.answer(part, sink, LIMIT - self.spent()[part] + 1e-6 * LIMIT, many=1)
            except PolicyError as error:
                self.refusals += error.cause == "over-budget"
            os.close(reader)
            os.close(sink)

    def killed(self, *actions: Callable[[int], None], after_s: float | None) -> int:
        """Run actions at once, each in a process of its own; how many were killed.

        Args:
            after_s: the longest until all of them are killed; none: they come to their end.
        """
        reader, sink = os.pipe()
        children = [_forked(action, reader, sink) for action in actions]
        os.close(sink)
        if after_s is not None:
            time.sleep(self.draw.random() * after_s)
            for child in children:
                os.kill(child, signal.SIGKILL)
        kills = sum(os.WIFSIGNALED(os.waitpid(child, 0)[1]) for child in children)
        with os.fdopen(reader, "rb") as pipe:
            for letter in pipe.read().decode():
                part = "training" if letter == "t" else "validation"
                self.outside.left[part] = self.outside.left.get(part, 0) + 1
        return kills


def _forked(action: Callable[[int], None], reader: int, sink: int) -> int:
    if child := os.fork():
        return child
    status = 1
    try:
        os.close(reader)
        action(sink)
        status = 0
    except (ConsiliumError, OSError):
        pass  # over budget, or the other process has just changed what this one reads
    finally:
        os._exit(status)


def episode(hospital: Hospital, kind: str) -> int:
    """One kill or two of one kind, and all that comes after it; how many processes were killed."""
    train, evaluate = lambda sink: hospital.answer("training", sink), lambda sink: hospital.answer("validation", sink)
    pace_s = hospital.pace_s
    if kind == "training":
        return hospital.killed(train, after_s=6 * pace_s)
    if kind == "evaluation":
        return hospital.killed(evaluate, after_s=6 * pace_s)
    if kind == "two":
        return hospital.killed(train, train, after_s=6 * pace_s)
    if kind == "backup":
        kills = hospital.killed(lambda _: hospital.backup(), train, after_s=4 * pace_s)
        hospital.backup()
        return kills
    if kind == "rekey":
        kills = hospital.killed(lambda _: _rekey(hospital.home), train, after_s=4 * pace_s)
        enrol.rekey(hospital.home, "")
        return kills
    hospital.lose()
    kills = hospital.killed(lambda _: hospital.restore(), after_s=6 * pace_s)
    hospital.restore()
    assert why_closed(hospital.home)
    hospital.killed(train, after_s=pace_s)  # nothing may leave
    hospital.killed(lambda _: hospital.reopen(), after_s=2 * pace_s)
    hospital.reopen()
    return kills


def _rekey(home: Home) -> None:
    while True:
        enrol.rekey(home, "")


KINDS = ("training", "evaluation", "two", "backup", "rekey", "restore")
