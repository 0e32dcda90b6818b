"""What nobody can do to the catalogue: in another's name, an old entry again, a listing changed or shown in part."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console

from client.catalogue import listing_check
from client.catalogue.listing_check import SiteCatalogue, fetch, send
from client.plans.sync import gateway_of
from common.audit.heads import log_key_paper
from common.catalogue import (
    Listing,
    ModelOffer,
    Offer,
    OfferContent,
    PlanOffer,
    WithdrawnOffer,
    command_parts,
    listing_view,
)
from common.catalogue.offer_from_file import Descriptions, of_file, offer_content
from common.catalogue.offers import MOST_BYTES
from common.errors import CatalogueError, ConsiliumError, IdentityError, LinkError, WireError
from common.trust.documents import sign_document
from common.trust.joining import consortium_fingerprint
from common.trust.keys import public_of
from common.trust.roster import Pins
from server.catalogue import catalogue as coordinator
from server.consortium import membership
from tests.catalogue.fair import Fair
from tests.package.shop import Made
from tests.tally import TRIED

STRANGER = Ed25519PrivateKey.from_private_bytes(b"nobody whom the roots know, 32 b")
Change = Callable[[dict[str, Any]], None]


def plan(fair: Fair, **changed: Any) -> OfferContent:
    """What Lisbon could offer."""
    told, _ = of_file(fair.consortium.folder / "config.yaml", Descriptions(), "pilot", "Lisbon", {})
    return told.model_copy(update=changed)


def test_an_entry_is_taken_from_its_owner_alone_and_in_its_turn(fair: Fair) -> None:
    lisbon, nairobi = (fair.consortium.sites[site].identity for site in ("Lisbon", "Nairobi"))
    first = plan(fair)
    tried: list[tuple[OfferContent, list[Ed25519PrivateKey], str]] = [
        (first, [nairobi], "Lisbon"),  # under another's key
        (first, [STRANGER], "Lisbon"),
        (first, [lisbon], "Nairobi"),  # brought by another
        (first, [lisbon], ""),
        (plan(fair, owner=""), [lisbon], "Lisbon"),  # in the consortium's name
        (plan(fair, owner=""), [lisbon], ""),
        (plan(fair, owner="Nowhere"), [lisbon], "Lisbon"),
        (plan(fair, consortium="others"), [lisbon], "Lisbon"),
        (plan(fair, version=2), [lisbon], "Lisbon"),  # out of its turn
        (plan(fair, made_s=first.made_s + 7200), [lisbon], "Lisbon"),
    ]
    for content, keys, by in tried:
        with pytest.raises(ConsiliumError):
            fair.catalogue.take(by, Offer.make(content, keys).document.encode())
        assert not fair.catalogue.listing().offers
    paper = Offer.make(first, [lisbon]).document
    fair.catalogue.take("Lisbon", paper.encode())
    with pytest.raises(CatalogueError, match="version 1, expected 2"):
        fair.catalogue.take("Lisbon", paper.encode())  # the same again
    gone = plan(fair, version=2, offer=WithdrawnOffer())
    fair.catalogue.take("Lisbon", Offer.make(gone, [lisbon]).document.encode())
    with pytest.raises(CatalogueError, match="version 1, expected 3"):
        fair.catalogue.take("Lisbon", paper.encode())  # after it was withdrawn
    assert not fair.offered
    for words in ({"name": "../up"}, {"name": ""}, {"version": 0}, {"title": "a\nb"}, {"offer": {"kind": "sale"}}):
        told = sign_document("offer", first.model_dump(mode="json") | words, [lisbon])
        with pytest.raises(CatalogueError, match="of another release"):
            fair.catalogue.take("Lisbon", told.encode())
    TRIED["offers of others, or out of turn, refused"] += len(tried) + 7


def test_what_is_too_long_or_too_much_is_refused(fair: Fair, monkeypatch: pytest.MonkeyPatch) -> None:
    lisbon = fair.consortium.sites["Lisbon"].identity
    told = plan(fair)
    assert isinstance(told.offer, PlanOffer)
    terms = told.offer.terms.model_copy(update={"labels": tuple(f"{i} " + "x" * 100 for i in range(600))})
    long = told.model_copy(update={"offer": told.offer.model_copy(update={"terms": terms})})
    with pytest.raises(CatalogueError, match=f"expected {MOST_BYTES:,} at most"):
        Offer.make(long, [lisbon])
    paper = sign_document("offer", long.model_dump(mode="json"), [lisbon])
    with pytest.raises(CatalogueError, match="at most"):
        fair.catalogue.take("Lisbon", paper.encode())
    monkeypatch.setattr(coordinator, "MOST_OFFERS", 2)
    for name in ("a", "b"):
        fair.catalogue.take("Lisbon", Offer.make(plan(fair, name=name), [lisbon]).document.encode())
    with pytest.raises(CatalogueError, match="2 at most"):
        fair.catalogue.take("Lisbon", Offer.make(plan(fair, name="c"), [lisbon]).document.encode())
    fair.catalogue.take("Lisbon", Offer.make(plan(fair, name="a", version=2), [lisbon]).document.encode())
    monkeypatch.setattr(coordinator, "MOST_PAPERS", 3)
    with pytest.raises(CatalogueError, match="has brought 3 entries"):
        fair.catalogue.take("Lisbon", Offer.make(plan(fair, name="a", version=3), [lisbon]).document.encode())


def test_a_listing_in_which_anything_was_changed_is_refused(fair: Fair) -> None:
    pins = fair.consortium.home.pins
    for site in ("Lisbon", "Nairobi"):
        assert fair.at(site, "offer", fair.consortium.folder / "config.yaml", "--yes") == 0
    file = fair.catalogue.listing().document.encode()
    assert len(Listing.load_verified(file, pins).offers) == 2
    content, refused = json.loads(file)["content"], 0

    def other(change: Change, key: Ed25519PrivateKey) -> bytes:
        told = json.loads(json.dumps(content))
        change(told)
        return sign_document("catalogue", told, [key]).encode()

    log = fair.consortium.home.log.key()
    changes: list[Change] = [
        lambda told: told["offers"][0]["content"].update(title="Another"),
        lambda told: told["offers"][0]["content"].update(owner="Nairobi"),
        lambda told: told["offers"][0].update(signatures=told["offers"][1]["signatures"]),
        lambda told: told["offers"].append(told["offers"][0]),  # twice
        lambda told: told.update(consortium="others"),
        lambda told: told.update(roster=base64.b64encode(b"none").decode()),
        lambda told: told.update(voucher=json.loads(log_key_paper(public_of(log), "pilot", [STRANGER]).encode())),
        lambda told: told.update(version="many"),
        lambda told: told.pop("offers"),
    ]
    for change in changes:  # by the coordinator itself, who can sign a listing, and none of what is in it
        with pytest.raises(ConsiliumError):
            Listing.load_verified(other(change, log), pins)
        refused += 1
    with pytest.raises(IdentityError):
        Listing.load_verified(other(lambda told: None, STRANGER), pins)
    with pytest.raises(ConsiliumError):
        Listing.load_verified(file, Pins("pilot", (public_of(STRANGER),)))
    whole = json.dumps(json.loads(file), separators=(",", ":")).encode()
    for at in range(0, len(whole), 97):
        changed = bytearray(whole)
        changed[at] ^= 1
        try:
            found = Listing.load_verified(bytes(changed), pins)
        except ConsiliumError:
            refused += 1
        else:
            assert found.document.content == content
    TRIED["catalogues changed, refused"] += refused + 2


def test_a_site_notices_when_it_is_shown_less_than_before_or_not_what_it_offers(
    fair: Fair, capsys: pytest.CaptureFixture[str]
) -> None:
    home, folder = fair.consortium.home, fair.catalogue.folder
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    assert fair.at("Nairobi") == 0
    (paper,) = folder.glob("*.json")
    paper.rename(folder / "hidden")
    assert fair.at("Nairobi") == 2
    assert "has 0 entries and withdrawals; this site saw 1" in capsys.readouterr().err
    capsys.readouterr()
    other = plan(fair, owner="Osaka", name="other")
    fair.catalogue.take("Osaka", Offer.make(other, [fair.consortium.sites["Osaka"].identity]).document.encode())
    assert fair.at("Nairobi") == 2
    assert "of one version of the catalogue this site was shown two" in capsys.readouterr().err
    assert fair.at("Lisbon") == 2
    assert "shown two" in capsys.readouterr().err
    (fair.consortium.sites["Lisbon"].folder / "catalogue" / "listing").unlink()
    assert fair.at("Lisbon") == 2
    assert "does not have what this site offers: Lisbon/chest" in capsys.readouterr().err
    assert home.roster.version > 1


def test_the_entries_of_a_site_that_was_suspended_are_gone(fair: Fair) -> None:
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    assert fair.at("Nairobi") == 0
    membership.revoke(fair.consortium.home, "Lisbon", fair.consortium.roots)
    assert not fair.offered
    assert fair.at("Nairobi") == 0  # on a newer roster this is no contradiction
    assert fair.at("Lisbon") == 2


def test_a_transfer_that_broke_off_goes_on_and_what_came_damaged_is_not_taken(fair: Fair, model: Made) -> None:
    lisbon, nairobi = fair.consortium.sites["Lisbon"], fair.consortium.sites["Nairobi"]
    file = model.file * (2 * listing_check.PIECE // len(model.file) + 1)
    sent = list[int]()

    def interrupted(size: int) -> None:
        sent.append(size)
        raise KeyboardInterrupt

    with gateway_of(lisbon) as board:
        with pytest.raises(KeyboardInterrupt):
            send(board, file, interrupted)
        send(board, file, sent.append)
        assert (
            sent
            == [listing_check.PIECE, listing_check.PIECE, listing_check.PIECE, len(file) - 2 * listing_check.PIECE][
                : len(sent)
            ]
        )
        assert sum(sent[1:]) == len(file)
        content, _ = of_file(model.path, Descriptions(), "pilot", "Lisbon", {})
        with pytest.raises(LinkError, match="has not come, or not whole"):
            SiteCatalogue(lisbon).offer(board, content)  # the model's own package was not sent
        send(board, model.file, sent.append)
        incoming = fair.catalogue.folder / "incoming" / "Lisbon" / "package"
        incoming.write_bytes(bytes(len(model.file)))
        with pytest.raises(LinkError, match="came damaged"):
            SiteCatalogue(lisbon).offer(board, content)
        assert not fair.offered
        send(board, model.file, sent.append)
        SiteCatalogue(lisbon).offer(board, content)
    assert isinstance(content.offer, ModelOffer)
    with gateway_of(nairobi) as board:
        fetched = fetch(board, content.offer, nairobi.folder, sent.append)
        assert fetched.read_bytes() == model.file
        (fair.catalogue.folder / "packages" / content.offer.sha256).write_bytes(bytes(len(model.file)))
        with pytest.raises(CatalogueError, match="not the one that its entry names"):
            fetch(board, content.offer, nairobi.folder, sent.append)
        (fair.catalogue.folder / "packages" / content.offer.sha256).write_bytes(model.file + b"more")
        with pytest.raises(CatalogueError, match="not of the size"):
            fetch(board, content.offer, nairobi.folder, sent.append)
    assert [*nairobi.folder.glob(".package-*")] == [fetched]


def test_the_board_takes_no_odd_question(fair: Fair, model: Made) -> None:
    digest = hashlib.sha256(model.file).hexdigest()
    with gateway_of(fair.consortium.sites["Lisbon"]) as board:
        for told in (
            {}, {"sha256": digest}, {"sha256": "../../root.key", "offset": 0}, {"sha256": digest, "offset": -1},
            {"sha256": digest, "offset": True}, {"sha256": digest, "offset": 10**30}, {"sha256": digest, "offset": 0.5},
        ):  # fmt: skip
            for ask in (board.deposit, board.package):
                with pytest.raises(LinkError, match="400 WIRE"):
                    ask(told)
        with pytest.raises(LinkError, match="400 CATALOGUE"):
            board.package({"sha256": digest, "offset": 0})  # not offered
        for data in ("é", 7, ["x"], "abc"):
            with pytest.raises(LinkError, match="400 WIRE"):
                board.deposit({"sha256": digest, "offset": 0, "data": data})
        with pytest.raises(LinkError, match="400 WIRE"):
            board.offer({})
        assert board.deposit({"sha256": digest, "offset": 99, "data": "QUJD"}) == {"here": 0}


def test_partners_outside_read_what_was_exported_after_comparing_a_fingerprint(
    fair: Fair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fair.at("Lisbon", "offer", "chest", "--yes") == 0
    assert fair.here("export", tmp_path / "all.json") == 0
    digits = consortium_fingerprint(fair.consortium.home.pins)
    words = ["catalogue", "read", str(tmp_path / "all.json"), "--home", str(tmp_path / "nowhere")]
    capsys.readouterr()
    assert fair.hospital([*words, "--fingerprint", digits]) == 0
    assert "Chest radiographs of children" in capsys.readouterr().out
    assert fair.hospital(words) == 2
    assert fair.hospital([*words, "--fingerprint", "1" + digits]) == 2
    assert fair.at("Nairobi", "read", tmp_path / "all.json") == 0  # a member has compared it already
    assert fair.here("export", tmp_path / "all.txt") == 2
    forged = fair.catalogue.listing().document.content | {"roots": [public_of(STRANGER).hex()]}
    (tmp_path / "forged.json").write_bytes(sign_document("catalogue", forged, [STRANGER]).encode())
    with pytest.raises(ConsiliumError):
        Listing.load_verified((tmp_path / "forged.json").read_bytes(), Pins("pilot", (public_of(STRANGER),)))


def test_the_page_loads_nothing_and_takes_no_entry_for_markup(fair: Fair, tmp_path: Path) -> None:
    odd = plan(fair, title="<script>alert(1)</script>", description='<img src="http://x">', name="odd")
    fair.catalogue.take("Lisbon", Offer.make(odd, [fair.consortium.sites["Lisbon"].identity]).document.encode())
    assert fair.here("export", tmp_path / "all.html") == 0
    page = (tmp_path / "all.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert not any(word in page for word in ("<script", "<img", "<link", "<iframe"))


def test_a_text_that_would_move_the_cursor_is_not_signed(fair: Fair) -> None:
    offer = plan(fair).offer
    assert isinstance(offer, PlanOffer)
    content = offer_content("pilot", "Lisbon", Descriptions("a", "clear \x1b[2J"), offer, {})
    with pytest.raises(WireError):
        Offer.make(content, [STRANGER])
    assert "odd" not in listing_view.render_offer(content)


def test_an_entry_of_another_release_is_left_out_and_hides_nothing_else(
    fair: Fair, capsys: pytest.CaptureFixture[str]
) -> None:
    home, lisbon = fair.consortium.home, fair.consortium.sites["Lisbon"]
    assert fair.at("Nairobi", "offer", "chest", "--yes") == 0
    later = sign_document("offer", plan(fair).model_dump(mode="json") | {"colour": "blue"}, [lisbon.identity])
    told = fair.catalogue.listing().document.content
    told = told | {"offers": [*told["offers"], later.to_json()]}
    listing = Listing.load_verified(sign_document("catalogue", told, [home.log.key()]).encode(), home.pins)
    assert [offer.content.address for offer in listing.offers] == ["Nairobi/chest"]
    assert listing.unread == 1
    command_parts.render_listing(listing, Console())
    assert "1 of another release" in capsys.readouterr().out
