"""The policy is what two data officers signed, and nothing else counts."""

import shutil
import time
from pathlib import Path

import pytest

from client.access import people
from client.access.people import PersonKey
from client.access.policy import SitePolicy
from client.access.policy_store import CLOCK_S, policy_store
from client.plans import judge
from client.plans.decide import decide
from common.errors import AccessError, ConfigError, ConsiliumError, PlanError
from common.trust.documents import SignedDocument
from common.trust.keys import sign
from tests.access.staff import Site
from tests.consortium.consortium import Consortium


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two data officers, `founder` and `bruno`, and an operator, `carla`."""
    made = Site(tmp_path)
    made.put(made.member("bruno", "data-officer"), made.member("carla", "operator"))
    return made


def written(site: Site, policy: SitePolicy) -> None:
    """Past all rules, as whoever can write the folder could."""
    (site.home.folder / "access" / str(policy.content.version)).write_bytes(policy.document.encode())


def refused(site: Site) -> str:
    """Why nothing goes on; through the command line as well."""
    with pytest.raises(AccessError) as caught:
        policy_store(site.home).in_force()
    assert site.type("plans") == 2
    return str(caught.value)


# --- one is not two -------------------------------------------------------------------------------------------------


def test_a_change_counts_when_two_data_officers_have_signed_it(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.type("access", "propose", "--purposes", "training,audit") == 0
    assert "waits for a second data-officer" in capsys.readouterr().out
    assert policy_store(site.home).in_force().content.purposes == ("training",)
    proposal = policy_store(site.home).proposal()
    assert proposal
    assert site.type("access", "show", by="carla") == 0
    assert "purposes: training  →  training, audit" in capsys.readouterr().out
    assert site.type("access", "sign", proposal.digest[:8]) == 2  # the same person
    assert "has signed it already" in capsys.readouterr().err
    assert site.type("access", "sign", proposal.digest[:8], by="carla") == 2  # no data officer
    assert site.type("access", "sign", "f" * 8, by="bruno") == 2  # not what was read
    assert policy_store(site.home).in_force().content.version == 2
    assert site.type("access", "sign", proposal.digest[:8], by="bruno") == 0
    assert policy_store(site.home).in_force().content.purposes == ("training", "audit")
    assert policy_store(site.home).proposal() is None


def test_taking_the_second_officer_out_needs_the_second_officer(site: Site) -> None:
    for change in (["--remove", "bruno"], ["--roles", "bruno", "operator"], ["--until", "bruno", "2026-01-01"]):
        assert site.type("access", "propose", *change) == (2 if "--until" in change else 0)
        assert len(policy_store(site.home).in_force().content.officers(time.time())) == 2


def test_a_version_signed_by_one_alone_is_refused_wherever_it_comes_from(site: Site) -> None:
    alone = site.sign(site.content(purposes=("anything",)), "founder")
    assert not policy_store(site.home).offer(alone)
    written(site, alone)
    assert "signed by one alone" in refused(site)


def test_the_same_signature_under_two_keys_spellings_is_one(site: Site) -> None:
    policy = site.sign(site.content(purposes=("x",)), "founder", "founder")
    assert len(policy.document.signatures) == 1
    assert not policy_store(site.home).offer(policy)


def test_one_key_under_two_names_is_no_policy(site: Site) -> None:
    twin = site.member("bruno", "data-officer").model_copy(update={"name": "twin"})
    with pytest.raises(ConfigError, match="stands twice"):
        site.sign(site.content(twin), "founder", "bruno")
    content = site.content(twin)
    paper = SignedDocument("policy", content.model_dump(mode="json"), {})
    signatures = {bytes.fromhex(key.public): sign(key.private, paper.digest) for key in keys(site, "founder", "bruno")}
    written(site, SitePolicy(content, SignedDocument("policy", paper.content, signatures)))
    assert "stands twice" in refused(site)


def keys(site: Site, *names: str) -> list[PersonKey]:
    return [site.key(name) for name in names]


@pytest.mark.parametrize("second", ["carla", "stranger", "mallory", "expired", "former"])
def test_the_second_signature_is_of_a_data_officer_of_the_version_before(site: Site, second: str) -> None:
    both = ("founder", "bruno")
    site.put(site.member("expired", "data-officer", until_s=10**9), site.member("former", "data-officer"), by=both)
    former = tuple(each for each in policy_store(site.home).in_force().content.people if each.name != "former")
    site.put(by=both, people=former)
    new = site.content(site.member("mallory", "data-officer"))  # who would let herself in
    with pytest.raises(AccessError, match="no data-officer's"):
        policy_store(site.home).offer(site.sign(new, "founder", second))


# --- what was signed is this version, here and now ------------------------------------------------------------------


def test_a_signature_on_another_version_is_no_signature_on_this_one(site: Site) -> None:
    harmless, harmful = site.content(purposes=("training", "audit")), site.content(purposes=("anything",))
    signatures = site.sign(harmless, "bruno").document.signatures
    mixed = site.sign(harmful, "founder")
    with pytest.raises(AccessError, match="not bruno's"):
        policy_store(site.home).offer(
            SitePolicy(
                harmful, SignedDocument("policy", mixed.document.content, {**mixed.document.signatures, **signatures})
            )
        )


def test_a_proposal_is_of_no_use_after_another_came_into_force(site: Site) -> None:
    old = site.sign(site.content(purposes=("old",)), "founder", "bruno")
    site.put(by=("founder", "bruno"), purposes=("new",))
    with pytest.raises(AccessError, match="does not follow"):
        policy_store(site.home).offer(old)
    (site.home.folder / "access" / "proposal").write_bytes(old.document.encode())
    assert site.type("access", "sign", old.digest[:8], by="bruno") == 2
    assert policy_store(site.home).in_force().content.purposes == ("new",)


def test_a_version_that_was_in_force_before_does_not_come_back(site: Site) -> None:
    first = policy_store(site.home).version(2)
    site.put(by=("founder", "bruno"), purposes=("audit",))
    with pytest.raises(AccessError, match="does not follow"):
        policy_store(site.home).offer(first)
    (site.home.folder / "access" / "3").unlink()
    assert "set back" in refused(site)


def test_a_whole_other_policy_is_not_the_one_that_the_log_knows(site: Site, tmp_path: Path) -> None:
    mine = Site(tmp_path / "mallory")  # a site of the same name
    for _ in range(3):
        mine.put(mine.member(f"m{_}", "operator"))
    shutil.rmtree(site.home.folder / "access")
    shutil.copytree(mine.home.folder / "access", site.home.folder / "access")
    assert "gone or another" in refused(site)


def test_another_site_s_policy_is_refused(site: Site, tmp_path: Path) -> None:
    (site.home.folder / "site.yaml").write_text("site: porto\n", encoding="utf-8")
    with pytest.raises(AccessError, match="policy of site lisbon"):
        policy_store(site.home).newest()


def test_without_policy_or_without_log_nobody_may_anything_and_none_begins_anew(site: Site) -> None:
    shutil.move(site.home.folder / "access", site.home.folder / "aside")
    assert "no policy" in refused(site)
    assert site.type("access", "begin") == 2
    shutil.move(site.home.folder / "aside", site.home.folder / "access")
    shutil.rmtree(site.home.folder / "audit")
    assert "the site's log knows of no policy" in refused(site)


def test_a_site_of_an_earlier_release_begins_its_policy_once(site: Site) -> None:
    for name in ("access", "audit"):
        shutil.rmtree(site.home.folder / name)
    assert site.type("plans") == 2
    shutil.rmtree(site.home.folder / "audit")  # the refusal began a log
    assert site.type("access", "begin") == 0
    assert site.type("plans") == 0
    assert site.type("access", "begin") == 2


def test_naming_a_time_in_the_future_makes_no_policy(site: Site) -> None:
    later = site.sign(site.content(purposes=("anything",), made_s=int(time.time()) + 10 * CLOCK_S), "founder", "bruno")
    written(site, later)
    assert "made in the future" in refused(site)


def test_a_date_of_the_writer_s_own_makes_nobody_alone(site: Site) -> None:
    """One officer alone dated a version to when the other was none yet, or none any more."""
    both, now = ("founder", "bruno"), int(time.time())
    for until in ({"until_s": now + 60}, {"since_s": now - 60, "until_s": now + 60}):
        limited = site.content(site.member("bruno", "data-officer", **until))
        with pytest.raises(ConfigError, match="two at least have no end"):
            policy_store(site.home).offer(site.sign(limited, *both))
    site.put(site.member("bruno", "data-officer", since_s=now - 5), site.member("dora", "data-officer"), by=both)
    for made_s in (now - 3600, now - 6, now, now + 300):
        alone = site.content(
            purposes=("anything",), made_s=max(made_s, policy_store(site.home).in_force().content.made_s)
        )
        assert not policy_store(site.home).offer(site.sign(alone, "founder"))
        with pytest.raises(AccessError, match="made before"):
            policy_store(site.home).offer(site.sign(alone.model_copy(update={"made_s": now - 3600}), "founder"))
    written(site, site.sign(alone, "founder"))
    assert "signed by one alone" in refused(site)


def test_who_signs_is_an_officer_when_it_is_accepted_not_when_it_was_dated(site: Site) -> None:
    both, now = ("founder", "bruno"), int(time.time())
    old = site.member("dora", "data-officer", until_s=now - 10)
    site.put(old, site.member("emil", "data-officer", since_s=now + 1000), by=both)
    for second in ("dora", "emil"):
        dated = site.content(purposes=("anything",), made_s=now)
        with pytest.raises(AccessError, match="no data-officer's"):
            policy_store(site.home).offer(site.sign(dated, "founder", second))
        written(site, site.sign(dated, "founder", second))
        assert "no data-officer's" in refused(site)
        (site.home.folder / "access" / "4").unlink()


def test_an_officer_whose_time_ends_stays_in_what_they_signed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    both, now = ("founder", "bruno"), time.time()
    site.put(site.member("dora", "data-officer", until_s=int(now) + 3600), by=both)
    site.put(by=("dora", "bruno"), purposes=("audit",))
    monkeypatch.setattr(time, "time", lambda: now + 4000)
    assert policy_store(site.home).in_force().content.purposes == ("audit",)
    waits = site.sign(site.content(purposes=("x",)), "dora", "bruno")
    with pytest.raises(AccessError, match="no data-officer's"):
        policy_store(site.home).offer(waits)


def test_a_version_that_was_made_before_the_one_before_it_is_refused(site: Site) -> None:
    with pytest.raises(AccessError, match="made before"):
        policy_store(site.home).offer(site.sign(site.content(made_s=5), "founder", "bruno"))


def test_nobody_locks_everybody_out(site: Site) -> None:
    for change in (
        ["--remove", "founder", "--remove", "bruno"],
        ["--roles", "founder", "operator", "--remove", "bruno"],
    ):
        assert site.type("access", "propose", *change) == 2
    assert policy_store(site.home).proposal() is None


def test_every_byte_of_every_version_counts(site: Site) -> None:
    site.put(by=("founder", "bruno"), purposes=("training", "audit"))
    tried = 0
    for version in (1, 3):
        path = site.home.folder / "access" / str(version)
        content = path.read_bytes()
        for at in range(len(content)):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
            tried += 1
            with pytest.raises(AccessError):
                policy_store(site.home).newest()
        for at in (0, 1, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:at])
            with pytest.raises(AccessError):
                policy_store(site.home).newest()
        path.write_bytes(content)
    assert policy_store(site.home).in_force().content.version == 3
    print(f"bytes flipped and refused {tried}")


# --- what comes of it -----------------------------------------------------------------------------------------------


def test_a_purpose_that_the_policy_has_not_is_approved_by_nobody(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    plan, home = consortium.plan(), consortium.sites["Lisbon"]
    decide(home, plan, "approve", "")
    assert judge.approved_plan(home, plan.digest)
    before = policy_store(home).in_force()
    private = people.open_key(home.folder / "me.key").private
    told = {"version": 2, "previous": before.digest, "purposes": ("audit",)}
    assert policy_store(home).offer(SitePolicy.write(before.content.model_copy(update=told), [private]))
    with pytest.raises(PlanError, match="not in the site's policy"):
        judge.approved_plan(home, plan.digest)
    assert "not in the site's policy" in judge.objection(home, plan)


@pytest.mark.parametrize(
    "change",
    [
        ["--add", "dora", "abc", "operator"],
        ["--add", "d/ra", "0" * 64, "operator"],
        ["--add", "dora", "0" * 64, "emperor"],
        ["--add", "carla", "0" * 64, "operator"],
        ["--roles", "nobody", "operator"],
        ["--until", "carla", "tomorrow"],
        ["--remove", "nobody"],
        ["--purposes", "training"],
        [],
    ],
)
def test_a_change_that_cannot_be_meant_is_one_message(
    site: Site, change: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.type("access", "propose", *change) == 2
    assert "[CONFIG:" in capsys.readouterr().err
    assert policy_store(site.home).proposal() is None


def test_no_file_whatever_is_a_policy_or_another_error(site: Site) -> None:
    for content in (
        b"",
        b"{}",
        b"[" * 100_000,
        b"\x80\x04",
        b"null",
        b'{"paper":"policy","content":{},"signatures":{}}',
    ):
        (site.home.folder / "access" / "2").write_bytes(content)
        with pytest.raises(AccessError):
            policy_store(site.home).newest()
        (site.home.folder / "access" / "proposal").write_bytes(content)
        with pytest.raises(ConsiliumError):
            policy_store(site.home).proposal()
