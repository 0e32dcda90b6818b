"""An encoder on its way through the catalogue to other hospitals, and what their policies say of its licence."""

import hashlib
from pathlib import Path

import pytest
import yaml

from common.catalogue import EncoderOffer, Offer
from common.catalogue.offer_from_file import Descriptions, of_file, offer_content
from common.encoders import Encoder, encoder_library
from common.encoders.encoder_graph import EncoderGraph
from tests.catalogue.fair import Fair
from tests.encoders.conftest import about, graph


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Encoder:
    """One that this machine has not."""
    monkeypatch.setenv(encoder_library.VARIABLE, str(tmp_path / "library"))
    operations, arrays = graph()
    return Encoder.of(about(), EncoderGraph.model_validate({"operations": operations}), arrays)


@pytest.fixture
def file(encoder: Encoder, tmp_path: Path) -> Path:
    (path := tmp_path / "drawn.encoder").write_bytes(encoder.content)
    return path


def test_an_encoder_goes_from_one_hospital_into_another_s_library_as_it_was(
    fair: Fair, encoder: Encoder, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fair.at("Lisbon", "offer", file, "--yes") == 0
    offer = fair.offered["Lisbon/drawn"].offer
    assert isinstance(offer, EncoderOffer)
    assert (offer.about, offer.sha256, offer.size) == (encoder.about, encoder.sha256, len(encoder.content))
    capsys.readouterr()
    assert fair.at("Nairobi") == 0
    assert "1 encoder" in capsys.readouterr().out
    assert encoder_library.digests() == []
    assert fair.at("Nairobi", "take", encoder.sha256[:16]) == 0  # as a site's refusal of a plan says
    assert encoder_library.load(encoder.sha256).content == encoder.content
    said = capsys.readouterr().out
    assert "licence     CC0-1.0" in said
    assert "{step: embed, encoder: drawn}" in said
    assert fair.here("take", "Lisbon/drawn") == 0
    assert fair.log("Nairobi")[-1].facts["kind"] == "encoder"


def test_the_consortium_offers_one_and_takes_it_back(fair: Fair, encoder: Encoder, file: Path) -> None:
    assert fair.here("offer", file, "--name", "lenses", "--yes") == 0
    assert fair.at("Osaka", "take", "lenses") == 0
    assert encoder_library.find("drawn").sha256 == encoder.sha256
    assert fair.here("withdraw", "lenses") == 0
    assert fair.at("Lisbon", "take", "lenses") == 2


def test_a_licence_that_the_policy_does_not_allow_is_not_taken(
    fair: Fair, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fair.at("Lisbon", "offer", file, "--yes") == 0
    path = fair.consortium.sites["Nairobi"].folder / "site.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings.setdefault("policy", {})["encoder_licences"] = ["Apache-2.0", "MIT"]
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert fair.at("Nairobi", "take", "drawn") == 2
    said = capsys.readouterr().err
    assert "licence of encoder drawn is 'CC0-1.0'; policy.encoder_licences of site.yaml allows Apache-2.0, MIT" in said
    assert encoder_library.digests() == []


def test_a_file_that_is_none_is_not_offered(fair: Fair, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(b"GIF89a")
    assert fair.at("Lisbon", "offer", file, "--yes") == 2
    assert "drawn.encoder" in capsys.readouterr().err
    assert not fair.offered


def test_an_entry_that_describes_another_file_adds_nothing(
    fair: Fair, file: Path, encoder: Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    content, package = of_file(file, Descriptions(), fair.consortium.home.pins.federation, "Lisbon", {})
    assert isinstance(content.offer, EncoderOffer)
    embellished = content.offer.model_copy(update={"about": encoder.about.model_copy(update={"licence": "MIT"})})
    spoilt = b"x" + package[1:]
    foreign = content.offer.model_copy(update={"sha256": hashlib.sha256(spoilt).hexdigest()})
    for name, offer, held in (("rosy", embellished, package), ("foreign", foreign, spoilt)):
        entry = offer_content(content.consortium, "Lisbon", Descriptions(name, "Sees"), offer, {})
        fair.catalogue.packages.deposit("Lisbon", offer.sha256, 0, held)
        paper = Offer.make(entry, [fair.consortium.sites["Lisbon"].identity]).document
        fair.catalogue.take("Lisbon", paper.encode())
        assert fair.at("Nairobi", "take", f"Lisbon/{name}") == 2
    said = capsys.readouterr().err
    assert "Lisbon/rosy: its file is another than its entry names" in said
    assert "Lisbon/foreign: " in said
    assert encoder_library.digests() == []
