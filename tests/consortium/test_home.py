"""The folders of a hospital and of the coordinator: what is in them, and what is said of what is wrong in them."""

from pathlib import Path

import pytest
import yaml

from client.home import Home as Hospital
from client.setup import enrol
from common.errors import ConfigError, ConsiliumError, IdentityError, PlanError, RunError
from common.storage.files import glance, read_json, write_json, write_secret
from server.consortium.home import ConsortiumSettings, Home
from tests.consortium.consortium import Consortium


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


@pytest.fixture
def lisbon(consortium: Consortium) -> Hospital:
    return consortium.sites["Lisbon"]


# --- a hospital's ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("site: [", "not valid YAML"),
        ("", "expected a section"),
        ("- a", "expected a section"),
        ("datasets: {}", "site: missing"),
        ("site: no", "put it in quotes"),
        ("site: lisbon\npolcy: {}", "polcy: unknown key"),
        ("site: lisbon\npolicy: {plans: sometimes}", "policy.plans: Input should be 'ask', 'refuse' or 'approve'"),
        ("site: lisbon\ndatasets: {chest: {data: {kind: ftp}}}", "datasets.chest.data"),
        ("site: !!python/object/apply:os.system [id]", "not valid YAML"),
    ],
)
def test_settings_that_cannot_be_used_are_named_with_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        _ = Hospital(tmp_path).settings
    assert str(tmp_path / "site.yaml") in str(caught.value)


def test_settings_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_bytes(b"site: \xff\xfe")
    with pytest.raises(ConfigError, match="not valid YAML"):
        _ = Hospital(tmp_path).settings


def test_what_is_missing_says_by_which_command_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="python -m client init NAME"):
        _ = Hospital(tmp_path).site
    enrol.begin(site := Hospital(tmp_path), "lisbon", "")
    assert not site.joined
    with pytest.raises(ConfigError, match=r"Send the coordinator lisbon\.request"):
        _ = site.address


@pytest.mark.parametrize("name", ["identity", "node"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"00" * 31, b"not a key"])
def test_a_damaged_key_is_named_without_its_content(name: str, content: bytes | None, lisbon: Hospital) -> None:
    (lisbon.folder / name).unlink()
    if content is not None:
        (lisbon.folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name) as caught:
        _ = lisbon.identity, lisbon.node_key
    assert "not a key" not in str(caught.value)
    if name == "identity":
        with pytest.raises(ConfigError, match=name):
            _ = lisbon.enrolment


def test_nothing_that_can_be_printed_shows_a_key(lisbon: Hospital, consortium: Consortium) -> None:
    secret = (lisbon.folder / "identity").read_text()
    root = (consortium.home.folder / "root.key").read_text()
    shown = repr([lisbon, lisbon.enrolment, lisbon.settings, consortium.home, consortium.home.settings])
    assert secret not in shown
    assert root not in shown
    assert bytes.fromhex(secret).hex() not in repr(lisbon.enrolment)


def test_a_plan_is_kept_once_and_only_by_whom_it_is_for(consortium: Consortium, lisbon: Hospital) -> None:
    consortium.sites["Quito"] = quito = consortium.hospital("Quito")
    plan = consortium.plan("plan.cohort=[Lisbon, Nairobi, Osaka]")
    assert lisbon.take_plan(plan.paper.encode()) is None  # it has it already
    assert list(lisbon.plans()) == [plan]
    assert list(quito.plans()) == []
    assert lisbon.decision(plan) is None


def test_a_plan_is_found_by_as_much_of_its_name_as_is_unique(consortium: Consortium, lisbon: Hospital) -> None:
    with pytest.raises(PlanError, match="there is: none has come yet"):
        lisbon.plan("small")
    one, other = consortium.plan(), consortium.plan("name=other")
    assert (
        lisbon.plan("small") == lisbon.plan(one.name) == lisbon.plan(one.digest) == lisbon.plan(one.digest[:12]) == one
    )
    assert list(lisbon.plans()) == [one, other]
    with pytest.raises(PlanError, match=f"2 of that name; there is: {one.name}, {other.name}"):
        lisbon.plan("")
    with pytest.raises(PlanError, match="none of that name"):
        lisbon.plan("../identity")


@pytest.mark.parametrize("digest", ["", "..", "../../identity", "0" * 63, "0" * 65, "G" * 64, "0" * 63 + "/"])
def test_what_is_no_digest_leads_to_no_folder(digest: str, lisbon: Hospital) -> None:
    with pytest.raises(PlanError, match="64 hexadecimal digits"):
        lisbon.room(digest)


def test_a_decision_holds_under_the_key_that_the_site_has(consortium: Consortium, lisbon: Hospital) -> None:
    plan = consortium.plan()
    lisbon.decide(plan, "approve", "")
    assert lisbon.approved(plan.digest) == plan
    file = lisbon.room(plan.digest) / "decision.json"
    good = file.read_bytes()
    file.write_bytes(good[:100])
    assert lisbon.decision(plan) is None
    file.write_bytes(good)
    enrol.rekey(lisbon, "")
    assert lisbon.decision(plan) is None  # it is asked anew
    with pytest.raises(PlanError, match="not approved here"):
        lisbon.approved(plan.digest)


