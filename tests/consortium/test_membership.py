"""Who belongs to the consortium: every change is a new roster, signed, and higher than all before."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from client.setup import enrol
from common.errors import ConfigError, IdentityError, PolicyError, RunError
from common.storage.run_folder import lock_folder
from common.trust.joining import JoinRequest, Welcome
from common.trust.roster import load_verified_roster
from server.consortium import membership
from server.consortium.home import ConsortiumSettings, Home, raw_node_key
from tests.admitted import home_of
from tests.consortium.consortium import NAMES, Consortium

SETTINGS = ConsortiumSettings(consortium="pilot", address="train.hospital.example:8443")


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


def requested(folder: Path, name: str) -> JoinRequest:
    return enrol.begin(home_of(folder / name), name, "")


def test_a_new_consortium_has_nobody_in_it_and_keeps_its_secrets_to_its_owner(tmp_path: Path) -> None:
    home = Home(tmp_path / "consortium")
    membership.begin(home, SETTINGS, ("training", "audit"), days=30)
    roster = home.roster
    assert (roster.version, roster.members, roster.policy.purposes) == (1, (), ("audit", "training"))
    assert home.settings == SETTINGS
    secret = [path for path in home.folder.rglob("*") if path.is_file() and path.suffix == ".key"]
    assert sorted(path.name for path in secret) == ["ca.key", "root.key", "server.key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_a_second_consortium_in_a_folder_is_refused(consortium: Consortium) -> None:
    pins = consortium.home.pins
    with pytest.raises(ConfigError, match="there is a consortium here already"):
        membership.begin(consortium.home, SETTINGS)
    assert consortium.home.pins == pins


@pytest.mark.parametrize(
    ("name", "address", "days"),
    [("a/b", "h:1", 1), ("", "h:1", 1), ("pilot", "-x-.example:1", 1), ("pilot", "h:1", 0), ("pilot", "h:1", 10**9)],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    name: str, address: str, days: int, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError):
        membership.begin(Home(tmp_path / "c"), ConsortiumSettings(consortium=name, address=address), days=days)
    assert not (tmp_path / "c").exists()


def test_a_beginning_that_fails_leaves_nothing_and_the_same_begins(tmp_path: Path) -> None:
    home, settings = Home(tmp_path / "new"), ConsortiumSettings(consortium="pilot", address="127.0.0.1:8443")
    (home.folder / "pins.json").mkdir(parents=True)  # what cannot be written, as on a full disk
    with pytest.raises(IsADirectoryError):
        membership.begin(home, settings)
    assert [path.name for path in home.folder.rglob("*")] == ["pins.json"]
    (home.folder / "pins.json").rmdir()
    membership.begin(home, settings)
    assert home.settings.consortium == "pilot"


def test_an_interrupted_beginning_is_no_consortium_and_overwrites_no_key(consortium: Consortium) -> None:
    (consortium.home.folder / "consortium.yaml").unlink()
    root = (consortium.home.folder / "root.key").read_bytes()
    with pytest.raises(ConfigError, match="Make a consortium with"):
        _ = consortium.home.settings
    with pytest.raises(ConfigError, match="a key is never written over"):
        membership.begin(consortium.home, SETTINGS)
    assert (consortium.home.folder / "root.key").read_bytes() == root


def test_versions_only_rise_and_every_one_is_kept(consortium: Consortium, tmp_path: Path) -> None:
    versions = [consortium.home.roster.version]
    membership.revoke(consortium.home, "Osaka", consortium.roots)
    versions.append(consortium.home.roster.version)
    membership.renew(consortium.home, 10, consortium.roots)
    versions.append(consortium.home.roster.version)
    membership.admit(consortium.home, requested(tmp_path, "Quito"), consortium.roots)
    versions.append(consortium.home.roster.version)
    assert versions == [4, 5, 6, 7]
    kept = sorted((consortium.home.folder / "rosters").glob("0*"))
    assert [load_verified_roster(path.read_bytes(), consortium.home.pins).version for path in kept] == list(range(1, 8))


def test_no_hospital_goes_back_to_an_older_roster(consortium: Consortium) -> None:
    site = consortium.sites["Lisbon"]
    old = consortium.home.consortium.roster
    membership.revoke(consortium.home, "Osaka", consortium.roots)
    assert site.take_roster(consortium.home.consortium.roster).version == 5
    assert site.take_roster(old).version == 5
    assert site.roster.active.keys() == {"Lisbon", "Nairobi"}


def test_a_roster_of_other_roots_is_not_taken(consortium: Consortium, tmp_path: Path) -> None:
    stranger = Consortium(tmp_path / "stranger", stranger=True)
    with pytest.raises(IdentityError):
        consortium.sites["Lisbon"].take_roster(stranger.home.consortium.roster)


def test_admitting_the_same_request_again_changes_nothing(consortium: Consortium) -> None:
    request = JoinRequest.read((consortium.sites["Lisbon"].folder / "Lisbon.request").read_bytes())
    before = consortium.home.roster
    membership.admit(consortium.home, request, consortium.roots)
    assert consortium.home.roster == before
    assert Welcome.read(consortium.home.welcome("Lisbon").read_bytes()).roster.version == before.version


def test_another_with_a_members_name_is_refused(consortium: Consortium, tmp_path: Path) -> None:
    request = requested(tmp_path / "other", "Lisbon")
    with pytest.raises(ConfigError, match="is a member already, with other keys"):
        membership.admit(consortium.home, request, consortium.roots)
    assert consortium.home.roster.version == 4


def test_another_with_a_members_keys_is_refused(consortium: Consortium) -> None:
    lisbon = consortium.sites["Lisbon"]
    other = home_of(consortium.folder / "Quito")
    fresh = enrol.begin(other, "Quito", "")
    for identity, node in ((lisbon.identity, other.node_key), (other.identity, lisbon.node_key)):
        request = JoinRequest.write("Quito", "", identity, node)
        with pytest.raises(PolicyError, match="another member has this key"):
            membership.admit(consortium.home, request, consortium.roots)
    membership.admit(consortium.home, fresh, consortium.roots)


def test_a_suspended_site_is_on_no_list_that_counts(consortium: Consortium) -> None:
    home = consortium.home
    membership.revoke(home, "Lisbon", consortium.roots)
    assert set(home.identities()) == set(home.nodes().values()) == {"Nairobi", "Osaka"}
    assert set(home.requests()) == set(NAMES)
    with pytest.raises(ConfigError, match="site Lisbon is no active member; expected one of Nairobi, Osaka"):
        membership.revoke(home, "Lisbon", consortium.roots)
    with pytest.raises(ConfigError, match="no active member"):
        membership.revoke(home, "Atlantis", consortium.roots)


def test_a_suspended_site_comes_back_with_new_keys_alone(consortium: Consortium) -> None:
    home, lisbon = consortium.home, consortium.sites["Lisbon"]
    old = JoinRequest.read((lisbon.folder / "Lisbon.request").read_bytes())
    membership.revoke(home, "Lisbon", consortium.roots)
    with pytest.raises(ConfigError, match="Have it make new ones"):
        membership.admit(home, old, consortium.roots)
    half_new = JoinRequest.write("Lisbon", "", enrol._new_keys()[0], lisbon.node_key)
    with pytest.raises(ConfigError, match="Have it make new ones"):
        membership.admit(home, half_new, consortium.roots, new_keys=True)
    new = enrol.rekey(lisbon, "")
    with pytest.raises(ConfigError, match="--new-keys"):
        membership.admit(home, new, consortium.roots)
    membership.admit(home, new, consortium.roots, new_keys=True)
    enrol.join(lisbon, Welcome.read(home.welcome("Lisbon").read_bytes()))
    assert home.identities()["Lisbon"] == new.identity
    assert lisbon.roster.active["Lisbon"] == new.identity


def test_a_member_moves_to_new_keys_and_the_old_ones_count_no_more(consortium: Consortium) -> None:
    home, lisbon = consortium.home, consortium.sites["Lisbon"]
    old = home.requests()["Lisbon"]
    new = enrol.rekey(lisbon, "")
    membership.admit(home, new, consortium.roots, new_keys=True)
    assert home.identities()["Lisbon"] == new.identity != old.identity
    assert home.nodes()[raw_node_key(new.node)] == "Lisbon"
    assert raw_node_key(old.node) not in home.nodes()


def test_new_keys_are_for_members_alone(consortium: Consortium, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="site Quito is no member"):
        membership.admit(consortium.home, requested(tmp_path, "Quito"), consortium.roots, new_keys=True)


def test_keys_that_were_admitted_before_the_crash_are_let_in_after_it(consortium: Consortium) -> None:
    (consortium.home.folder / "sites" / "Lisbon.json").unlink()  # killed after the roster was written
    assert set(consortium.home.nodes().values()) == {"Nairobi", "Osaka"}
    request = JoinRequest.read((consortium.sites["Lisbon"].folder / "Lisbon.request").read_bytes())
    membership.admit(consortium.home, request, consortium.roots)
    assert consortium.home.roster.version == 4
    assert set(consortium.home.nodes().values()) == set(NAMES)


def test_renewing_gives_more_time_and_a_certificate_that_fits_its_key(consortium: Consortium) -> None:
    home, tls = consortium.home, consortium.home.folder / "tls"
    before, certificate = home.roster, (tls / "server.crt").read_bytes()
    for left_behind in (False, True):
        if left_behind:
            (tls / "server.key").unlink()  # killed in the middle
        membership.renew(home, 3000, consortium.roots)
        after = home.roster
        assert after.expires_s > before.expires_s
        assert after.members == before.members
        assert stat.S_IMODE((tls / "server.key").stat().st_mode) == 0o600
        assert (tls / "server.crt").read_bytes() != certificate
    x509.load_pem_x509_certificate((tls / "server.crt").read_bytes()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(home.authority.read_bytes())
    )


def test_two_commands_never_make_two_rosters_of_one_version(consortium: Consortium) -> None:
    with (
        lock_folder(consortium.home.folder / "rosters", ""),
        pytest.raises(RunError, match="another command is changing the roster"),
    ):
        membership.revoke(consortium.home, "Osaka", consortium.roots)
    revoke = f"""
