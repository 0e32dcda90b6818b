"""Who may do what: every command, given by everybody, through the real command line."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from client import __main__ as hospital
from client.access import command_guard
from client.access.permissions import ROLES, RULES, role_names, rule_name
from client.plans import commands as plan_commands
from common.audit.entries import plain
from common.cli.command import Command, dispatch
from tests.access.staff import Site

PAGE = Path(__file__).parents[2] / "docs" / "access.md"
STRANGERS = ("keyless", "unknown", "revoked", "expired")
TYPED = {
    "init": "init lisbon",
    "fingerprint": "fingerprint",
    "join": "join gone.welcome",
    "rekey": "rekey",
    "move": "move gone",
    "accept-key": "accept-key gone",
    "page": "page --port 99999",
    "page --hosted": "page --hosted gone.yaml",
    "health": "health",
    "metrics": "metrics --print",
    "install-service": "install-service --print",
    "plans": "plans",
    "approve": "approve gone",
    "refuse": "refuse gone",
    "run": "run",
    "witness": "witness",
    "witness --accept": "witness --accept 00000000",
    "privacy show": "privacy show",
    "check": "check",
    "check CONFIG": "check open.yaml",
    "check CONFIG, encrypted": "check sealed.yaml",
    "encoders": "encoders",
    "encoders add": "encoders add gone.encoder",
    "encoders show": "encoders show gone",
    "packages": "packages",
    "packages add": "packages add gone.consilium",
    "preview": "preview gone.dcm --config open.yaml",
    "preview, encrypted": "preview chest/1 --config sealed.yaml",
    "compare": "compare gone.consilium",
    "predict": "predict gone.consilium gone.dcm",
    "predict --to-pacs": "predict gone.consilium gone.dcm --to-pacs radiology",
    "predict, no site": "predict gone.consilium gone.dcm --home nowhere",
    "import": "import gone --name chest",
    "import --retain": "import gone --name chest --retain dates",
    "import --allow-burned-in": "import gone --name chest --retain dates --allow-burned-in",
    "patients find": "patients find --file gone.txt",
    "patients remove": "patients remove --file gone.txt",
    "patients readmit": "patients readmit --file gone.txt",
    "patients relabel": "patients relabel gone.csv --name gone",
    "catalogue": "catalogue",
    "catalogue show": "catalogue show gone",
    "catalogue take": "catalogue take gone",
    "catalogue offer": "catalogue offer gone",
    "catalogue withdraw": "catalogue withdraw gone",
    "catalogue read": "catalogue read gone.json",
    "pacs add": "pacs add radiology --ae ARCHIVE",
    "pacs list": "pacs list",
    "pacs test": "pacs test gone",
    "pacs find": "pacs find gone",
    "custody begin": "custody begin site/recovery",
    "custody list": "custody list",
    "custody verify": "custody verify gone",
    "custody rotate": "custody rotate",
    "custody rotate --recovery": "custody rotate --recovery new.recovery",
    "custody recover": "custody recover gone gone.recovery",
    "custody adopt": "custody adopt gone",
    "custody destroy": "custody destroy gone --really other",
    "backup": "backup disk",
    "backup list": "backup list disk",
    "backup verify": "backup verify disk",
    "backup drill": "backup drill disk",
    "backup prune": "backup prune disk",
    "restore": "restore disk --from site",
    "restore --recovery": "restore disk --recovery gone.recovery --home new",
    "access person": "access person somebody",
    "access begin": "access begin",
    "access show": "access show",
    "access propose": "access propose",
    "access sign": "access sign 00000000",
    "audit show": "audit show",
    "audit verify": "audit verify",
    "audit verify FILE": "audit verify gone.audit",
    "audit export": "audit export site/site.yaml",
}
"""What is typed for each row. What is let in then ends in an error of its own, for nothing that is named is there."""
HOMELESS = ("preview", "encoders", "encoders add", "encoders show", "access person")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan_commands, "PATIENCE_S", 0.0)
    data = {
        "open": "{kind: synthetic, sites: 1, cases: 4, size: 8}",
        "sealed": "{kind: encrypted, path: site/sets/chest}",
    }
    for name, told in data.items():
        (tmp_path / f"{name}.yaml").write_text(
            f"name: t\ndata: {told}\nsites: {{split: iid, count: 1}}\nmodel: {{kind: svm}}\n",
            encoding="utf-8",
        )
    made = Site(tmp_path)
    (made.home.folder / "sets" / "chest").mkdir(parents=True)
    made.of_each_role()
    made.key("unknown")
    return made


def parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    hospital.COMMANDS[words[0]].arguments(parser)
    options = parser.parse_args(words[1:])
    options.command = words[0]
    return options


def leaves() -> Iterator[str]:
    """Every command, and every action of those that have several."""
    for name, command in hospital.COMMANDS.items():
        parser = argparse.ArgumentParser(prog=name)
        command.arguments(parser)
        yield from (leaf.prog for leaf in command_guard._leaves(parser))


def words_of(row: str, by: Path) -> list[str]:
    words = TYPED[row].split()
    home = [] if row.split(",")[0] in HOMELESS or "--home" in words else ["--home", "site"]
    return [*words, *home, "--as", str(by)]


def test_every_command_has_a_row_and_every_row_is_typed_here(site: Site) -> None:
    assert set(leaves()) <= set(RULES), (
        "a command without a row is refused: give it one in client/access/permissions.py"
    )
    assert set(TYPED) == set(RULES) - {"simulate, encrypted"}  # no command of the client
    for row in TYPED:
        assert rule_name(parsed(words_of(row, Path("me.key")))) == row


def test_every_role_may_do_what_the_table_says_and_nobody_else_anything(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = dict.fromkeys(("let in", "refused"), 0)
    for row in TYPED:
        rule = RULES[row]
        for name in (*ROLES, *STRANGERS):
            before, _ = sum(1 for _ in site.home.log.lines()), capsys.readouterr()
            status = hospital.main(words_of(row, site.file(name)))
            said, entries = capsys.readouterr().err, site.entries(before)
            assert "Traceback" not in said
            if rule.roles is None or name in rule.roles:
                tried["let in"] += 1
                assert "[ACCESS:" not in said, (row, name, said)
                told = {entry.role for entry in entries}
                assert told == ({f"{name} as {name}"} if rule.roles and rule.recorded else {""} if entries else set())
                assert not entries or (rule.recorded and entries[0].what == plain(row))
            else:
                tried["refused"] += 1
                assert (status, "[ACCESS:" in said) == (2, True), (row, name, said)
                assert role_names(rule) in said
                (entry,) = entries
                assert (entry.what, entry.outcome, entry.role) == (plain(row), "failed", "")
                assert entry.facts["error"] == "ACCESS"
                reason = {"keyless": "no key", "unknown": "unknown key", "revoked": "unknown key",
                          "expired": "not their time"}.get(name, "not their role")  # fmt: skip
                assert entry.facts["refused"] == reason
    print(f"commands let in {tried['let in']}, refused {tried['refused']}")
    assert sum(tried.values()) == len(TYPED) * 8
    assert hospital.main(["audit", "verify", "--home", "site", "--as", str(site.file("auditor"))]) == 0


def test_a_command_without_a_row_is_refused_to_everybody(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--home", type=Path)

    dance = Command("", arguments, lambda options: 0)
    commands = {"dance": command_guard.guard("dance", dance)}
    for name in ("founder", *ROLES):
        arguments_ = ["dance", "--home", "site", "--as", str(site.file(name))]
        assert dispatch("", "", commands, arguments_) == 2
        assert "dance: no role may do this here" in capsys.readouterr().err
        assert site.entries()[-1].facts["refused"] == "no row"
    homeless = replace(dance, arguments=lambda parser: None)
    assert dispatch("", "", {"dance": command_guard.guard("dance", homeless)}, ["dance"]) == 2


def test_every_help_ends_with_who_may(capsys: pytest.CaptureFixture[str]) -> None:
    for name in hospital.COMMANDS:
        with pytest.raises(SystemExit):
            hospital.main([name, "--help"])
        said = capsys.readouterr().out
        rows = [row for row in RULES if re.match(rf"{name}\b", row)]
        assert "Who may:" in said
        assert all(role_names(RULES[row]) in said for row in rows)


def test_the_key_is_the_one_named_else_the_environment_s_else_the_site_s_own(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hospital.main(["audit", "show", "--home", "site"]) == 0
    assert site.entries()[-1].role == "founder as data-officer"
    monkeypatch.setenv("CONSILIUM_PERSON", str(site.file("auditor")))
    assert hospital.main(["audit", "show", "--home", "site"]) == 0
    assert site.entries()[-1].role == "auditor as auditor"
    assert hospital.main(["audit", "show", "--home", "site", "--as", str(site.file("researcher"))]) == 2


def test_the_page_has_the_table() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    marks = {row: ["yes" if rule.roles is None or role in rule.roles else "" for role in ROLES]
             for row, rule in RULES.items()}  # fmt: skip
    found = {row: [mark.strip() for mark in told.split("|")] for row, told in rows}
    assert {row: told for row, told in found.items() if len(told) == len(ROLES)} == marks
