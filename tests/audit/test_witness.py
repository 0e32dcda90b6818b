"""Sites hold the coordinator to one history: against itself, and against what it shows to others."""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.__main__ import main
from client.home import Home as Hospital
from client.plans import judge
from client.plans.decide import decide
from client.plans.log_witness import Witness
from common.audit.entries import decode
from common.audit.heads import log_key_paper
from common.audit.witness_statement import WitnessStatement
from common.errors import AuditError, ConfigError, IdentityError
from common.trust.keys import public_of
from server.__main__ import main as coordinator
from server.consortium.home import Home
from server.gateway.site_api import FolderSiteApi
from tests.consortium.consortium import NAMES, Consortium


@dataclass
class Shown:
    """The coordinator's board as one site is shown it."""

    home: Home
    site: str
    withheld: bool = False

    def history(self, told: dict[str, Any]) -> dict[str, Any]:
        """As the gateway passes it on."""
        answer = FolderSiteApi(self.home).log_head(self.site, json.loads(json.dumps(told)))
        return answer | {"witnesses": []} if self.withheld else answer


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    made = Consortium(tmp_path)
    made.roster()
    grown(made.home, "one", "two", "three")
    return made


def grown(home: Home, *names: str) -> None:
    for name in names:
        home.log.record("round", plan=name)


def fork(home: Home) -> Home:
    """Another history from here on, of a coordinator that has all of its keys."""
    other = home.folder.parent / "other"
    shutil.copytree(home.folder, other)
    return Home(other)


def look(site: Hospital, home: Home, **how: bool) -> Witness:
    witness = Witness(site)
    witness.look(Shown(home, site.site, **how))  # type: ignore[arg-type]
    return witness


def events(site: Hospital) -> list[str]:
    return [decode(line, number, "").what for number, line in enumerate(site.log.lines())]


def test_a_log_that_grows_is_witnessed_by_all_and_each_knows_of_the_others(consortium: Consortium) -> None:
    for number in range(4):
        for name in NAMES:
            witness = look(consortium.sites[name], consortium.home)
            head = consortium.home.log.head()
            assert head is not None
            assert witness.head is not None
            assert (witness.head.size, witness.head.root) == (head.size, head.root)
        grown(consortium.home, *"abcdefg"[: number + 1])
    witness = look(consortium.sites["Lisbon"], consortium.home)
    assert set(witness.others) == {"Nairobi", "Osaka"}
    assert events(consortium.sites["Lisbon"]).count("head witnessed") == 5


