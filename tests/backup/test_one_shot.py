"""What secure aggregation does once, a restored site never does again: no round, no plan from before, no old key."""

import shutil
from functools import lru_cache

import pytest

from client.backup import create, restore, unlock
from client.custody.key_ring import Custody
from client.plans import judge, question_ledger
from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from client.setup import enrol
from client.training import hospital_site
from client.training.site_storage import SealedStateFile
from common.errors import ConsiliumError, IdentityError, PlanError, PolicyError
from common.trust.joining import JoinRequest, Welcome
from server.consortium import membership
from server.runs import driver
from tests.admitted import home_of
from tests.backup.places import content
from tests.consortium.consortium import Consortium
from tests.runs.test_runs import Hospitals


@pytest.fixture(autouse=True)
def every_hospital_keeps_its_images(monkeypatch):
    """Here all of them share a process."""
    monkeypatch.setattr(hospital_site, "read_once", lru_cache(maxsize=None)(hospital_site.read_once.__wrapped__))


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Three hospitals have finished a run, and Lisbon was backed up."""
    tmp_path = tmp_path_factory.mktemp("lived")
    consortium = Consortium(tmp_path / "life")
    lisbon = consortium.sites["Lisbon"]
    (custody := Custody(lisbon)).begin(tmp_path / "recovery.key")
    run = consortium.begun(consortium.plan("federation.rounds=3"))
    hospitals = Recorded(consortium, run.plan)
    driver.carry_out(run, hospitals)
    assert run.state.stage == "finished", run.state.why
    (lisbon.folder / "journal").mkdir()
    (lisbon.folder / "journal" / "x.reply").write_bytes(b"a reply on its way")
    (tmp_path / "disk").mkdir()
    create.run(custody, unlock.open_or_begin(custody, tmp_path / "disk", False))
    return consortium, run, hospitals.heard


@pytest.fixture
def lost(lived, tmp_path):
    """The same in a place of its own, where Lisbon is going to be lost."""
    consortium, run, heard = lived
    shutil.copytree(consortium.folder.parent, tmp_path, dirs_exist_ok=True)
    return consortium.at(tmp_path / "life"), run, heard


class Recorded(Hospitals):
    """Hospitals, with everything that Lisbon was asked."""

    def __init__(self, consortium, plan):
        self.heard = []
        super().__init__(consortium, plan)

    def answer(self, name):
        inner = super().answer(name)

        def answer(request, state):
            if name == "Lisbon":
                self.heard.append(request)
            return inner(request, state)

        return answer


def back(consortium, number=None):
    """Lisbon, restored where it was, and what it was before."""
    lisbon = consortium.sites["Lisbon"]
    lisbon.folder.rename(lisbon.folder.with_name("burnt"))
    vault = unlock.open_by_recovery_key(
        consortium.folder.parent / "disk" / "Lisbon", consortium.folder.parent / "recovery.key"
    )
    assert restore.run(vault, lisbon, number).problems == []
    return lisbon, home_of(lisbon.folder.with_name("burnt"))


def welcome(consortium, site):
    """The coordinator takes the new keys, the site joins, and the others accept its key."""
    request = JoinRequest.read((site.folder / "Lisbon.request").read_bytes())
    membership.admit(consortium.home, request, consortium.roots, new_keys=True)
    enrol.join(site, Welcome.read(consortium.home.welcome("Lisbon").read_bytes()))
    for other in consortium.sites.values():  # its old key is lost: people there telephone it
        other.accept_key("Lisbon", request.identity)
    consortium.roster()


def test_the_state_of_rounds_and_its_keys_are_in_no_backup(lost):
    consortium, run, _ = lost
    before = content(consortium.sites["Lisbon"].folder)
    room = f"plans/{run.plan.digest}"
    ours = ("identity", "node", f"{room}/state")
    secret = {name for name in before if name in ours or name.startswith("journal/")}
    assert secret == {*ours, "journal/x.reply"}
    assert before[ledger := "ledger"]
    site, _ = back(consortium)
    after = content(site.folder)
    assert not any(before[name] in after.values() for name in secret)
    assert after[ledger] == before[ledger]
    assert "ledger.lock" not in after
    assert {name for name in after if name.startswith("plans/")} == {
        f"plans/{run.plan.digest}/{name}" for name in ("plan.json", "decision.json")
    }


def test_a_restored_site_refuses_every_message_that_it_may_have_answered_whoever_insists(lost):
    consortium, run, heard = lost
    kinds = {request.kind for request in heard}
    assert {f"secagg/{step}" for step in ("join", "share", "take", "submit", "agree", "release")} <= kinds
    site, burnt = back(consortium)
    room = lambda home: PlanInbox(home).room(run.plan.digest)  # noqa: E731
    assert "before this site was restored" in judge.objection(site, run.plan)
    answer, tried = Hospitals(consortium, run.plan).answer("Lisbon"), 0
    for insist in (
        lambda: None,
        lambda: welcome(consortium, site),
        lambda: decide(site, run.plan, "approve", "whoever insists"),
        lambda: (room(site) / "state").write_bytes((room(burnt) / "state").read_bytes()),
        lambda: [(site.folder / name).write_bytes((burnt.folder / name).read_bytes()) for name in ("identity", "node")],
    ):
        insist()
        for request in heard:
            with pytest.raises(PlanError, match=r"not approved here|before this site was restored from a backup"):
                answer(request, {})
            tried += 1
    assert tried == 5 * len(heard) >= 90


def test_a_state_that_is_brought_from_elsewhere_does_not_open_under_the_new_keys(lost):
    consortium, run, _ = lost
    site, burnt = back(consortium)
    path = PlanInbox(site).room(run.plan.digest) / "state"
    path.write_bytes((PlanInbox(burnt).room(run.plan.digest) / "state").read_bytes())
    assert SealedStateFile(path, burnt.enrolment.sealing_key).load()
    with pytest.raises(IdentityError):
        SealedStateFile(path, site.enrolment.sealing_key).load()


def test_what_was_answered_is_never_set_back_whichever_snapshot_is_restored(lost):
    consortium, run, _ = lost
    lisbon, custody = consortium.sites["Lisbon"], Custody(consortium.sites["Lisbon"])
    question_ledger.in_folder(lisbon.folder).record([b"k" * 32], b"o" * 32, run.plan.digest)
    newest = (lisbon.folder / "ledger").read_bytes()
    create.run(custody, unlock.open_or_begin(custody, consortium.folder.parent / "disk", False))
    site, _ = back(consortium, 1)
    assert (site.folder / "ledger").read_bytes() == newest
    with pytest.raises(PolicyError, match="the same was asked in plan"):
        question_ledger.in_folder(site.folder).refuse_other([b"k" * 32], b"p" * 32, "Lisbon")


def test_a_plan_that_comes_after_the_backup_but_was_made_before_it_was_restored_is_over_too(lost):
    consortium, _, _ = lost
    lisbon = consortium.sites["Lisbon"]
    plan = consortium.plan("name=unknown-to-the-backup")
    decide(lisbon, plan, "approve", "")
    site, _ = back(consortium)
    assert not PlanInbox(site).knows(plan.name)
    welcome(consortium, site)
    assert PlanInbox(site).take_plan(plan.document.encode())
    decide(site, plan, "approve", "")
    with pytest.raises(PlanError, match="before this site was restored"):
        judge.approved_plan(site, plan.digest)


def test_after_it_has_joined_again_a_restored_site_takes_part_in_new_plans(lost, monkeypatch):
    consortium, _, _ = lost
    site, _ = back(consortium)
    welcome(consortium, site)
    monkeypatch.setattr(judge, "CLOCKS_S", 0.0)
    run = consortium.begun(consortium.plan("name=after", "federation.rounds=3"))
    driver.carry_out(run, Hospitals(consortium, run.plan))
    assert run.state.stage == "finished", run.state.why


def test_a_damaged_note_of_the_restoration_lets_nothing_through(lost):
    consortium, run, _ = lost
    site, _ = back(consortium)
    for text in ("", "soon"):
        (site.folder / "restored").write_text(text, encoding="utf-8")
        with pytest.raises(ConsiliumError, match="restored: damaged"):
            judge.objection(site, run.plan)
    (site.folder / "restored").write_text("nan")
    assert "before this site was restored" in judge.objection(site, run.plan)
