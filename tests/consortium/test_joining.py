"""A hospital joins: its keys are made there and stay, its request and the welcome hold no secret."""

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from client.home import Home as Hospital
from client.setup import enrol
from common.errors import ConfigError, IdentityError, PolicyError, WireError
from common.trust.documents import read_document, sign_document
from common.trust.joining import JoinRequest, Welcome, checked_name, consortium_fingerprint
from server.consortium import membership
from tests.admitted import home_of
from tests.consortium.consortium import Consortium


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def begun(folder: Path, name: str = "lisbon", contact: str = "") -> tuple[Hospital, JoinRequest]:
    home = home_of(folder)
    return home, enrol.begin(home, name, contact)


def test_keys_are_made_at_the_site_for_its_owners_eyes_alone(tmp_path: Path) -> None:
    home, request = begun(tmp_path / "site")
    assert [mode(home.folder / name) for name in ("identity", "node")] == [0o600, 0o600]
    assert mode(home.folder) == 0o700
    assert request.identity == home.identity.public_key().public_bytes_raw()
    assert home.settings.datasets == {}
    assert home.settings.policy.plans == "ask"


def test_a_request_comes_back_as_it_was_sent_and_holds_no_secret(tmp_path: Path) -> None:
    home, request = begun(tmp_path / "site", contact="Ana Sousa, +351 …")
    file = (home.folder / "lisbon.request").read_bytes()
    again = JoinRequest.read(file)
    assert (again.site, again.contact, again.fingerprint) == ("lisbon", "Ana Sousa, +351 …", request.fingerprint)
    assert time.time() - again.made_s < 60
    assert (home.folder / "identity").read_bytes() not in file
    assert b"PRIVATE" not in file


def test_a_second_site_in_a_folder_is_refused_and_the_first_stays_as_it_is(tmp_path: Path) -> None:
    home, request = begun(tmp_path / "site")
    with pytest.raises(ConfigError, match="there is a site here already"):
        enrol.begin(home, "porto", "")
    assert home.site == "lisbon"
    assert request.identity == home.identity.public_key().public_bytes_raw()


@pytest.mark.parametrize("left", ["identity", "node"])
def test_a_key_is_never_written_over_and_rekey_mends_what_a_crash_left(left: str, tmp_path: Path) -> None:
    home, _ = begun(tmp_path / "site")
    (home.folder / left).unlink()
    kept = (home.folder / ({"identity", "node"} - {left}).pop()).read_bytes()
    with pytest.raises(ConfigError, match="already"):
        enrol.begin(home, "lisbon", "")
    assert kept in {path.read_bytes() for path in home.folder.iterdir() if path.is_file()}
    enrol.rekey(home, "")
    assert kept in {path.read_bytes() for path in home.folder.rglob("old/*/*")}
    assert home.node_key
    assert home.identity


@pytest.mark.parametrize("name", ["", "../lisbon", "lis bon", ".lisbon", "a" * 64, "lisbon\n", "l/b", "ł"])
def test_a_name_that_is_no_folders_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected up to 63 letters"):
        begun(tmp_path / "site", name)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("contact", ["Ana\nFingerprint: 12345", "Ana\x1b[2J", "a" * 201, "\u202eana"])
def test_a_contact_that_does_not_fit_on_a_line_is_refused_before_keys_are_made(contact: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--contact"):
        begun(tmp_path / "site", contact=contact)
    assert not (tmp_path / "site").exists()


@given(st.text(max_size=70))
def test_every_name_that_passes_is_a_plain_file_name(name: str) -> None:
    try:
        checked_name(name, "site")
    except ConfigError:
        return
    assert Path(name).name == name
    assert name.isascii()
    assert not name.startswith(".")


# --- what a request must show ---------------------------------------------------------------------------------------


def forged(**told: Any) -> bytes:
    identity, node = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())
    content = read_document(JoinRequest.write("lisbon", "", identity, node).file, "request").content
    return sign_document("request", content | told, [identity]).encode()


def openssh(key: ec.EllipticCurvePrivateKey) -> str:
    return JoinRequest.write("x", "", Ed25519PrivateKey.generate(), key).node


P384 = openssh(ec.generate_private_key(ec.SECP384R1()))


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"node": P384}, IdentityError),  # another's node key: it has not signed
        ({"site": "porto"}, IdentityError),  # the proof is for another name
        ({"identity": "00" * 32}, IdentityError),
        ({"identity": "00" * 31}, WireError),
        ({"node": P384 + " root@somewhere"}, WireError),  # another spelling of a key
        ({"node": " " + P384}, WireError),
        ({"node": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDY="}, WireError),
        ({"node": "ssh-unheard-of AAAA"}, WireError),
        ({"node": ""}, WireError),
        ({"node_proof": "00"}, IdentityError),
        ({"made_s": "soon"}, WireError),
        ({"contact": "a\nb"}, WireError),
    ],
)
def test_a_request_that_does_not_show_both_keys_is_refused(told: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        JoinRequest.read(forged(**told))


def test_a_fingerprint_follows_from_both_keys_and_nothing_else() -> None:
    identity, node = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())
    one = JoinRequest.write("lisbon", "", identity, node)
    assert JoinRequest.write("porto", "Ana", identity, node).fingerprint == one.fingerprint
    assert JoinRequest.write("lisbon", "", Ed25519PrivateKey.generate(), node).fingerprint != one.fingerprint
    other = ec.generate_private_key(ec.SECP384R1())
    assert JoinRequest.write("lisbon", "", identity, other).fingerprint != one.fingerprint


