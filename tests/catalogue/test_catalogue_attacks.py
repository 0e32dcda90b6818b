"""What a hostile hospital or coordinator tries with the catalogue: to blind the others, to fill disks, to be taken for
something else."""

import hashlib
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from client.catalogue.listing_check import SiteCatalogue
from client.connection.gateway_client import GatewayClient
from common.catalogue import ModelOffer, Offer, OfferContent, PlanOffer, WithdrawnOffer, listing
from common.catalogue.offer_from_file import Descriptions, of_file
from common.catalogue.offers import MOST_BYTES, withdrawal
from common.errors import CatalogueError, ConsiliumError, RunError
from common.storage.run_folder import lock_folder
from common.trust.documents import sign_document
from server.catalogue import catalogue as coordinator
from server.catalogue import packages
from tests.catalogue.fair import Fair
from tests.tally import TRIED


def plan(fair: Fair, owner: str = "Lisbon", **changed: Any) -> OfferContent:
    """What a hospital could offer."""
    told, _ = of_file(fair.consortium.folder / "config.yaml", Descriptions(), "pilot", owner, {})
    return told.model_copy(update=changed)


def take(fair: Fair, content: OfferContent) -> None:
    """As the coordinator does."""
    offer = Offer.make(content, [fair.consortium.sites[content.owner].identity])
    fair.catalogue.take(content.owner, offer.document.encode())