def test_two_histories_shown_to_one_site_stop_it_until_somebody_accepts_one(
    consortium: Consortium, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    site, plan = consortium.sites["Lisbon"], consortium.plan()
    decide(site, plan, "approve", "")
    other = fork(consortium.home)
    grown(consortium.home, "this")
    grown(other, "that", "and more")
    look(site, consortium.home)
    assert judge.approved_plan(site, plan.digest)
    with caplog.at_level(logging.ERROR, "consilium"), pytest.raises(AuditError, match="does not begin with"):
        look(site, other)
    assert "TWO HISTORIES" in caplog.text
    assert events(site)[-1] == "head refused"
    with pytest.raises(AuditError, match="two histories"):
        judge.approved_plan(site, plan.digest)
    kept = json.loads(site.witness_refused.read_text())
    assert kept["seen"]["content"]["root"] != kept["shown"]["head"]["content"]["root"]
    look(site, consortium.home)  # the true one again: still nothing is answered, somebody has to look
    assert site.witness_refused.exists()

    home = ["--home", str(site.folder)]
    assert main(["witness", *home]) == 1
    assert "REFUSED" in capsys.readouterr().out
    size = other.log.head().size  # type: ignore[union-attr]
    assert main(["witness", *home]) == 1
    assert f"audit verify --at {size}` and read out the root" in " ".join(capsys.readouterr().out.split())
    grown(other, "goes", "on", "meanwhile")  # nobody telephones within a second
    assert coordinator(["audit", "verify", "--at", str(size), "--home", str(other.folder)]) == 0
    root = capsys.readouterr().out.split()[-1]
    assert root == other.log.root_at(size).hex() != other.log.head().root.hex()  # type: ignore[union-attr]
    for wrong in ("0" * 64, root[:15], ""):
        with pytest.raises(ConfigError):
            Witness(site).accept(wrong)
    assert main(["witness", "--accept", root[:16], *home]) == 0
    assert judge.approved_plan(site, plan.digest)
    look(site, other)
    with pytest.raises(AuditError):
        look(site, consortium.home)


def test_who_accepted_a_restored_coordinator_is_not_stopped_by_the_last_word_of_one_who_has_not_yet(
    consortium: Consortium,
) -> None:
    lisbon, osaka, restored = consortium.sites["Lisbon"], consortium.sites["Osaka"], fork(consortium.home)
    grown(consortium.home, "lost")
    for site in (lisbon, osaka):
        look(site, consortium.home)
        look(site, consortium.home)
    grown(restored, "something", "else")
    with pytest.raises(AuditError):
        look(lisbon, restored)
    Witness(lisbon).accept(restored.log.head().root.hex())  # type: ignore[union-attr]
    with pytest.raises(AuditError):
        look(osaka, restored)  # which brings its word on the head that is lost, later than Lisbon accepted
    assert look(lisbon, restored).others == {}
    assert not lisbon.witness_refused.exists()
    Witness(osaka).accept(restored.log.head().root.hex())  # type: ignore[union-attr]
    look(osaka, restored)
    assert set(look(lisbon, restored).others) == {"Osaka"}


def test_a_log_that_is_set_back_or_gone_is_refused(consortium: Consortium) -> None:
    old = fork(consortium.home)
    grown(consortium.home, "four")
    site, another = consortium.sites["Lisbon"], consortium.sites["Osaka"]
    look(site, consortium.home)
    with pytest.raises(AuditError, match="set back"):
        look(site, old)
    look(another, consortium.home)
    shutil.rmtree(consortium.home.folder / "audit")
    with pytest.raises(AuditError, match="shows no log any more"):
        look(another, consortium.home)


def test_two_histories_shown_to_two_sites_are_noticed_by_what_each_says_that_it_saw(consortium: Consortium) -> None:
    lisbon, osaka = consortium.sites["Lisbon"], consortium.sites["Osaka"]
    other = fork(consortium.home)
    grown(consortium.home, "this")
    grown(other, "that")
    look(lisbon, consortium.home)
    look(osaka, other)
    look(lisbon, consortium.home)  # Lisbon's word is at the coordinator now
    words = consortium.home.live / "witnesses"
    assert [path.stem for path in words.glob("*.json")] == ["Lisbon"]
    shutil.copytree(words, other.live / "witnesses", dirs_exist_ok=True)
    with pytest.raises(AuditError, match="Lisbon was shown another history"):
        look(osaka, other)
    assert osaka.witness_refused.exists()


def test_a_word_that_is_withheld_is_seen_to_be_missing(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*NAMES, *NAMES):
        look(consortium.sites[name], consortium.home)
    assert main(["witness", "--home", str(consortium.sites["Osaka"].folder)]) == 0
    assert "no word" not in capsys.readouterr().out
    look(consortium.sites["Osaka"], consortium.home, withheld=True)
    assert main(["witness", "--home", str(consortium.sites["Osaka"].folder)]) == 0
    assert capsys.readouterr().out.count("no word from it") == 2


def test_nobody_speaks_as_another_witness_and_no_other_key_signs_heads(consortium: Consortium) -> None:
    lisbon, osaka = consortium.sites["Lisbon"], consortium.sites["Osaka"]
    head = look(lisbon, consortium.home).head
    assert head is not None
    forged = WitnessStatement.sign("Osaka", head, lisbon.identity)
    for word in (
        forged,
        WitnessStatement.sign("Osaka", head, osaka.identity),
        WitnessStatement.sign("Osaka", head, Ed25519PrivateKey.generate()),
    ):
        with pytest.raises(IdentityError):
            FolderSiteApi(consortium.home).log_head("Lisbon", {"size": 0, "witness": word.document.to_json()})
    path = consortium.home.live / "witnesses" / "Osaka.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(forged.document.to_json()))
    assert look(lisbon, consortium.home).others == {}

    stranger = Ed25519PrivateKey.generate()
    consortium.home.voucher.write_bytes(
        log_key_paper(public_of(consortium.home.log.key()), "pilot", [stranger]).encode()
    )
    with pytest.raises(IdentityError):
        look(lisbon, consortium.home)
    assert not lisbon.witness_refused.exists()


def test_before_the_roots_have_vouched_nothing_is_shown_and_nothing_refused(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path, NAMES[:1])
    consortium.home.voucher.unlink()
    assert look(consortium.sites[NAMES[0]], consortium.home).head is None
