"""Who may do what, at the door: every row of the table, asked for by everybody; a worker carries out no other row."""

import argparse
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from client import worker
from client.access import door, doorkeeper, refusal_notes
from client.access.named_files import NOT_HERE
from client.access.permissions import ROLES, RULES
from client.home import SiteFolder
from common.audit.entries import plain
from common.errors import AccessError
from tests.access.doors import open_door, parsed
from tests.access.staff import Site
from tests.access.test_table import HOMELESS, STRANGERS, TYPED

REASONS = {"unknown": "unknown key", "revoked": "unknown key", "expired": "not their time"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    made = Site(tmp_path)
    (made.home.folder / "sets" / "chest").mkdir(parents=True)
    made.of_each_role()
    made.key("unknown")
    for name, data in (("open", "{kind: synthetic}"), ("sealed", "{kind: encrypted, path: site/sets/chest}")):
        (tmp_path / f"{name}.yaml").write_text(f"name: t\ndata: {data}\nmodel: {{kind: svm}}\n", encoding="utf-8")
    return made


def test_every_role_is_let_in_at_the_door_as_the_table_says_and_nobody_else(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants: list[dict[str, Any]] = []

    @contextmanager
    def noted(folder: Path, grant: dict[str, Any], *more: object) -> Iterator[subprocess.Popen[bytes]]:
        grants.append(grant)
        with subprocess.Popen(["/bin/true"]) as process:
            yield process

    monkeypatch.setattr(doorkeeper, "started_worker", noted)
    monkeypatch.setattr(refusal_notes, "MOST", 1000)  # each is looked for
    counts = dict.fromkeys(("let in", "refused"), 0)
    with open_door(site):
        for row, rule in RULES.items():
            for name in (*ROLES, *(each for each in STRANGERS if each != "keyless")):
                before, many = sum(1 for _ in site.home.log.lines()), len(grants)
                if rule.roles is not None and name in rule.roles:
                    assert door.ask(site.home.folder, row.split(), row, site.key(name)) == 0
                    assert [(grant["role"], grant["person"]["name"]) for grant in grants[many:]] == [(name, name)]
                    counts["let in"] += 1
                    continue
                with pytest.raises(AccessError):
                    door.ask(site.home.folder, row.split(), row, site.key(name))
                (entry,) = site.entries(before)
                assert (entry.what, entry.outcome, entry.facts["error"]) == (plain(row), "failed", "ACCESS")
                reason = "no row" if rule.roles is None else REASONS.get(name, "not their role")
                assert (entry.facts["refused"], entry.facts["system user"]) == (reason, os.geteuid())
                assert len(grants) == many
                counts["refused"] += 1
    print(f"at the door let in {counts['let in']}, refused {counts['refused']}")
    assert sum(counts.values()) == len(RULES) * 7


def options_of(row: str) -> argparse.Namespace:
    words = TYPED[row].split()
    home = [] if row.split(",")[0] in HOMELESS or "--home" in words else ["--home", "site"]
    options = parsed([*words, *home])
    options.out = getattr(options, "out", None) or "there"
    return options


def test_a_worker_carries_out_the_row_that_was_let_in_and_no_other(site: Site) -> None:
    folder = SiteFolder(site.home.folder)
    for row, rule in RULES.items():
        if rule.roles is None or row not in TYPED or row.split(" --")[0] in NOT_HERE:
            continue
        if row.endswith(", encrypted"):
            continue  # their data set is looked at as well: tests/access/test_accounts.py
        worker._refuse_what_is_not_for_here(options_of(row), folder, row)
        for other in RULES:
            if other != row:
                with pytest.raises(AccessError, match="another row"):
                    worker._refuse_what_is_not_for_here(options_of(row), folder, other)
