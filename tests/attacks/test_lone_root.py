"""A8: several roots of which all must sign. One alone, or a paper that changes on its way, signs nothing."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client import __main__ as hospital
from client.setup import enrol, preflight
from common.errors import ConfigError
from common.trust.cosigning import RootPaper, SigningRequest
from common.trust.documents import fingerprint, sign_document
from common.trust.joining import JoinRequest, Welcome
from common.trust.keys import public_of
from common.trust.rekey import rekey_paper
from common.trust.roster import Member, load_verified_roster, parse_roster
from server.consortium import membership, paper_words, publishing, root_key, signing
from server.consortium.home import ConsortiumSettings, Home
from server.gateway.site_api import FolderSiteApi
from tests.admitted import home_of
from tests.attacks.conftest import Attack

ANA, BEN, EVE = (Ed25519PrivateKey.generate() for _ in range(3))
FINISH = publishing.FINISH


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A consortium of two roots, Lisbon admitted; neither key lies in its folder."""
    home = Home(tmp_path / "consortium")
    settings = ConsortiumSettings(consortium="pilot", address="127.0.0.1:8443")
    begun = membership.begin(home, settings, roots=(public_of(ANA), public_of(BEN)))
    signing.take(home, begun.request.sign([ANA, BEN]).file, FINISH)
    request = enrol.begin(home_of(tmp_path / "Lisbon"), "Lisbon", "")
    membership.admit(home, request, [ANA, BEN])
    enrol.join(home_of(tmp_path / "Lisbon"), Welcome.read(home.welcome("Lisbon").read_bytes()))
    return home


def files(home: Home) -> dict[str, bytes]:
    """All that counts, but what waits."""
    return {
        str(path.relative_to(home.folder)): path.read_bytes()
        for path in home.folder.rglob("*")
        if path.is_file() and "pending" not in path.parts and ".lock" not in path.name
    }


def test_one_root_alone_signs_nothing(attack: Attack, home: Home, tmp_path: Path) -> None:
    before = files(home)
    outcome = membership.revoke(home, "Lisbon", [ANA])
    assert outcome.request.missing == (public_of(BEN),)
    assert files(home) == before
    site = home_of(tmp_path / "Lisbon")
    roster = outcome.request.paper("roster")
    assert roster is not None
    with attack("a roster that one of two roots signed, at a site", "bad-signature"):
        site.take_roster(roster.file)
    with attack("a roster that one of two roots signed, with its signature twice", "bad-signature"):
        site.take_roster(replace(roster, signatures={public_of(BEN): roster.signatures[public_of(ANA)]}).file)
    with attack("the one root again", "signed-already"):
        outcome.request.sign([ANA])
    with attack("a stranger in the place of the missing root", "other-root"):
        outcome.request.sign([EVE])
    assert "Lisbon" in home.identities()