from pathlib import Path
from server.consortium import membership
from server.consortium.home import Home
home = Home(Path({str(consortium.home.folder)!r}))
done = 0
for site in {NAMES!r}:
    try:
        membership.revoke(home, site, home.root_keys())
        done += 1
    except Exception as error:
        assert type(error).__name__ in ("RunError", "ConfigError"), error
print(done)
"""
    both = [
        subprocess.Popen([sys.executable, "-c", revoke], stdout=subprocess.PIPE, encoding="utf-8") for _ in range(2)
    ]
    done = sum(int(process.communicate()[0]) for process in both)
    assert consortium.home.roster.version == 4 + done
    assert len(consortium.home.roster.active) == 3 - done


def test_another_key_than_the_pinned_root_signs_nothing(consortium: Consortium, tmp_path: Path) -> None:
    stranger = Consortium(tmp_path / "stranger", stranger=True)
    with pytest.raises(ConfigError, match="is not this consortium's root key"):
        consortium.home.root_keys(stranger.home.folder / "root.key")
    (tmp_path / "text").write_text("not a key", encoding="utf-8")
    for path in (tmp_path / "text", tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="name its file with --root"):
            consortium.home.root_keys(path)


def test_the_root_key_may_lie_elsewhere(consortium: Consortium, tmp_path: Path) -> None:
    (consortium.home.folder / "root.key").rename(tmp_path / "stick")
    assert consortium.home.root_keys(tmp_path / "stick")
    with pytest.raises(ConfigError, match=r"root\.key: No such file"):
        consortium.home.root_keys()
