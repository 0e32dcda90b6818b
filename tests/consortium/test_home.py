"""The folders of a hospital and of the coordinator: what is in them, and what is said of what is wrong in them."""

from pathlib import Path

import pytest

from client.home import Home as Hospital
from common.errors import ConfigError, ConsiliumError, IdentityError, RunError
from common.storage.files import glance, read_json, write_json, write_secret
from server.consortium.home import ConsortiumSettings, Home
from tests.consortium.consortium import Consortium


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


@pytest.fixture
def lisbon(consortium: Consortium) -> Hospital:
    return consortium.sites["Lisbon"]


# --- the coordinator's ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["train.hospital.example", "train.hospital.example:", ":8443", "https://train:8443", "a b:1", "[::1]", "x\n:1"],
)
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        ConsortiumSettings.parse({"consortium": "pilot", "address": address})


@pytest.mark.parametrize(
    "address", ["train.hospital.example:8443", "192.0.2.7:1", "[2001:db8::1]:8443", "localhost:80"]
)
def test_an_address_with_host_and_port_is_taken(address: str) -> None:
    assert ConsortiumSettings.parse({"consortium": "pilot", "address": address}).address == address


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
