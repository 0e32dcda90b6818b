"""Several roots: made on machines of their own, sealed, and everything signed by all of them."""

import getpass
import stat
import sys
from pathlib import Path

import pytest
import yaml

from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.setup import enrol
from common.errors import ConfigError, IdentityError
from common.trust.joining import Welcome
from server import __main__ as coordinator
from server.consortium import root_key
from server.consortium.root_key import PASSPHRASE_FILE
from server.gateway.site_api import FolderSiteApi
from server.runs.run import Run
from tests.admitted import home_of
from tests.consortium.consortium import NAMES, SVM, config_of, lower_floors
from tests.consortium.roots import PASSPHRASE, Roots


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Roots:
    return Roots(tmp_path, ("ana", "ben"), monkeypatch)


# --- the key's file ---------------------------------------------------------------------------------------------------


def test_a_root_key_is_sealed_and_its_file_says_nothing_without_the_passphrase(roots: Roots) -> None:
    path = roots.folder / "ana" / "ana.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    roots.passphrase(f"{PASSPHRASE} ana")
    key = root_key.load(path)
    assert key.private_bytes_raw().hex() not in path.read_text(encoding="utf-8")
    assert key.public_key().public_bytes_raw() == root_key.read_public(path.with_suffix(".pub"))
    roots.passphrase("another passphrase")
    with pytest.raises(IdentityError, match="not with this passphrase") as caught:
        root_key.load(path)
    assert caught.value.cause == "wrong-passphrase"


@pytest.mark.parametrize("content", ["", "{}", "00" * 31, "not a key", '{"root": 1, "salt": "", "sealed": ""}'])
def test_a_damaged_key_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "root.key").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="expected a root key"):
        root_key.load(tmp_path / "root.key")


def test_a_passphrase_is_typed_twice_without_echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    typed = iter(["one passphrase", "another passphrase", "short", "short", PASSPHRASE, PASSPHRASE, PASSPHRASE])
    monkeypatch.setattr(getpass, "getpass", lambda _: next(typed))
    with pytest.raises(ConfigError, match="differ"):
        root_key.new_passphrase(tmp_path / "k")
    with pytest.raises(ConfigError, match="expected 12 at least"):
        root_key.new_passphrase(tmp_path / "k")
    key = root_key.make(tmp_path / "k.key", root_key.new_passphrase(tmp_path / "k"))
    assert root_key.load(tmp_path / "k.key").private_bytes_raw() == key.private_bytes_raw()