def changed_roster(fields: dict[str, Any]) -> None:
    paper = SigningRequest.read(json.dumps(fields).encode()).paper("roster")
    assert paper is not None
    roster = parse_roster(paper.roster_content)
    eve = replace(roster, members=(Member("Eve", public_of(EVE)), *roster.members))
    fields["content"]["papers"][0]["content"] = RootPaper.of_roster(eve).content


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "the roster changed after the first signature": ("bad-signature", changed_roster),
    "the signature of another": (
        "bad-signature",
        lambda f: f["content"]["papers"][0]["signatures"].update({public_of(BEN).hex(): "00" * 64}),
    ),
    "a stranger's signature": (
        "other-root",
        lambda f: f["content"]["papers"][0]["signatures"].update({public_of(EVE).hex(): "00" * 64}),
    ),
    "no papers": ("WireError", lambda f: f["content"].update(papers=[])),
    "a root twice": ("WireError", lambda f: f["content"].update(roots=[public_of(ANA).hex()] * 2)),
    "no JSON of ours": ("WireError", lambda f: f.update(paper="plan")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_paper_that_is_changed_between_two_signatures_is_refused(what: str, attack: Attack, home: Home) -> None:
    cause, change = CHANGES[what]
    fields = json.loads(membership.revoke(home, "Lisbon", [ANA]).request.file)
    # what is checked is in `SigningRequest.read`; the change is made before it
    change(fields)
    with attack(what, cause):
        SigningRequest.read(json.dumps(fields).encode())


def test_a_paper_that_is_changed_before_the_first_signature_is_not_taken_back(attack: Attack, home: Home) -> None:
    waits = membership.revoke(home, "Lisbon", []).request
    roster = parse_roster(waits.papers[0].roster_content)
    eve = RootPaper.of_roster(replace(roster, members=(Member("Eve", public_of(EVE)), *roster.members)))
    before = files(home)
    for what, other in {
        "another roster, signed by both": replace(waits, papers=(eve, *waits.papers[1:])).sign([ANA, BEN]),
        "a paper more": replace(waits, papers=(*waits.papers, eve)).sign([ANA, BEN]),
        "other roots": replace(waits, roots=(public_of(ANA),)).sign([ANA]),
        "another consortium's": replace(waits, consortium="other").sign([ANA, BEN]),
    }.items():
        with attack(what, "changed-paper"):
            signing.take(home, other.file, FINISH)
    with attack("a paper that nobody here drew up", "ConfigError"):
        signing.take(home, replace(waits, name="other").sign([ANA, BEN]).file, FINISH)
    with attack("a name that leads out of the folder", "ConfigError"):
        signing.take(home, replace(waits, name="../../roster").sign([ANA, BEN]).file, FINISH)
    assert files(home) == before
    signing.take(home, waits.sign([ANA, BEN]).file, FINISH)
    assert "Lisbon" not in home.identities()


def test_the_other_root_sees_what_changes(attack: Attack, home: Home, tmp_path: Path) -> None:
    request = enrol.begin(home_of(tmp_path / "Quito"), "Quito", "")
    waits = membership.admit(home, request, [ANA]).request
    words = paper_words.describe(waits)
    assert "NEW        Quito" in words
    assert request.fingerprint in words
    other = enrol.begin(home_of(tmp_path / "Other"), "Quito", "")
    with attack("another site's request beside the roster", "changed-paper"):
        paper_words.describe(replace(waits, words={"request": other.file.decode()}))
    forged = load_verified_roster(home.consortium.roster, home.pins)
    with attack("a last roster that the roots did not sign", "bad-signature"):
        paper_words.describe(replace(waits, before=replace(forged, version=1).sign([ANA, EVE])))


def test_two_rosters_of_one_version_are_never_drawn_up(attack: Attack, home: Home, tmp_path: Path) -> None:
    waits = membership.revoke(home, "Lisbon", [ANA]).request
    with attack("a second change while the first waits", "ConfigError"):
        membership.renew(home, 10, [ANA, BEN])
    signing.drop(home, waits.name)
    membership.renew(home, 10, [ANA, BEN])
    assert home.roster.version == 4
    with attack("what was given up, signed all the same", "ConfigError"):
        signing.take(home, waits.sign([BEN]).file, FINISH)


def test_a_root_key_is_of_no_use_to_who_finds_it(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(root_key.PASSPHRASE_FILE, str(tmp_path / "passphrase"))
    (tmp_path / "passphrase").write_text("not the passphrase", encoding="utf-8")
    root_key.make(tmp_path / "a.key", "the passphrase itself")
    root_key.make(tmp_path / "b.key", "not the passphrase")
    with attack("another passphrase", "wrong-passphrase"):
        root_key.load(tmp_path / "a.key")
    a, b = (json.loads((tmp_path / name).read_text()) for name in ("a.key", "b.key"))
    (tmp_path / "c.key").write_text(json.dumps(b | {"root": a["root"]}), encoding="utf-8")
    with attack("one root's key under another's name", "wrong-passphrase"):
        root_key.load(tmp_path / "c.key")
    a_pub = json.loads((tmp_path / "a.pub").read_text())
    (tmp_path / "d.pub").write_text(json.dumps(a_pub | {"content": {"root": b["root"]}}), encoding="utf-8")
    with attack("a public half that its owner does not have the key of", "bad-signature"):
        root_key.read_public(tmp_path / "d.pub")
    (tmp_path / "passphrase").unlink()
    with attack("a passphrase file that is not there", "ConfigError"):
        root_key.load(tmp_path / "a.key")


def test_a_root_is_counted_once(tmp_path: Path) -> None:
    settings = ConsortiumSettings(consortium="pilot", address="127.0.0.1:8443")
    with pytest.raises(ConfigError, match="--roots"):
        membership.begin(Home(tmp_path / "c"), settings, roots=(public_of(ANA), public_of(ANA)))
    assert not (tmp_path / "c").exists()


# --- a change of the roots --------------------------------------------------------------------------------------------

DAY_S = 86_400.0


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + days * DAY_S)


def board(home: Home) -> list[bytes]:
    return [paper.encode() for paper in FolderSiteApi(home).roster_and_plans("Lisbon")["roots"]]


def test_roots_change_when_all_old_and_all_new_have_signed(
    attack: Attack, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, before = home_of(tmp_path / "Lisbon"), files(home)
    waits = membership.rotate(home, [public_of(ANA), public_of(EVE)], [ANA]).request
    words = paper_words.describe(waits)
    assert all(what in words for what in ("stays", "GOES", "COMES"))
    for what, keys in {"one old root missing": [EVE], "the new root missing": [BEN]}.items():
        signed = waits.sign(keys)
        paper = signed.paper("roots")
        assert paper is not None
        with attack(f"{what}, at a site", "bad-signature"):
            site.take_root_changes([paper.file])
        assert signing.take(home, signed.file, FINISH).request.missing
        signing.drop(home, waits.name)
        assert files(home) == before
        waits = membership.rotate(home, [public_of(ANA), public_of(EVE)], [ANA]).request
    signing.take(home, waits.sign([BEN, EVE]).file, FINISH)
    with attack("a second change before the first is in force", "ConfigError"):
        membership.rotate(home, [public_of(ANA)], [ANA, BEN, EVE])

    site.take_root_changes(board(home))
    assert set(home.pins.roots) == set(site.pins.roots) == {public_of(ANA), public_of(BEN)}
    assert "telephone" in " ".join(line.todo.lower() for line in preflight.CHECKS["roots"](site))
    assert membership.renew(home, 30, [ANA, BEN]).request.missing == (public_of(EVE),)
    signing.drop(home, f"renew-{home.roster.version + 1}")
    membership.renew(home, 30, [ANA, BEN, EVE])
    assert site.take_roster(home.consortium.roster).version == home.roster.version

    later(monkeypatch, 8)
    assert set(home.pins.roots) == set(site.pins.roots) == {public_of(ANA), public_of(EVE)}
    assert site.roster == home.roster
    with attack("the old roots, afterwards", "other-root"):
        membership.renew(home, 30, [ANA, BEN])
    forged = replace(home.roster, version=99).sign([ANA, BEN])
    with attack("a roster of the old roots, afterwards, at a site", "bad-signature"):
        site.take_roster(forged)


def test_a_site_that_was_away_follows_the_chain_and_no_other(
    attack: Attack, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, first = home_of(tmp_path / "Lisbon"), home.pins
    membership.rotate(home, [public_of(EVE)], [ANA, BEN, EVE])
    later(monkeypatch, 8)
    membership.rotate(home, [public_of(ANA)], [EVE, ANA])
    later(monkeypatch, 8)
    assert home.pins.roots == (public_of(ANA),)
    one, two = board(home)
    site.take_root_changes([two])  # without the first it leads nowhere
    assert site.pins.roots == first.roots
    forged = sign_document("roots", {**json.loads(one)["content"], "new": [public_of(EVE).hex()]}, [EVE])
    with attack("a change that the new root signed alone", "bad-signature"):
        site.take_root_changes([forged.encode()])
    hasty = json.loads(one)["content"]
    hasty["in_force_s"] = hasty["made_s"] + DAY_S
    with attack("a change in force after a day", "WireError"):
        site.take_root_changes([sign_document("roots", hasty, [ANA, BEN, EVE]).encode()])
    site.take_root_changes([two, one])
    assert site.pins.roots == (public_of(ANA),)
    assert site.pins.changes == 2
    site.take_roster(home.consortium.roster)
    assert site.roster == home.roster
    request = enrol.begin(home_of(tmp_path / "Quito"), "Quito", "")
    membership.admit(home, request, [ANA])
    late = home_of(tmp_path / "Quito")
    enrol.join(late, Welcome.read(home.welcome("Quito").read_bytes()))
    late.take_root_changes(board(home))  # who joins after a change is led nowhere by it
    assert late.pins.roots == (public_of(ANA),)


# --- another key under a member's name --------------------------------------------------------------------------------


def test_no_member_gets_another_key_without_its_old_ones_word(attack: Attack, home: Home, tmp_path: Path) -> None:
    lisbon, quito = home_of(tmp_path / "Lisbon"), home_of(tmp_path / "Quito")
    membership.admit(home, enrol.begin(quito, "Quito", ""), [ANA, BEN])
    enrol.join(quito, Welcome.read(home.welcome("Quito").read_bytes()))
    lisbon.take_roster(home.consortium.roster)
    before = lisbon.roster

    def given(version: int, *members: Member) -> bytes:
        return replace(before, version=before.version + version, members=members).sign([ANA, BEN])

    own, eve = Member("Lisbon", before.active["Lisbon"]), Member("Quito", public_of(EVE))
    by_herself = rekey_paper("Quito", EVE, public_of(EVE)).encode()
    by_another = rekey_paper("Lisbon", quito.identity, public_of(EVE)).encode()
    suspended = replace(eve, status="suspended")
    for what, roster, papers in (
        ("another key under a member's name", given(1, own, eve), []),
        ("the same in the new key's own word", given(1, own, eve), [by_herself]),
        ("the same in another member's word", given(1, own, eve), [by_another]),
        ("a member suspended under another key, to come back with it", given(1, own, suspended), []),
        ("a member dropped, to come back with another key", given(1, own), []),
    ):  # fmt: skip
        with attack(what, "swapped-key"):
            lisbon.take_roster(roster, papers)
        assert lisbon.roster == before

    # its own word, over two steps of which this site saw neither
    for _ in range(2):
        membership.admit(home, enrol.rekey(quito, ""), [ANA, BEN], new_keys=True)
    with attack("a chain that lacks a link", "swapped-key"):
        lisbon.take_roster(home.consortium.roster, home.rekeys()[:1])
    lisbon.take_roster(home.consortium.roster, home.rekeys())
    assert lisbon.roster == home.roster

    # its old key is lost: somebody here telephones
    (quito.folder / "identity").write_text("damaged", encoding="utf-8")
    lost = enrol.rekey(quito, "")
    assert not lost.rekey
    membership.admit(home, lost, [ANA, BEN], new_keys=True)
    with attack("a new key whose old one is lost", "swapped-key"):
        lisbon.take_roster(home.consortium.roster, home.rekeys())
    accept = ["accept-key", "Quito", "--home", str(lisbon.folder), "--fingerprint"]
    assert hospital.main([*accept, "12345"]) == 2
    assert hospital.main([*accept, fingerprint(lost.identity)]) == 0
    assert lisbon.take_roster(home.consortium.roster, home.rekeys()) == home.roster
    with attack("yet another, after one was accepted", "swapped-key"):
        lisbon.take_roster(replace(home.roster, version=99, members=(own, eve)).sign([ANA, BEN]))


def test_an_old_keys_word_is_for_its_site_and_the_key_in_the_request(attack: Attack, tmp_path: Path) -> None:
    site = home_of(tmp_path / "Lisbon")
    enrol.begin(site, "Lisbon", "")
    request = json.loads(enrol.rekey(site, "").file)["content"]
    for what, paper in {
        "for another site": rekey_paper("Quito", EVE, site.identity.public_key().public_bytes_raw()),
        "for another key": rekey_paper("Lisbon", EVE, public_of(ANA)),
    }.items():
        changed = sign_document("request", request | {"rekey": paper.to_json()}, [site.identity])
        with attack(f"an old key's word {what}", "swapped-key"):
            JoinRequest.read(changed.encode())