def test_a_decision_in_another_plans_folder_is_none(consortium: Consortium, lisbon: Hospital) -> None:
    one, other = consortium.plan(), consortium.plan()
    lisbon.decide(one, "approve", "")
    (lisbon.room(other.digest) / "decision.json").write_bytes((lisbon.room(one.digest) / "decision.json").read_bytes())
    assert lisbon.decision(other) is None
    (lisbon.room(other.digest) / "plan.json").write_bytes((lisbon.room(one.digest) / "plan.json").read_bytes())
    with pytest.raises(PlanError):
        lisbon.approved(other.digest)


def test_delivery_is_of_the_decision_that_holds_now(consortium: Consortium, lisbon: Hospital) -> None:
    plan = consortium.plan()
    lisbon.note_delivered(lisbon.decide(plan, "approve", ""))
    assert lisbon.delivered(plan)
    lisbon.decide(plan, "refuse", "")
    assert not lisbon.delivered(plan)


def test_a_site_says_what_it_has_against_a_plan(consortium: Consortium, lisbon: Hospital) -> None:
    plan = consortium.plan()
    assert lisbon.objection(plan) == ""
    told = yaml.safe_load((lisbon.folder / "site.yaml").read_text())
    for change, objection in (
        ({"policy": {"purposes": ["audit"]}}, "purpose 'training' is not in policy.purposes"),
        ({"policy": {"plans": "refuse"}}, "policy.plans of site.yaml is refuse"),
        ({"datasets": {}}, "there is no data set 'chest'"),
    ):
        (lisbon.folder / "site.yaml").write_text(yaml.safe_dump(told | change))
        assert objection in lisbon.objection(plan)
    with pytest.raises(ConfigError, match="no data set 'chest' under datasets"):
        lisbon.own(plan)


def test_a_sites_own_data_complete_the_plans_training(consortium: Consortium, lisbon: Hospital) -> None:
    config, take = lisbon.own(consortium.plan("federation.rounds=7"))
    assert config.federation.rounds == 7
    assert config.data.kind == "synthetic"
    assert take == "Lisbon"


# --- the coordinator's ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["train.hospital.example", "train.hospital.example:", ":8443", "https://train:8443", "a b:1", "[::1]", "x\n:1"],
)
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        ConsortiumSettings.checked({"consortium": "pilot", "address": address})


@pytest.mark.parametrize(
    "address", ["train.hospital.example:8443", "192.0.2.7:1", "[2001:db8::1]:8443", "localhost:80"]
)
def test_an_address_with_host_and_port_is_taken(address: str) -> None:
    assert ConsortiumSettings.checked({"consortium": "pilot", "address": address}).address == address


@pytest.mark.parametrize("text", ["", "- a", "consortium: [", "consortium: pilot", "consortium: pilot\naddres: h:1"])
def test_a_consortium_file_that_cannot_be_used_is_named(text: str, consortium: Consortium) -> None:
    (consortium.home.folder / "consortium.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"consortium\.yaml"):
        _ = consortium.home.settings


@pytest.mark.parametrize("name", ["pins.json", "roster"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff\x00" * 100])
def test_damaged_papers_at_the_coordinator_are_named(name: str, content: bytes | None, consortium: Consortium) -> None:
    path = consortium.home.folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        _ = consortium.home.roster


def test_a_roster_that_was_edited_is_refused(consortium: Consortium) -> None:
    path = consortium.home.folder / "roster"
    path.write_bytes(path.read_bytes().replace(b"Osaka", b"Quito"))
    with pytest.raises(IdentityError):
        _ = consortium.home.roster


def test_a_request_that_was_edited_is_refused(consortium: Consortium) -> None:
    path = consortium.home.folder / "sites" / "Osaka.json"
    path.write_text(path.read_text().replace("Osaka", "Quito"))
    with pytest.raises(ConsiliumError):
        consortium.home.nodes()


# --- small files ----------------------------------------------------------------------------------------------------


def test_json_that_is_damaged_is_named_or_where_it_is_only_looked_at_not_there(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_json(path) is glance(path) is None
    write_json(path, {"a": 1})
    assert read_json(path) == glance(path) == {"a": 1}
    for content in (b"", b"{", b"\xff", b"\0" * 9):
        path.write_bytes(content)
        assert glance(path) is None
        with pytest.raises(RunError, match=r"state\.json: damaged"):
            read_json(path)


def test_a_secret_is_its_owners_from_the_first_moment_and_never_replaced(tmp_path: Path) -> None:
    write_secret(tmp_path / "a" / "key", b"one")
    assert (tmp_path / "a" / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="never written over"):
        write_secret(tmp_path / "a" / "key", b"two")
    assert (tmp_path / "a" / "key").read_bytes() == b"one"


def test_a_folder_without_a_consortium_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="python -m server init"):
        _ = Home(tmp_path).settings