def test_without_a_terminal_the_file_or_no_passphrase_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PASSPHRASE_FILE, raising=False)
    home = ["--home", str(tmp_path / "c")]
    assert coordinator.main(["init", "pilot", "--address", "127.0.0.1:1", *home]) == 2
    assert "say --no-passphrase" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    assert coordinator.main(["init", "pilot", "--address", "127.0.0.1:1", *home, "--no-passphrase"]) == 0
    assert coordinator.main(["renew", *home]) == 0
    assert "lies in the clear" in capsys.readouterr().err
    monkeypatch.setenv(PASSPHRASE_FILE, str(tmp_path / "passphrase"))
    (tmp_path / "passphrase").write_text(PASSPHRASE, encoding="utf-8")
    assert coordinator.main(["root", "seal", str(tmp_path / "c" / "root.key")]) == 0
    assert coordinator.main(["renew", *home]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert PASSPHRASE not in shown.out
    files = [path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file()]
    assert not [file for file in files if PASSPHRASE.encode() in file]


# --- a life with two roots, from the first file to an approved plan ---------------------------------------------------


def test_two_roots_on_two_machines_carry_files_to_an_approved_plan(
    roots: Roots, capsys: pytest.CaptureFixture[str]
) -> None:
    home = roots.home
    assert roots.server("init", "pilot", "--address", "127.0.0.1:8443", "--roots", roots.public()) == 0
    assert "MISSING" in capsys.readouterr().out
    assert roots.server("renew") == 2  # nothing goes on before the first roster is signed
    assert "waits for the roots' signatures" in capsys.readouterr().err
    roots.all_sign("first-roster")
    assert home.roster.version == 1
    assert not (home.folder / "root.key").exists()

    sites = {}
    config = config_of(roots.folder)
    for name in NAMES:
        sites[name] = home_of(roots.folder / name)
        request = enrol.begin(sites[name], name, "Ana", config)
        file = sites[name].folder / f"{name}.request"
        assert roots.server("admit", file, "--fingerprint", request.fingerprint) == 0
        assert name not in home.roster.active
        capsys.readouterr()
        assert roots.cosign("ana", f"admit-{name}") == 0
        shown = capsys.readouterr().out
        assert request.fingerprint in shown  # the second root telephones by itself
        assert f"NEW        {name}" in shown
        assert roots.take("ana", f"admit-{name}") == 0
        assert "1 of 2 roots" in capsys.readouterr().out
        roots.all_sign(f"admit-{name}", "ben")
        enrol.join(sites[name], Welcome.read(home.welcome(name).read_bytes()))
    for site in sites.values():
        site.take_roster(home.consortium.roster)

    (roots.folder / "plan.yaml").write_text(yaml.safe_dump(SVM), encoding="utf-8")
    assert roots.server("run", roots.folder / "plan.yaml", "--no-follow") == 0
    (paper,) = (path.stem for path in (home.folder / "pending").glob("plan-*.unsigned"))
    assert list(Run.all(home)) == []
    capsys.readouterr()
    # both copies leave at the same time: their signatures are put together
    assert roots.cosign("ana", paper) == 0
    assert "WHAT LEAVES" in capsys.readouterr().out
    assert roots.cosign("ben", paper) == 0
    assert roots.take("ben", paper) == 0
    assert list(Run.all(home)) == []
    assert roots.take("ana", paper) == 0
    run = Run.find(home)
    for name, site in sites.items():
        for file in FolderSiteApi(home).roster_and_plans(name)["plans"]:
            PlanInbox(site).take_plan(file.encode())
        lower_floors(site.folder)
        decision = decide(site, run.plan, "approve", "")
        FolderSiteApi(home).take_decision(name, decision.document.to_json())
    assert set(run.decisions()) == set(NAMES)
    assert list((home.folder / "pending").glob("*.unsigned")) == []

    assert roots.server("revoke", NAMES[0]) == 0
    assert NAMES[0] in home.identities()
    roots.all_sign(f"revoke-{NAMES[0]}")
    assert NAMES[0] not in home.identities()


def test_all_roots_at_hand_sign_at_once(roots: Roots) -> None:
    roots.begun()
    keys = []
    for who in roots.names:  # under one passphrase here, as people who share a table would not
        roots.passphrase(f"{PASSPHRASE} {who}")
        (roots.folder / f"{who}.plain").write_text(
            root_key.load(roots.folder / who / f"{who}.key").private_bytes_raw().hex(), encoding="utf-8"
        )
        keys += ["--root", str(roots.folder / f"{who}.plain")]
    assert roots.server("renew", *keys) == 0
    assert roots.home.roster.version == 2
    assert roots.server("renew", *keys[:2], *keys[:2]) == 2


def test_what_was_given_up_leaves_its_version_unused(roots: Roots) -> None:
    roots.begun()
    assert roots.server("renew") == 0
    assert roots.server("renew") == 2  # one change of the roster after the other
    assert roots.server("pending", "--drop", "renew-2") == 0
    assert roots.server("renew") == 0
    roots.all_sign("renew-3")
    assert roots.home.roster.version == 3


def test_a_key_of_an_older_release_keeps_signing_and_can_be_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "c")]
    assert coordinator.main(["init", "pilot", "--address", "127.0.0.1:1", *home, "--no-passphrase"]) == 0
    (tmp_path / "c" / "root.pub").unlink()  # which it did not write
    assert coordinator.main(["renew", *home]) == 0
    assert "python -m server root seal" in capsys.readouterr().err


def test_a_request_that_is_not_confirmed_is_not_signed(roots: Roots) -> None:
    roots.begun()
    assert roots.server("renew") == 0
    paper, key = roots.waiting("renew-2"), roots.folder / "ana" / "ana.key"
    before = paper.read_bytes()
    assert coordinator.main(["cosign", str(paper), "--root", str(key)]) == 2
    assert paper.read_bytes() == before
