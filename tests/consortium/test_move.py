"""The coordinator moves to another address: sites follow its roots' word, without new keys, and nobody else's."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.__main__ import main as client
from client.plans.coordinator_address import take_address
from common.errors import IdentityError, WireError
from common.trust.address_change import AddressChange
from common.trust.documents import read_document, sign_document
from server.__main__ import main as server
from server.consortium import certificate, membership
from server.gateway.site_api import FolderSiteApi
from tests.consortium.consortium import NAMES, Consortium

NEW = "fl.hospital.example:9443"


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return Consortium(tmp_path)


def test_every_site_is_told_under_the_roots_signatures_and_the_certificate_fits_both_addresses(
    consortium: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    home, lisbon = consortium.home, consortium.sites["Lisbon"]
    assert FolderSiteApi(home).roster_and_plans("Lisbon")["address"] == ""
    authority, roster = home.authority.read_bytes(), home.roster.version
    assert server(["move", "--address", NEW, "--home", str(home.folder)]) == 0
    assert f"sites find the gateway at {NEW}" in capsys.readouterr().out
    assert (home.settings.address, home.settings.port) == (NEW, 9443)
    assert (home.authority.read_bytes(), home.roster.version) == (authority, roster)
    crt = x509.load_pem_x509_certificate(certificate.certificate_file(home).read_bytes())
    names = crt.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "fl.hospital.example" in names.get_values_for_type(x509.DNSName)
    assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    paper = FolderSiteApi(home).roster_and_plans("Lisbon")["address"].encode()
    assert take_address(lisbon, paper)
    assert not take_address(lisbon, paper)
    assert lisbon.address == NEW
    # a site that was away gets the file
    osaka = ["--home", str(consortium.sites["Osaka"].folder)]
    assert client(["move", str(home.moved), *osaka]) == 0
    assert f"The coordinator is at {NEW} now; it was at 127.0.0.1:8443." in capsys.readouterr().out
    assert consortium.sites["Osaka"].address == NEW


def test_an_older_word_and_anybody_elses_move_nobody(consortium: Consortium) -> None:
    home, site = consortium.home, consortium.sites["Lisbon"]
    (root,) = consortium.roots

    def word(number: int, address: str, name: str = "pilot", key: Ed25519PrivateKey = root) -> bytes:
        return sign_document("address", {"consortium": name, "number": number, "address": address}, [key]).encode()

    assert take_address(site, word(20, NEW))
    assert not take_address(site, word(19, "old.example:1"))
    assert not take_address(site, word(20, "other.example:1"))
    with pytest.raises(IdentityError):
        take_address(site, word(21, "evil.example:1", key=Ed25519PrivateKey.generate()))
    with pytest.raises(WireError, match="of another consortium"):
        take_address(site, word(21, "evil.example:1", name="other"))
    for wrong in ("evil.example", "http://evil.example:1", "a b:1", ""):
        with pytest.raises(WireError):
            take_address(site, word(21, wrong))
    assert site.address == NEW
    assert home.settings.address == "127.0.0.1:8443"


def test_who_joins_after_a_move_has_the_new_address_and_a_second_move_is_followed(consortium: Consortium) -> None:
    home = consortium.home
    membership.move(home, NEW, 9443, consortium.roots)
    hanoi = consortium.hospital("Hanoi")
    assert hanoi.address == NEW
    before = AddressChange.load(home.moved.read_bytes())
    later = AddressChange.draw_up("pilot", before.number + 1, "third.example:1").document
    paper = sign_document("address", read_document(later.encode(), "address").content, consortium.roots).encode()
    for name in (*NAMES, "Hanoi"):
        site = hanoi if name == "Hanoi" else consortium.sites[name]
        assert take_address(site, home.moved.read_bytes())
        assert take_address(site, paper)
        assert site.address == "third.example:1"
