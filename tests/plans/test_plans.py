"""Plans: what they hold, who must have signed them, for which code they are; and what a site decides."""

import time
from pathlib import Path
from typing import Any

import pytest

from client.plans.decide import decide
from client.plans.inbox import PlanInbox
from common.errors import ConfigError, IdentityError, PlanError, WireError
from common.plans import plan_page
from common.plans.decision import Decision
from common.plans.plan import RunPlan
from common.trust.documents import sign_document
from common.trust.release import VERSION, code_digest
from server.consortium import membership
from server.gateway.site_api import FolderSiteApi
from server.runs.site_reports import SiteReports
from tests.consortium.consortium import NAMES, SVM, Consortium, config_of


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


def test_a_plan_says_all_that_decides_what_will_happen(consortium: Consortium) -> None:
    plan = consortium.plan()
    told = plan.content
    assert (told.consortium, told.dataset, told.purpose, told.cohort) == ("pilot", "chest", "training", NAMES)
    assert (told.release, told.code) == (VERSION, code_digest())
    assert told.training.federation.rounds == 4
    assert told.expires_s - told.made_s == 30 * 86_400
    assert plan.name == f"small-svm-{plan.digest[:8]}"
    for text in (plan.digest, *NAMES, "training", "clear, disease", "16×16×1", VERSION, "normalise", "UTC"):
        assert text in plan_page.page(plan)


def test_a_plan_comes_back_as_it_was_signed(consortium: Consortium) -> None:
    plan = consortium.plan()
    again = RunPlan.load_verified(plan.document.encode(), consortium.home.pins)
    assert again == plan
    again.refuse_unfit(time.time())


def test_nothing_of_the_coordinators_own_data_is_in_a_plan(consortium: Consortium) -> None:
    content = consortium.plan().document.content
    assert not {"data", "sites"} & {*content, *content["training"]}


def test_the_same_plan_drawn_up_twice_is_two_plans(consortium: Consortium) -> None:
    assert consortium.plan().digest != consortium.plan().digest


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["plan=null"], "no section `plan`"),
        (["federation.secure=false"], "it can be switched off in a simulation alone"),
        (["plan.cohort=[Lisbon, Osaka, Atlantis]"], "Atlantis: not an active member"),
        (["plan.cohort=[Lisbon, Osaka]"], "2 sites, expected 3 at least"),
        (["plan.cohort=[Lisbon, Lisbon, Osaka]"], "2 sites, expected 3 at least"),
        (["plan.purpose=sale"], "'sale', the consortium allows training"),
        (["plan.expires_days=1e300"], "plan.expires_days"),
        (["plan.expires_days=0"], "plan.expires_days"),
    ],
)
def test_a_plan_that_the_consortium_does_not_allow_is_not_drawn_up(
    overrides: list[str], message: str, consortium: Consortium
) -> None:
    with pytest.raises(ConfigError, match=message):
        consortium.plan(*overrides)


def test_a_suspended_member_is_not_asked(consortium: Consortium, tmp_path: Path) -> None:
    consortium.hospital("Quito")
    membership.revoke(consortium.home, "Lisbon", consortium.roots)
    assert consortium.plan().content.cohort == ("Nairobi", "Osaka", "Quito")
    with pytest.raises(ConfigError, match="Lisbon: not an active member"):
        consortium.plan("plan.cohort=[Lisbon, Osaka, Quito]")


def test_a_plan_signed_by_another_root_is_refused(consortium: Consortium, tmp_path: Path) -> None:
    stranger = Consortium(tmp_path / "stranger", stranger=True)
    with pytest.raises(IdentityError):
        RunPlan.load_verified(stranger.plan().document.encode(), consortium.home.pins)
    with pytest.raises(IdentityError):
        PlanInbox(consortium.sites["Lisbon"]).take_plan(stranger.plan().document.encode())
    assert list(PlanInbox(consortium.sites["Lisbon"]).plans()) == []


def changed(consortium: Consortium, told: dict[str, Any]) -> bytes:
    content = consortium.plan().document.content
    return sign_document("plan", content | told, consortium.roots).encode()


def test_another_consortiums_plan_is_refused_under_the_same_root(consortium: Consortium) -> None:
    with pytest.raises(PlanError, match="a plan of 'other', and this is 'pilot'"):
        RunPlan.load_verified(changed(consortium, {"consortium": "other"}), consortium.home.pins)


@pytest.mark.parametrize(
    "told",
    [
        {"unheard-of": 1}, {"shape": [16, 16]}, {"shape": [0, 16, 1]}, {"cohort": ["Lisbon", "Osaka"]}, {"code": "abc"},
        {"made_s": "nan"}, {"expires_s": 1e300}, {"expires_s": -1}, {"training": {}}, {"training": {"name": "../x"}},
    ],
)  # fmt: skip
def test_a_signed_plan_of_another_form_is_refused(told: dict[str, Any], consortium: Consortium) -> None:
    with pytest.raises(WireError, match="a plan of another release"):
        RunPlan.load_verified(changed(consortium, told), consortium.home.pins)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"code": "0" * 64}, f"installed is {VERSION}.*Install a release that works with"),
        ({"recipe": "0" * 64}, "names another preprocessing than it describes"),
        ({"expires_s": time.time() - 7200}, r"expired 2\.\d h ago.*check this machine's clock"),
    ],
)
def test_a_plan_that_cannot_run_here_says_why(told: dict[str, Any], message: str, consortium: Consortium) -> None:
    with pytest.raises(PlanError, match=message):
        RunPlan.load_verified(changed(consortium, told), consortium.home.pins).refuse_unfit(time.time())


