"""A hospital's folder: what is said of what is wrong in it, and that no key is ever printed."""

from pathlib import Path

import pytest

from client.home import Home as Hospital
from client.setup import enrol
from common.errors import ConfigError
from tests.admitted import home_of
from tests.consortium.consortium import Consortium


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


@pytest.fixture
def lisbon(consortium: Consortium) -> Hospital:
    return consortium.sites["Lisbon"]


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
        _ = home_of(tmp_path).settings
    assert str(tmp_path / "site.yaml") in str(caught.value)


def test_settings_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_bytes(b"site: \xff\xfe")
    with pytest.raises(ConfigError, match="not valid YAML"):
        _ = home_of(tmp_path).settings


def test_what_is_missing_says_by_which_command_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="python -m client init NAME"):
        _ = home_of(tmp_path).site
    enrol.begin(site := home_of(tmp_path), "lisbon", "")
    assert not site.has_joined
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
