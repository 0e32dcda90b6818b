"""The account of a hospital's patients: written before an answer leaves, never smaller after it, and able to say no."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from client.__main__ import main
from client.privacy.ledger import ledger_of
from client.privacy.site_account import SiteAccount, worst
from client.setup import enrol
from common.errors import AuditError, LinkError, PolicyError
from common.privacy import Price, epsilon, mu_of
from tests.admitted import home_of
from tests.privacy.hospital_account import Hospital, price

LIMIT = mu_of(3.0, 1e-5) ** 2


@pytest.fixture
def lisbon(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path / "lisbon")


def fill(account: SiteAccount, share: float = 0.1) -> int:
    """Ask until the hospital says no; how often it answered."""
    answers = 0

    def ask() -> None:
        nonlocal answers
        while answers < 1000:
            account.spend(price(share * LIMIT))
            answers += 1

    with pytest.raises(PolicyError) as refusal:
        ask()
    assert refusal.value.cause == "over-budget"
    return answers


def test_an_answer_is_on_the_disk_in_the_log_and_with_the_coordinator_before_it_leaves(lisbon: Hospital) -> None:
    seen: list[tuple[int, int]] = []

    def tell(_: object) -> None:
        entries = [line for line in lisbon.home.log.lines() if b"privacy spent" in line]
        seen.append(((lisbon.home.folder / "privacy" / "ledger").read_bytes().count(b"\n"), len(entries)))

    account = lisbon.account(lisbon.people("abc"))
    SiteAccount(account.home, account.budget, account.patients, tell).spend(price(0.01))
    assert seen == [(1, 1)]
    (line,) = lisbon.lines()
    assert (line.question, line.squared_mu, line.account, line.count, line.new) == ("gradient/1", 0.01, 0.01, 3, 3)
    lisbon.home.log.verify()


def test_a_budget_is_spent_to_its_end_and_not_beyond(lisbon: Hospital) -> None:
    account = lisbon.account(lisbon.people("abc"))
    assert fill(account) == 10
    assert epsilon(sum(line.squared_mu for line in lisbon.lines()) ** 0.5, 1e-5) == pytest.approx(3.0)
    with pytest.raises(PolicyError, match=r"to ε 3\.1\d\d at δ 1e-05; the plan's budget is 3.*ε 0\.000 is left"):
        account.spend(price(0.1 * LIMIT))
    assert len(lisbon.lines()) == 10 == len(lisbon.heard)
    assert lisbon.heard[-1].total == pytest.approx(LIMIT)
    assert lisbon.heard[-1].rest["chest"].rest == 0


def test_the_hospitals_own_budget_is_over_all_plans(lisbon: Hospital) -> None:
    people = lisbon.people("abc")
    assert fill(lisbon.account(people, epsilon=1.0)) == 1
    assert fill(lisbon.account(people, "cd" * 32)) == 9
    assert lisbon.heard[0].rest["chest"].rest < lisbon.heard[0].rest["chest"].epsilon == 3
    with pytest.raises(PolicyError, match="the budget of this hospital"):
        lisbon.account(people, "ef" * 32).spend(price(0.1 * LIMIT))
    whole = [price(0.2 * LIMIT)] * 4
    with pytest.raises(PolicyError, match="all of plan plan-ef"):
        lisbon.account(people, "ef" * 32).refuse_whole(whole)
    lisbon.account(lisbon.people("xyz"), "ef" * 32).refuse_whole(whole)


def test_new_patients_begin_at_zero_and_do_not_set_the_old_ones_back(lisbon: Hospital) -> None:
    assert fill(lisbon.account(lisbon.people("abc"))) == 10
    assert fill(lisbon.account(lisbon.people("abcdef"), "cd" * 32)) == 0
    assert fill(lisbon.account(lisbon.people("def"), "cd" * 32)) == 10
    assert (lisbon.lines()[10].new, lisbon.lines()[10].account) == (3, pytest.approx(0.1 * LIMIT))


def test_a_patient_under_another_number_is_found_again_by_an_image(lisbon: Hospital) -> None:
    sets = ledger_of(lisbon.home).sets
    fill(lisbon.account(sets.of([("patient 1", "i"), ("patient 1", "j"), ("patient 2", "k")])))
    for renamed in ([("patient X", "i"), ("patient Y", "z")], [("patient Q", "k")]):
        assert fill(lisbon.account(sets.of(renamed), "cd" * 32)) == 0
    assert fill(lisbon.account(sets.of([("patient Y", "z")]), "cd" * 32)) == 10


def test_a_price_for_an_image_is_a_price_for_all_images_of_a_patient(lisbon: Hospital) -> None:
    two = lisbon.people("abc", each=2)
    with pytest.raises(PolicyError, match="the budget of this hospital"):
        lisbon.account(two, unit="image").spend(price(0.26 * LIMIT))
    lisbon.account(two, unit="image").spend(price(0.25 * LIMIT))
    assert lisbon.lines()[0].squared_mu == pytest.approx(LIMIT)


def test_without_a_budget_of_its_own_a_hospital_holds_each_plan_to_its_own(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path / "porto", epsilon=None)
    people = hospital.people("abc")
    assert [fill(hospital.account(people, digest * 32)) for digest in ("aa", "bb")] == [10, 10]


def test_an_answer_that_the_coordinator_cannot_be_told_of_does_not_leave_and_is_counted(lisbon: Hospital) -> None:
    def unreachable(_: object) -> None:
        raise LinkError("cannot be reached")

    account = lisbon.account(lisbon.people("abc"))
    with pytest.raises(LinkError):
        SiteAccount(account.home, account.budget, account.patients, unreachable).spend(price(0.1 * LIMIT))
    assert fill(account) == 9


def test_half_a_line_is_of_no_answer_unless_the_log_has_it(lisbon: Hospital) -> None:
    account, path = lisbon.account(lisbon.people("abc")), lisbon.home.folder / "privacy" / "ledger"
    for _ in range(3):
        account.spend(price(0.01))
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[-1][:-40])
    assert len(lisbon.lines()) == 3
    account.spend(price(0.01))
    assert [line.number for line in lisbon.lines()] == [0, 1, 2, 3]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AuditError, match=r"payment 3, which the site's log has, is gone.*was set back"):
        account.spend(price(0.01))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_account_that_was_set_back_pays_nothing(lisbon: Hospital, count: int) -> None:
    account, path = lisbon.account(lisbon.people("abc")), lisbon.home.folder / "privacy" / "ledger"
    for _ in range(3):
        account.spend(price(0.01))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:count]))
    for _ in range(2):
        with pytest.raises(AuditError, match="set back"):
            account.spend(price(0.01))
    path.unlink()
    with pytest.raises(AuditError, match="set back"):
        account.spend(price(0.01))


def test_a_byte_that_was_changed_is_noticed_wherever_it_is(lisbon: Hospital) -> None:
    account, path = lisbon.account(lisbon.people("abc")), lisbon.home.folder / "privacy" / "ledger"
    for _ in range(2):
        account.spend(price(0.01))
    whole = path.read_bytes()
    for at in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(AuditError):
            lisbon.lines()


def test_an_account_of_another_site_is_none(lisbon: Hospital, tmp_path: Path) -> None:
    lisbon.account(lisbon.people("abc")).spend(price(0.01))
    other = Hospital(tmp_path / "other")
    other.account(other.people("abc")).spend(price(0.01))
    shutil.copy(lisbon.home.folder / "privacy" / "ledger", other.home.folder / "privacy" / "ledger")
    with pytest.raises(AuditError, match="not what this site wrote"):
        other.lines()


def test_a_key_or_a_set_of_patients_that_is_gone_or_another_stops_all(lisbon: Hospital) -> None:
    people = lisbon.people("abc")
    lisbon.account(people).spend(price(0.01))
    (lisbon.home.folder / "privacy" / "key").rename(lisbon.home.folder / "kept")
    with pytest.raises(AuditError, match="key: is gone"):
        lisbon.people("abc")
    (lisbon.home.folder / "kept").rename(lisbon.home.folder / "privacy" / "key")
    path = lisbon.home.folder / "privacy" / "patients" / people.version
    path.write_bytes(path.read_bytes()[16:])
    copied = home_of(shutil.copytree(lisbon.home.folder, lisbon.home.folder.parent / "again"))
    with pytest.raises(AuditError, match="not the set of patients"):
        worst(ledger_of(copied), lisbon.lines(), people)


def test_two_processes_at_once_spend_one_budget(lisbon: Hospital) -> None:
    def answers(count: int) -> None:
        account = lisbon.account(lisbon.people("abc"))
        for _ in range(count):
            account.spend(price(0.1 * LIMIT))

    children = [_fork(lambda: answers(4)) for _ in range(4)]
    refused = sum(os.waitpid(child, 0)[1] != 0 for child in children)
    assert len(lisbon.lines()) == 10
    assert 2 <= refused <= 4
    lisbon.home.log.verify()


def _fork(action: Callable[[], object]) -> int:
    if child := os.fork():
        return child
    status = 1
    try:
        action()
        status = 0
    except PolicyError:
        pass
    finally:
        os._exit(status)


def test_new_keys_change_nothing_in_the_account(lisbon: Hospital) -> None:
    people = lisbon.people("abc")
    lisbon.account(people).spend(price(0.4 * LIMIT))
    enrol.rekey(lisbon.home, "")
    assert lisbon.people("abc").version == people.version
    assert fill(lisbon.account(people)) == 6


def test_the_command_shows_accounts_plans_and_what_is_left(
    lisbon: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(lisbon.home.folder)]
    assert main(["privacy", "show", *home]) == 0
    assert "Nothing was answered under a budget yet" in capsys.readouterr().out
    fill(lisbon.account(lisbon.people("abc"), epsilon=1.0))
    fill(lisbon.account(lisbon.people("abcd"), "cd" * 32))
    assert main(["privacy", "show", *home]) == 0
    text = capsys.readouterr().out
    assert "Budget of each patient: ε 3 at δ 1e-05" in text
    assert "plan-abab" in text
    assert main(["privacy", "show", "--json", *home]) == 0
    told = json.loads(capsys.readouterr().out)
    (account,) = told["accounts"]
    assert (account["dataset"], account["part"], account["patients"], account["new"]) == ("chest", "training", 4, 1)
    assert account["epsilon"] == pytest.approx(3.0)
    assert account["rest"] == 0
    assert [plan["answers"] for plan in told["plans"]] == [1, 9]
    assert told["plans"][0]["epsilon"] == pytest.approx(epsilon((0.1 * LIMIT) ** 0.5, 1e-5))
    assert told["closed"] == ""


def test_a_price_of_a_part_that_has_no_patients_costs_nobody(lisbon: Hospital) -> None:
    nobody = lisbon.people(())
    lisbon.account(nobody).spend(Price("gradient/1", 0.5, 1.0, 0.25))
    assert lisbon.lines()[0].count == 0
