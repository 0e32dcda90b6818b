"""The ways round the roles that release 0.1 had, and their siblings, tried by system users of their own."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from client.custody import importer
from client.custody.importer import ImportRequest
from client.custody.key_ring import Custody
from common.config import Folder
from tests.access import accounts
from tests.access.accounts import ANA, BEN, GROUP, OUTSIDER, SERVICE, Account, account, give_away
from tests.access.staff import Site
from tests.admitted import home_of
from tests.custody.hospital import folder_of_dicoms
from tests.package.conftest import svm
from tests.package.shop import Made

__all__ = ["svm"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED LOUDLY: only root makes system users")


@dataclass
class Machine:
    """A site that runs as its own user; Ana is data officer, Ben auditor, and an outsider is in no group."""

    site: Site
    home: Path
    ana: Account
    ben: Account
    outsider: Account

    def refusals(self) -> list[str]:
        """Why commands were refused, as the log has it."""
        return [str(entry.facts["refused"]) for entry in self.site.entries() if "refused" in entry.facts]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with accounts.shared_place("consilium-accounts-") as (python, place):
        site = Site(place)
        site.put(site.member("ana", "data-officer", "operator"), site.member("ben", "auditor"))
        custody = Custody(home_of(place / "site"))
        custody.begin(place / "away.recovery")
        source = folder_of_dicoms(place / "export", 6, size=8)
        importer.run(custody, ImportRequest(Folder(kind="folder", path=source), "chest"))
        give_away(place / "site", SERVICE, mode=0o2710)
        homes = {}
        for name, uid in (("ana", ANA), ("ben", BEN), ("outsider", OUTSIDER)):
            homes[name] = place / f"home-{name}"
            homes[name].mkdir()
            if name != "outsider":
                shutil.copy(place / f"{name}.key", homes[name] / "me.key")
            give_away(homes[name], uid)
        give_away(shutil.copytree(source, homes["ana"] / "export"), ANA)
        with ExitStack() as stack:
            stack.enter_context(account(python, SERVICE, place, str(place / "site")))
            people = [
                stack.enter_context(account(python, uid, homes[name], groups=groups))
                for name, uid, groups in (("ana", ANA, (GROUP,)), ("ben", BEN, (GROUP,)), ("outsider", OUTSIDER, ()))
            ]  # fmt: skip
            yield Machine(site, place / "site", *people)


def write_in_turn(fifo: Path, texts: list[str]) -> None:
    """One text to each who opens it, and the next when that one has closed it."""
    for text in texts:
        fifo.write_text(text, encoding="utf-8")
        while True:
            try:
                os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                break  # nobody reads any more


def as_of(machine: Machine, who: Account) -> list[str]:
    return ["--home", str(machine.home), "--as", str(who.home / "me.key")]


def test_people_give_commands_under_their_own_accounts(machine: Machine) -> None:
    ana, ben = machine.ana, machine.ben
    status, out, err = ana.give("custody", "list", *as_of(machine, ana))
    assert (status, "chest: 6 cases" in out) == (0, True), err
    status, _, err = ben.give("custody", "rotate", *as_of(machine, ben))
    assert (status, "ben is auditor, and may not" in err) == (2, True)
    assert machine.refusals()[-1] == "not their role"
    assert machine.site.entries()[-1].facts["system user"] == BEN
    status, _, err = ben.give("audit", "export", "log.audit", *as_of(machine, ben))
    assert status == 0, err
    exported = ben.home / "log.audit"
    assert exported.stat().st_uid == BEN
    done = machine.site.entries()[-1]
    assert (done.role, done.facts["system user"]) == ("ben as auditor", BEN)


def test_images_of_a_person_are_imported_by_who_may_not_read_them(machine: Machine) -> None:
    ana = machine.ana
    status, out, err = ana.give("import", "export", "--name", "second", "--processes", "1", *as_of(machine, ana))
    assert (status, "6 cases are in" in out) == (0, True), err
    assert not [path for path in machine.home.rglob("*") if path.is_file() and b"DICM" in path.read_bytes()]


@pytest.mark.slow
def test_people_s_commands_come_to_their_ends_under_their_own_accounts(machine: Machine, svm: Made) -> None:
    ana, ben = machine.ana, machine.ben
    package, image = ana.home / "m.consilium", ana.home / "an image.npz"
    shutil.copy(svm.path, package)
    np.savez(image, images=np.zeros((2, 28, 28), np.uint8), labels=np.array([0, 1]))
    sealed = f"data: {{kind: encrypted, path: '{machine.home}/sets/chest'}}"
    text = f"name: t\n{sealed}\nsites: {{split: iid, count: 1}}\npreprocess: [{{step: grey}}]\nmodel: {{kind: svm}}\n"
    (ana.home / "of chest.yaml").write_text(text, encoding="utf-8")
    (ana.home / "people.txt").write_text("P-1\n", encoding="utf-8")
    for path in (package, image, ana.home / "of chest.yaml", ana.home / "people.txt"):
        os.chown(path, ANA, ANA)
    digits = svm.shared.fingerprint
    address = ("--ae", "ARCHIVE", "--host", "127.0.0.1", "--port", "104", "--our-ae", "CONSILIUM")
    for who, words, written in (
        (ana, ("privacy", "show"), ""),
        (ben, ("privacy", "show", "--json"), ""),
        (ana, ("pacs", "add", "radiology", *address), ""),
        (ben, ("pacs", "list"), ""),
        (ana, ("preview", "chest/3", "--config", "of chest.yaml", "--out", "a picture.png"), "a picture.png"),
        (ana, ("predict", "m.consilium", "an image.npz", "--publisher", digits, "--csv", "a.csv"), "a.csv"),
        (ana, ("predict", "m.consilium", "chest/3", "--no-pictures", "--json", "a.json"), "a.json"),
        (ana, ("compare", "--json"), ""),
        (ana, ("patients", "find", "--file", "people.txt"), ""),
        (ana, ("patients", "remove", "--file", "people.txt", "--receipt", "r.json", "--yes"), "r.json"),
        (ana, ("patients", "readmit", "--file", "people.txt", "--name", "chest"), ""),
    ):
        home = () if words[0] == "preview" else ("--home", str(machine.home))
        status, out, err = who.give(*words, *home, "--as", str(who.home / "me.key"))
        assert status == 0, (words, out, err)
        assert not written or (who.home / written).stat().st_uid in (ANA, BEN)


def test_a_configuration_that_is_two_things_decrypts_nothing(machine: Machine) -> None:
    """A FIFO gave the gate a plain configuration, and the command one of an encrypted data set."""
    ben = machine.ben
    plain, sealed = (
        f"name: t\ndata: {data}\nsites: {{split: iid, count: 1}}\nmodel: {{kind: svm}}\n"
        for data in ("{kind: synthetic, sites: 1, cases: 40, size: 8}",
                     f"{{kind: encrypted, path: '{machine.home}/sets/chest'}}")
    )  # fmt: skip
    os.mkfifo(fifo := ben.home / "two.yaml")
    os.chown(fifo, BEN, BEN)
    writer = threading.Thread(target=write_in_turn, args=(fifo, [plain, sealed]), daemon=True)
    writer.start()
    status, out, err = ben.give("check", "two.yaml", *as_of(machine, ben))
    writer.join(timeout=10)
    assert status == 2, (out, err)
    assert "encrypted" in err
    (ben.home / "sealed.yaml").write_text(sealed, encoding="utf-8")
    (ben.home / "plain.yaml").write_text(plain, encoding="utf-8")
    (ben.home / "link.yaml").symlink_to("sealed.yaml")
    for name in ("sealed.yaml", "link.yaml"):
        status, _, err = ben.give("check", name, *as_of(machine, ben))
        assert (status, "ben is auditor, and may not" in err) == (2, True), err
    claim = f"""
