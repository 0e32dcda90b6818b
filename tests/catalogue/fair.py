"""Where hospitals and coordinator offer things to each other, by the commands that they type."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.audit.entries import Entry, decode
from common.catalogue import OfferContent
from server.catalogue.catalogue import Catalogue
from tests.consortium.consortium import Consortium

ABOUT: dict[str, Any] = {
    "title": "Chest radiographs of children",
    "description": "All of the emergency department.\n\nReported by two radiologists.",
    "modality": ["DX"],
    "body_part": "chest",
    "country": "Portugal",
    "period": "2018 to 2024",
    "conditions": "ethics vote of every partner",
    "contact": "Ana Sousa",
}
Main = Callable[[Sequence[str]], int]


@dataclass
class Fair:
    """The partners."""

    consortium: Consortium
    hospital: Main
    coordinator: Main
    catalogue: Catalogue

    def at(self, site: str, *words: str | Path) -> int:
        """A hospital's command; its exit status."""
        home = self.consortium.sites[site].folder
        return self.hospital(["catalogue", *map(str, words), "--home", str(home)])

    def here(self, *words: str | Path) -> int:
        """The coordinator's."""
        return self.coordinator(["catalogue", *map(str, words), "--home", str(self.consortium.home.folder)])

    @property
    def offered(self) -> dict[str, OfferContent]:
        """By address, what is offered now."""
        return {o.content.address: o.content for o in self.catalogue.listing().offers if not o.withdrawn}

    def log(self, site: str = "") -> list[Entry]:
        """What a hospital's log says, or the coordinator's."""
        log = self.consortium.sites[site].log if site else self.consortium.home.log
        return [decode(line, number, "") for number, line in enumerate(log.lines())]
