"""A data set of this hospital as an entry of the catalogue: described by people, counted here. No image is read."""

import numpy as np

from client.access.policy_store import policy_store
from client.dataset import splits
from client.dataset.case_source import open_table
from client.home import Home
from client.site_settings import SiteDataset
from client.sources.case_table import Table
from common.catalogue.offer_from_file import Descriptions, offer_content
from common.catalogue.offers import DatasetDescription, DatasetOffer, OfferContent, Span
from common.config import resolve_data
from common.errors import CatalogueError, ConfigError

EXAMPLE = """    about:
      title: Chest radiographs of children
      description: All chest radiographs of the emergency department, reported by two radiologists.
      modality: [DX]
      body_part: chest
      country: Portugal
      period: 2018 to 2024"""


def of_dataset(home: Home, name: str, descriptions: Descriptions, versions: dict[str, int]) -> OfferContent:
    """What is to be signed.

    Raises:
        ConfigError: the data set is not described, or for a purpose that the site's policy does not allow.
        DataError: it cannot be counted.
    """
    dataset, path = home.settings.datasets[name], home.folder / "site.yaml"
    if (about := dataset.about) is None:
        raise ConfigError(
            f"{path}: datasets.{name} has no section `about`, and the catalogue needs a description. For example:\n"
            f"{EXAMPLE}"
        )
    purposes = _purposes(home, about)
    dataset = dataset.model_copy(update={"data": resolve_data(dataset.data, home.folder.resolve())})
    offer = _count(home, name, dataset, about, purposes)
    complete = Descriptions(
        descriptions.name or name,
        descriptions.title or about.title,
        descriptions.description or about.description,
        descriptions.contact or about.contact,
    )
    return offer_content(home.pins.federation, home.site, complete, offer, versions)


def _purposes(home: Home, about: DatasetDescription) -> tuple[str, ...]:
    allowed_purposes = set(home.settings.policy.purposes) & set(policy_store(home).newest().content.purposes)
    if strange := sorted(set(about.purposes or ()) - allowed_purposes):
        raise ConfigError(
            f"about.purposes: '{strange[0]}' is not among the purposes that this site allows "
            f"({', '.join(sorted(allowed_purposes)) or 'none'}): policy.purposes in site.yaml, and `client access "
            "show`."
        )
    return about.purposes if about.purposes is not None else tuple(sorted(allowed_purposes))


def _count(
    home: Home, name: str, dataset: SiteDataset, about: DatasetDescription, purposes: tuple[str, ...]
) -> DatasetOffer:
    table = open_table(dataset.data, home=home).of(home.site)
    if dataset.data.findings:
        raise CatalogueError("data.findings: several findings an image have no form in the catalogue yet.")
    division = splits.divide(table, dataset.sites, 1, dataset.data.on_error)
    if dataset.take is not None and dataset.take not in division.names:
        raise ConfigError(f"take is {dataset.take!r}, expected one of: {', '.join(division.names)}.")
    if dataset.take is None and len(division.names) > 1:
        raise CatalogueError(
            f"the data have {len(division.names)} sites; say with `take` which of them is this hospital: "
            f"{', '.join(division.names)}."
        )
    here = division.site == (division.names.index(dataset.take) if dataset.take else 0)
    counts = np.bincount(table.labels[here], minlength=len(table.classes))
    exact = about.counts == "exact"
    people = _people(table, np.flatnonzero(here).tolist())
    return DatasetOffer(
        dataset=name, modality=about.modality, body_part=about.body_part, country=about.country, period=about.period,
        conditions=about.conditions, purposes=purposes, labels=table.classes,
        cases=tuple(Span.of(int(count), exact=exact) for count in counts),
        people=None if people is None else Span.of(people, exact=exact),
        origin=dataset.origin,
    )  # fmt: skip


def _people(table: Table, cases: list[int]) -> int | None:
    """How many people the cases show; None where some name nobody."""
    patients = [table.patient[i] if table.patient else None for i in cases]
    return None if not all(patients) else len(set(patients))