from client.access import door, people
from tests.access.doors import parsed
words = ["check", "sealed.yaml", "--home", {str(machine.home)!r}]
reply = door.answer(Path({str(machine.home)!r}), words, "plans", people.open_key(Path("me.key")), options=parsed(words))
result = [reply.status, reply.errors]
"""
    (status, said), *_ = ben.do(claim)
    assert (status, "another row of the table" in said) == (2, True), said


def test_no_file_of_the_site_is_read_or_written_because_it_is_named(machine: Machine) -> None:
    ana, identity = machine.ana, machine.home / "identity"
    secret, settings = identity.read_text(), (machine.home / "site.yaml").read_bytes()
    (ana.home / "link").symlink_to(identity)
    for name in (identity, "link", machine.home / "custody" / "keys"):
        for words in (
            ["import", name, "--name", "third"],
            ["patients", "relabel", name, "--name", "chest"],
            ["patients", "find", "--file", name],
            ["custody", "recover", "chest", name],
            ["predict", name, "export"],
        ):
            status, out, err = ana.give(*words, *as_of(machine, ana))
            assert status == 2, (words, out, err)
            assert secret not in out + err
            assert "Permission denied" in err, (words, err)
        bare = f"""
from client.access import door, people
words = ["patients", "relabel", {str(name)!r}, "--name", "chest"]
reply = door.answer(Path({str(machine.home)!r}), words, "patients relabel", people.open_key(Path("me.key")))
result = [reply.status, reply.output + reply.errors]
"""  # a program of one's own, which hands nothing in
        (status, said), *_ = ana.do(bare)
        assert (status, "names neither it" in said, secret in said) == (2, True, False), said
    for place in (f"path={identity}", f"cache={machine.home}", "download.url=http://127.0.0.1/x", "kind=npz"):
        words = ["import", "export", "--name", "third", "--data", place]
        status, out, err = ana.give(*words, *as_of(machine, ana))
        assert (status, "is not for the door" in err, secret in out + err) == (2, True, False), err
    for target in (machine.home / "site.yaml", machine.home / "policy", machine.home / "access" / "4"):
        status, _, err = machine.ben.give("audit", "export", target, *as_of(machine, machine.ben))
        assert status == 2, err
        assert "Permission denied" in err or "exists already" in err
        assert target.name == "site.yaml" or not target.exists()
    assert (machine.home / "site.yaml").read_bytes() == settings


def test_nobody_signs_with_another_s_key(machine: Machine) -> None:
    ana_key = machine.ana.home / "me.key"
    for who in (machine.ben, machine.outsider):
        status, _, err = who.give("custody", "rotate", "--home", str(machine.home), "--as", str(ana_key))
        assert (status, "Permission denied" in err) == (2, True), err
    status, _, err = machine.outsider.give("plans", "--home", str(machine.home), "--as", str(ana_key))
    assert status == 2


def test_who_is_in_no_group_does_not_come_to_the_door(machine: Machine) -> None:
    out = machine.outsider
    probe = f"""
from client.access.people import make
from client.access import door
result = door.ask(Path({str(machine.home)!r}), ["plans"], "plans", make(Path("own.key")))
"""
    result, *_ = out.do(probe)
    assert "PermissionError" in result or "not for user" in result
    names = f"""
result = []
for name in ("identity", "site.yaml", "custody/keys", "audit/log", "me.key"):
    try:
        (Path({str(machine.home)!r}) / name).read_bytes()
        result.append(name)
    except PermissionError:
        pass
"""
    for who in (out, machine.ana, machine.ben):
        assert who.do(names)[0] == []


def test_a_policy_is_changed_by_two_at_their_own_desks(machine: Machine) -> None:
    ana = machine.ana
    before = len(machine.site.entries())
    status, out, err = ana.give("access", "propose", "--purposes", "training,audit", *as_of(machine, ana))
    assert (status, "waits for a second data-officer" in out) == (0, True), err
    assert [entry.role for entry in machine.site.entries(before)] == ["ana as data-officer"] * 2