# --- entries that are read by others --------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["[/foo]", "[b]bold[/b]", ":warning:"])
def test_what_others_wrote_is_no_markup_of_the_terminal(
    fair: Fair, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    take(fair, plan(fair, title=title))
    assert fair.at("Nairobi") == 0
    assert title in capsys.readouterr().out
    assert fair.here() == 0
    assert title in capsys.readouterr().out


@pytest.mark.parametrize("end", ["\u2028", "\u2029"])
def test_a_title_adds_nothing_to_the_configuration_that_is_taken(fair: Fair, end: str, tmp_path: Path) -> None:
    """YAML ends a comment at these too."""
    take(fair, plan(fair, name="ours", title=f"Ours{end}output: elsewhere"))
    assert fair.here("take", "Lisbon/ours", "--out", tmp_path / "taken.yaml") == 0
    assert yaml.safe_load((tmp_path / "taken.yaml").read_text(encoding="utf-8")).keys() >= {"plan", "data"}
    assert "output" not in yaml.safe_load((tmp_path / "taken.yaml").read_text(encoding="utf-8"))


# --- entries that leave no room for others --------------------------------------------------------------------------


def test_nobody_fills_the_catalogue_for_the_others(fair: Fair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing that grew beyond what is read could neither be read nor have anything withdrawn, for good."""
    monkeypatch.setattr(coordinator, "ROOM", 2**19)
    monkeypatch.setattr(listing, "MOST_BYTES", 2**20)
    long = "\U0001f600" * 3700  # 44 kB as JSON
    taken = 0
    with suppress(CatalogueError):
        for taken in range(50):
            take(fair, plan(fair, name=f"n{taken}", description=long))
    assert 2 < taken < 20
    with pytest.raises(CatalogueError, match="the catalogue is half full"):
        take(fair, plan(fair, name=f"n{taken}", description=long))
    fair.catalogue.listing()
    take(fair, plan(fair, owner="Osaka", description=long))
    with pytest.raises(CatalogueError, match="a withdrawal that describes something"):
        take(fair, plan(fair, name="n0", version=2, description=long, offer=WithdrawnOffer()))
    take(fair, withdrawal(plan(fair, name="n0")))
    assert fair.at("Nairobi") == 0
    TRIED["entries that leave no room for others, refused"] += 2


def test_an_entry_that_would_make_the_listing_too_long_is_not_taken(
    fair: Fair, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(fair, plan(fair, name="first"))
    before = fair.catalogue.listing().document.encode()
    monkeypatch.setattr(listing, "MOST_BYTES", len(before) + 99)
    with pytest.raises(CatalogueError, match="bytes, expected"):
        take(fair, plan(fair, owner="Osaka"))
    assert [*fair.offered] == ["Lisbon/first"]
    take(fair, withdrawal(plan(fair, name="first")))


def test_an_entry_that_is_taken_is_in_the_listing_however_it_was_written(fair: Fair) -> None:
    """Short in one line, it would be too long in the lines in which it is kept."""
    told = plan(fair)
    assert isinstance(told.offer, PlanOffer)
    terms = told.offer.terms.model_copy(update={"labels": tuple(f"{i:05d}" for i in range(4000))})
    long = told.model_copy(update={"offer": told.offer.model_copy(update={"terms": terms})})
    paper = sign_document("offer", long.model_dump(mode="json"), [fair.consortium.sites["Lisbon"].identity])
    line = json.dumps(paper.to_json()).encode()
    assert len(line) < MOST_BYTES < len(paper.encode())
    with pytest.raises(CatalogueError, match="at most"):
        fair.catalogue.take("Lisbon", line)
    assert not [*fair.catalogue.folder.glob("*.json")]


# --- packages -------------------------------------------------------------------------------------------------------


def offered(fair: Fair, package: bytes, owner: str = "Lisbon", size: int | None = None, **changed: Any) -> OfferContent:
    """A model whose package is anything."""
    digest = hashlib.sha256(package).hexdigest()
    model = ModelOffer(
        model="any", package="0" * 64, sha256=digest, size=size or len(package), architecture="svm", labels=("a", "b"),
        shape=(1, 1, 1), publisher="any", fingerprint=" ".join(["00000"] * 6), trained="federation", licence="any",
        card="",
    )  # fmt: skip
    return plan(fair, owner, offer=model, **changed)


def test_packages_fill_neither_the_disk_nor_more_than_an_owner_may(fair: Fair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "MOST_HELD", 5)
    for number, package in enumerate((b"abc", b"de")):
        assert fair.catalogue.packages.deposit("Lisbon", hashlib.sha256(package).hexdigest(), 0, package) == len(
            package
        )
        take(fair, offered(fair, package, name=f"n{number}"))
    with pytest.raises(CatalogueError, match="packages of 6 bytes, 5 at most"):
        take(fair, offered(fair, b"f", name="n2"))
    with pytest.raises(CatalogueError, match="not of the size"):
        take(fair, offered(fair, b"abc", "Osaka", 1, name="less"))
    monkeypatch.setattr(packages, "SPARE", 2**60)
    with pytest.raises(CatalogueError, match="disk is nearly full"):
        fair.catalogue.packages.deposit("Lisbon", "0" * 64, 0, b"x")
    TRIED["packages that would fill the disk, refused"] += 3


def test_nothing_is_added_to_a_package_while_it_is_compared(fair: Fair) -> None:
    """What came in between would stand under the digest of something else, for whoever offers that later too."""
    digest = hashlib.sha256(b"abc").hexdigest()
    assert fair.catalogue.packages.deposit("Lisbon", digest, 0, b"ab") == 2
    with lock_folder(fair.catalogue.folder / "incoming" / "Lisbon", "compared here, as `take` does"):
        with pytest.raises(RunError, match="Try again"):
            fair.catalogue.packages.deposit("Lisbon", digest, 2, b"c")
        with pytest.raises(RunError, match="Try again"):
            take(fair, offered(fair, b"abc"))
    assert fair.catalogue.packages.deposit("Lisbon", digest, 2, b"c") == 3
    take(fair, offered(fair, b"abc"))


def test_the_package_of_a_site_that_was_suspended_is_not_there_and_nothing_falls_over(fair: Fair) -> None:
    digest = hashlib.sha256(b"abc").hexdigest()
    fair.catalogue.packages.deposit("Lisbon", digest, 0, b"abc")
    take(fair, offered(fair, b"abc"))
    assert fair.catalogue.piece(digest, 0) == b"abc"
    (fair.catalogue.folder / "packages" / digest).unlink()  # as the next entry does, while its owner is no member
    with pytest.raises(CatalogueError, match="not offered, or not any more"):
        fair.catalogue.piece(digest, 0)


# --- the coordinator ------------------------------------------------------------------------------------------------


@dataclass
class Liar:
    """A coordinator that says anything."""

    told: dict[str, Any]

    def catalogue(self) -> dict[str, Any]:
        """All of it."""
        return self.told


def test_whatever_a_coordinator_says_of_the_catalogue_a_site_refuses_it_in_words(fair: Fair) -> None:
    take(fair, plan(fair))
    seen, whole = SiteCatalogue(fair.consortium.sites["Nairobi"]), fair.catalogue.listing().document
    key = fair.consortium.home.log.key()
    odd: list[Any] = [None, [], 5, {"paper": "catalogue"}, {**whole.to_json(), "signatures": []}]
    for change in (
        {"made_s": 1e300}, {"made_s": -1e300}, {"made_s": "nan"}, {"offers": "ab"}, {"offers": [1]}, {"offers": 5},
        {"roster": 5}, {"voucher": None}, {"version": None}, {"version": "9" * 5000},
    ):  # fmt: skip
        odd.append(sign_document("catalogue", whole.content | change, [key]).to_json())
    lies: list[dict[str, Any]] = [{"catalogue": one, "next": {}} for one in odd]
    lies += [
        {"catalogue": whole.to_json(), "next": one} for one in ({"a": math.inf}, {"a": None}, [], {"a": "9" * 5000})
    ]
    for lie in lies:
        with pytest.raises(ConsiliumError):
            seen.look(cast(GatewayClient, Liar(lie)))
    TRIED["catalogues changed, refused"] += len(lies)