# --- the welcome ----------------------------------------------------------------------------------------------------


def test_a_welcome_is_pinned_whole_and_holds_no_secret(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    site, home = consortium.sites["Lisbon"], consortium.home
    assert site.has_joined
    assert site.address == "127.0.0.1:8443"
    assert site.pins == home.pins
    assert site.authority.read_bytes() == home.authority.read_bytes()
    assert site.roster.version == 2  # the first member's
    file = (home.folder / "welcomes" / "Lisbon.welcome").read_bytes()
    assert Welcome.read(file).fingerprint == consortium_fingerprint(home.pins)
    assert b"PRIVATE" not in file
    assert (home.folder / "root.key").read_bytes() not in file


def test_a_welcome_for_another_site_or_for_older_keys_is_refused(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    lisbon, welcomes = consortium.sites["Lisbon"], consortium.home.folder / "welcomes"
    with pytest.raises(IdentityError, match="a welcome for site Osaka, and this is Lisbon"):
        enrol.join(lisbon, Welcome.read((welcomes / "Osaka.welcome").read_bytes()))
    enrol.rekey(lisbon, "")
    with pytest.raises(IdentityError, match="it has got new keys since"):
        enrol.join(lisbon, Welcome.read((welcomes / "Lisbon.welcome").read_bytes()))


def test_a_site_that_has_joined_believes_no_other_roots(tmp_path: Path) -> None:
    consortium, stranger = Consortium(tmp_path / "one"), Consortium(tmp_path / "two", stranger=True)
    site = consortium.sites["Lisbon"]
    request = JoinRequest.read((site.folder / "Lisbon.request").read_bytes())
    membership.revoke(stranger.home, "Lisbon", stranger.roots)
    membership.admit(stranger.home, request, stranger.roots, new_keys=True)
    with pytest.raises(IdentityError, match="other roots than this site pinned"):
        enrol.join(site, Welcome.read(stranger.home.welcome("Lisbon").read_bytes()))
    with pytest.raises(IdentityError, match="make another site's folder"):  # of whomever it is for
        enrol.join(site, Welcome.read(stranger.home.welcome("Nairobi").read_bytes()))
    assert site.pins == consortium.home.pins


def test_an_old_welcome_takes_no_newer_roster_away(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    site, welcome = consortium.sites["Lisbon"], consortium.home.folder / "welcomes" / "Lisbon.welcome"
    newest = consortium.roster().version
    enrol.join(site, Welcome.read(welcome.read_bytes()))
    assert site.roster.version == newest > Welcome.read(welcome.read_bytes()).roster.version


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"site": "Porto"}, IdentityError),  # not on the roster in it
        ({"identity": "00" * 32}, IdentityError),
        ({"consortium": "other"}, PolicyError),
        ({"address": "nowhere"}, WireError),
        ({"address": "a b:1"}, WireError),
        ({"address": "user@train.example:8443/path:1"}, WireError),
        ({"roots": []}, IdentityError),
        ({"roots": ["00" * 32]}, IdentityError),
        ({"roster": ""}, IdentityError),
        ({"roster": "00" * 32}, IdentityError),
    ],
)
def test_a_welcome_that_does_not_hold_together_is_refused(
    told: dict[str, Any], error: type[Exception], tmp_path: Path
) -> None:
    consortium = Consortium(tmp_path)
    file = (consortium.home.folder / "welcomes" / "Lisbon.welcome").read_bytes()
    content, roster = read_document(file, "welcome").content | told, Welcome.read(file).roster_file
    with pytest.raises(error):
        Welcome.read(Welcome.file(sign_document("welcome", content, consortium.roots).encode(), roster))
    with pytest.raises(WireError):
        Welcome.read(sign_document("welcome", content, consortium.roots).encode())


# --- new keys -------------------------------------------------------------------------------------------------------


def test_rekey_puts_all_of_the_old_aside(tmp_path: Path) -> None:
    home, before = begun(tmp_path / "site")
    for name in ("state", "journal/message"):
        (home.folder / name).parent.mkdir(exist_ok=True)
        (home.folder / name).write_bytes(b"of the old keys")
    old = {path.name: path.read_bytes() for path in home.folder.iterdir() if path.name in ("identity", "node", "state")}
    after = enrol.rekey(home, "Ana")
    assert after.identity != before.identity
    assert after.node != before.node
    assert JoinRequest.read((home.folder / "lisbon.request").read_bytes()).fingerprint == after.fingerprint
    assert not (home.folder / "state").exists()
    assert not (home.folder / "journal").exists()
    (aside,) = (home.folder / "old").iterdir()
    assert {name: (aside / name).read_bytes() for name in old} == old
    assert (aside / "journal" / "message").exists()
    assert mode(aside) == 0o700
    assert mode(aside / "identity") == 0o600


def test_rekey_at_once_again_keeps_all_keys_there_ever_were(tmp_path: Path) -> None:
    home, first = begun(tmp_path / "site")
    found = [first, enrol.rekey(home, ""), enrol.rekey(home, "")]
    assert len(list((home.folder / "old").iterdir())) == 2
    assert len({request.identity for request in found}) == 3


def test_rekey_where_there_is_no_site_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="client init NAME"):
        enrol.rekey(home_of(tmp_path), "")
    assert not list(tmp_path.iterdir())
