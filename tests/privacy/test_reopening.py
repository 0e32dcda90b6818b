"""A hospital that was restored asks those who saw its account what it had paid, and pays nothing before it knows."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client.backup import create, restore, unlock
from client.custody.key_ring import Custody
from client.home import Home
from client.plans.log_witness import Witness
from client.privacy import reopening
from client.privacy.ledger import LedgerLine, ledger_of
from client.privacy.patient_sets import EVERYBODY
from client.privacy.reopening import note_closed, why_closed
from client.privacy.site_account import PlanBudget, SiteAccount
from client.setup import enrol
from common.audit.account_statement import AccountStatement
from common.errors import AuditError, PolicyError
from common.trust.joining import JoinRequest, Welcome
from server.consortium import membership
from server.consortium.site_accounts import SiteAccounts
from server.gateway.site_api import FolderSiteApi
from tests.consortium.consortium import NAMES, Consortium
from tests.privacy.hospital_account import PLAN, price

PEERS = ("Nairobi", "Osaka")


@dataclass
class Gateway:
    """The coordinator as one site reaches it."""

    consortium: Consortium
    site: str

    def history(self, content: dict[str, Any]) -> dict[str, Any]:
        """As over the network."""
        return FolderSiteApi(self.consortium.home).log_head(self.site, json.loads(json.dumps(content)))

    def tell(self, account: AccountStatement) -> None:
        """Bring a word on an account."""
        self.history({"size": 0, "account": account.document.to_json()})


class Life:
    """Three hospitals; Lisbon has a backup from when it had paid for one answer."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.consortium = folder, Consortium(folder / "life")
        self.consortium.roster()
        self.consortium.home.log.record("round", plan="one")
        (custody := Custody(self.lisbon)).begin(folder / "recovery.key")
        self.answer("abc")
        (folder / "disk").mkdir()
        create.run(custody, unlock.open_or_begin(custody, folder / "disk", False))

    @property
    def lisbon(self) -> Home:
        return self.consortium.sites["Lisbon"]

    def answer(self, patients: str, squared_mu: float = 0.125) -> None:
        """Lisbon pays for one answer."""
        people = ledger_of(self.lisbon).sets.of([(name, name) for name in patients])
        budget = PlanBudget("plan", PLAN, "chest", 3.0, 1e-5, "patient")
        tell = Gateway(self.consortium, "Lisbon").tell
        SiteAccount(self.lisbon, budget, {"training": people}, tell).spend(price(squared_mu))

    def look(self, *sites: str) -> None:
        """Sites ask for the head, until each has said what it saw, and has heard the others."""
        for _ in range(3):
            for site in sites or NAMES:
                Witness(self.consortium.sites[site]).look(Gateway(self.consortium, site))  # type: ignore[arg-type]

    def restore(self) -> None:
        """Lisbon burns down, is restored, and is admitted under new keys."""
        self.lisbon.folder.rename(self.folder / "burnt")
        vault = unlock.open_by_recovery_key(self.folder / "disk" / "Lisbon", self.folder / "recovery.key")
        restore.run(vault, self.lisbon, None)
        request = JoinRequest.read((self.lisbon.folder / "Lisbon.request").read_bytes())
        membership.admit(self.consortium.home, request, self.consortium.roots, new_keys=True)
        enrol.join(self.lisbon, Welcome.read(self.consortium.home.welcome("Lisbon").read_bytes()))
        for other in self.consortium.sites.values():  # its old key is lost: people there telephone it
            other.accept_key("Lisbon", request.identity)
        self.consortium.roster()

    def let_time_pass(self) -> None:
        """As if the restoration were long ago."""
        note_closed(self.lisbon, why_closed(self.lisbon), at_s=0.0)

    def lines(self) -> list[LedgerLine]:
        ledger = ledger_of(self.lisbon)
        with ledger.lock():
            return ledger.lines()


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def test_a_restored_site_pays_nothing_until_every_other_site_has_said_what_it_saw(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    life.answer("abc")
    life.answer("xyz")
    life.look()
    life.restore()
    assert [line.squared_mu for line in life.lines()] == [0.125]
    with pytest.raises(PolicyError, match="restored from a backup") as refusal:
        life.answer("abc")
    assert refusal.value.cause == "closed-account"
    life.look("Lisbon")
    assert "waits for a word of Nairobi, Osaka" in caplog.text
    life.look("Nairobi", "Lisbon")
    life.look("Osaka", "Lisbon")  # but by clocks that may be ten minutes ahead of the restoration
    assert why_closed(life.lisbon)
    life.let_time_pass()
    life.look()
    assert not why_closed(life.lisbon)
    paid = sorted((line.patients == EVERYBODY, line.squared_mu) for line in life.lines())
    assert paid == [(False, 0.125), (False, 0.125), (True, 0.125)]  # who xyz are is not known here any more
    life.answer("abc")
    assert life.lines()[-1].account == pytest.approx(0.5)
    stored = SiteAccounts(life.consortium.home).of("Lisbon")
    assert stored is not None
    assert stored.total == pytest.approx(0.5)


def test_a_coordinator_that_shows_an_older_word_does_not_open_the_account(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    path = life.consortium.home.folder / "accounts" / "Lisbon.json"
    older = path.read_bytes()
    life.answer("abc")
    life.look()
    life.restore()
    life.let_time_pass()
    for shown in (older, None):
        path.write_bytes(older) if shown else path.unlink()
        life.look()
        assert "Nairobi, Osaka saw more of its account than the coordinator shows" in caplog.text
        assert why_closed(life.lisbon)
        caplog.clear()


def test_a_made_up_word_counts_as_none(life: Life) -> None:
    life.restore()
    path = life.consortium.home.folder / "accounts" / "Lisbon.json"
    nairobi = life.consortium.sites["Nairobi"]
    made_up = AccountStatement.sign("Lisbon", {"ab" * 16: 7.0}, {}, [nairobi.identity])
    path.write_bytes(made_up.document.encode())
    life.let_time_pass()
    life.look()
    assert not why_closed(life.lisbon)
    assert [line.squared_mu for line in life.lines()] == [0.125]


def test_a_folder_that_was_set_back_by_hand_is_noticed(life: Life) -> None:
    before = life.folder / "before"
    shutil.copytree(life.lisbon.folder, before)
    life.answer("abc")
    life.look()
    shutil.rmtree(life.lisbon.folder)
    shutil.copytree(before, life.lisbon.folder)
    with pytest.raises(AuditError, match="says less than one before"):
        life.answer("z", 0.01)
    life.look("Lisbon")
    assert "set back" in why_closed(life.lisbon)
    life.let_time_pass()
    life.look()
    assert not why_closed(life.lisbon)
    assert sum(line.squared_mu for line in life.lines()) >= 0.25


def test_a_site_without_any_account_looks_as_before(life: Life) -> None:
    life.look()
    assert not (life.consortium.sites["Osaka"].folder / "privacy" / "ledger").exists()
    assert Witness(life.consortium.sites["Osaka"]).accounts == {"Lisbon": 0.125}
    assert reopening.settle(life.lisbon, ledger_of(life.lisbon), "", {}) == ""