# --- decisions ------------------------------------------------------------------------------------------------------


def test_a_decision_reaches_the_coordinator_and_the_last_one_counts(consortium: Consortium) -> None:
    plan, lisbon = consortium.plan(), consortium.sites["Lisbon"]
    run = consortium.begun(plan)
    assert {site: d.verdict for site, d in run.decisions().items()} == dict.fromkeys(NAMES, "approve")
    decide(lisbon, plan, "refuse", "no ethics vote")
    consortium.bring("Lisbon", plan)
    assert (run.decisions()["Lisbon"].verdict, run.decisions()["Lisbon"].reason) == ("refuse", "no ethics vote")


def test_a_decision_counts_under_its_own_sites_key_alone(consortium: Consortium) -> None:
    plan, site_api = consortium.plan(), FolderSiteApi(consortium.home)
    run = consortium.begun(plan)
    own = decide(osaka := consortium.sites["Osaka"], plan, "refuse", "")
    with pytest.raises(IdentityError):
        site_api.take_decision("Lisbon", own.document.to_json())
    forged = Decision.make("Lisbon", plan, "refuse", "", osaka.identity, own.commitment)
    with pytest.raises(IdentityError, match="a decision of Lisbon, brought by Osaka"):
        site_api.take_decision("Osaka", forged.document.to_json())
    (run.folder / "decisions" / "Lisbon.json").write_bytes(forged.document.encode())
    assert set(run.decisions()) == {"Nairobi", "Osaka"}
    assert run.decisions()["Osaka"].verdict == "approve"


def test_a_decision_on_another_plan_or_one_that_is_over_is_refused(consortium: Consortium) -> None:
    plan, site_api, lisbon = consortium.plan(), FolderSiteApi(consortium.home), consortium.sites["Lisbon"]
    told = decide(lisbon, plan, "approve", "").document.to_json()
    with pytest.raises(PlanError, match="there is: none yet"):
        site_api.take_decision("Lisbon", told)
    consortium.begun(plan).end("finished")
    with pytest.raises(PlanError, match="is over"):
        site_api.take_decision("Lisbon", told)


def test_a_decision_must_name_the_whole_digest_of_its_plan(consortium: Consortium) -> None:
    plan, lisbon = consortium.plan(), consortium.sites["Lisbon"]
    run = consortium.begun(plan)
    short = run.decisions()["Lisbon"].document.content | {"verdict": "refuse"}
    for digest in (plan.digest[:8], "", plan.name):
        told = sign_document("decision", short | {"plan": digest}, [lisbon.identity]).to_json()
        with pytest.raises(PlanError):
            FolderSiteApi(consortium.home).take_decision("Lisbon", told)
    assert run.decisions()["Lisbon"].verdict == "approve"


@pytest.mark.parametrize("told", [{}, {"paper": "decision"}, {"content": 1, "signatures": {}}, {"a": [[]] * 3}])
def test_what_is_no_decision_is_refused(told: dict[str, Any], consortium: Consortium) -> None:
    with pytest.raises(WireError):
        FolderSiteApi(consortium.home).take_decision("Lisbon", told)


def test_a_board_shows_a_site_its_own_plans_while_they_are_open(consortium: Consortium) -> None:
    consortium.hospital("Quito")
    one = consortium.plan("plan.cohort=[Lisbon, Nairobi, Osaka]")
    run, site_api = consortium.begun(one), FolderSiteApi(consortium.home)
    assert site_api.roster_and_plans("Quito")["plans"] == []
    assert [
        RunPlan.load_verified(p.encode(), consortium.home.pins) for p in site_api.roster_and_plans("Lisbon")["plans"]
    ] == [one]
    run.end("stopped")
    assert site_api.roster_and_plans("Lisbon")["plans"] == []


def test_what_a_site_says_of_itself_is_short_and_of_known_words(consortium: Consortium) -> None:
    site_api, reports = FolderSiteApi(consortium.home), SiteReports(consortium.home)
    assert reports.newest("Lisbon") == {}
    site_api.take_activity(
        "Lisbon", {"what": "working", "detail": "x" * 10_000, "error": 3, "ready": [], "more": "ignored"}
    )
    heard = reports.newest("Lisbon")
    assert (heard["what"], len(heard["detail"]), heard["error"]) == ("working", 200, "3")
    assert "more" not in heard
    with pytest.raises(WireError, match="expected one of"):
        site_api.take_activity("Lisbon", {"what": "rm -rf"})
    (consortium.home.live / "doing" / "Lisbon.json").write_bytes(b"\0\0")  # after a power cut
    assert reports.newest("Lisbon") == {}


def test_a_plan_reads_the_same_at_every_site(consortium: Consortium) -> None:
    config = config_of(consortium.folder, SVM, "federation.rounds=5")
    plan = RunPlan.from_config(config, consortium.home.roster, consortium.roots)
    taken = [PlanInbox(site).take_plan(plan.document.encode()) for site in consortium.sites.values()]
    assert taken == [plan] * 3
