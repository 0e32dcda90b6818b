"""Which images of a data set are a patient's: by the case's pseudonym, or by that in the header of a DICOM file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from client import readers
from client.custody import lifecycle
from client.custody.encrypted_cases import EncryptedImage
from client.custody.encrypted_dataset import EncryptedDataset
from client.custody.key_ring import Custody
from client.custody.pseudonyms import Pseudonyms
from client.custody.withdrawals import Withdrawals

Kind = Literal["patient", "study"]
Objects = dict[str, tuple[int, ...]]
"""Numbers of objects, by the pseudonym of the patient, or of the study, to whom they belong."""


@dataclass(frozen=True)
class People:
    """Who is looked for: the hospital's own numbers, each a patient's or a study's."""

    kind: Kind
    numbers: tuple[str, ...] = field(repr=False)

    def pseudonyms(self, store: EncryptedDataset) -> tuple[str, ...]:
        """What they are called in a data set, in the same order."""
        names = Pseudonyms(store.secrets.pseudonyms)
        make = names.patient if self.kind == "patient" else names.uid
        return tuple(make(number.strip()) for number in self.numbers)


@dataclass(frozen=True)
class Match:
    """What one data set has of the people who are looked for."""

    store: EncryptedDataset
    pseudonyms: tuple[str, ...] = field(repr=False)
    objects: Objects = field(repr=False)
    withdrawals: Withdrawals = field(repr=False)

    @property
    def numbers(self) -> list[int]:
        """All objects, each once."""
        return sorted({number for numbers in self.objects.values() for number in numbers})

    @property
    def person_count(self) -> int:
        """How many of them have an image here."""
        return sum(bool(numbers) for numbers in self.objects.values())

    def sources(self) -> dict[str, tuple[str, ...]]:
        """Keyed digests of the files, by pseudonym: those that are here, and those that were taken out before."""
        entries = self.store.index.objects
        return {
            pseudonym: (*(entries[n].source for n in numbers), *self.withdrawals.sources(pseudonym))
            for pseudonym, numbers in self.objects.items()
        }

    def is_known(self, place: int) -> bool:
        """Whether the person of this place in the list has images here, or withdrew."""
        return bool(self.objects[self.pseudonyms[place]]) or self.pseudonyms[place] in self.withdrawals


def search(custody: Custody, people: People, dataset: str | None) -> list[Match]:
    """What the site's data sets, or one of them, have of these people.

    Raises:
        ConfigError: no such name, or no keys.
        CustodyError: no such data set, or one that is not what was stored last.
    """
    folders = [lifecycle.find(custody, dataset)] if dataset else lifecycle.data_sets(custody)
    return [match(EncryptedDataset.open(custody, folder), people) for folder in folders]


def match(store: EncryptedDataset, people: People) -> Match:
    """What one data set has of them."""
    pseudonyms = people.pseudonyms(store)
    return Match(store, pseudonyms, objects_of(store, pseudonyms, people.kind), Withdrawals(store))


def objects_of(store: EncryptedDataset, pseudonyms: Collection[str], kind: Kind) -> Objects:
    """The objects that belong to each of these people, or studies; every DICOM header is looked at."""
    owners = dict.fromkeys(pseudonyms, frozenset[int]())
    for number, names in _names(store, kind).items():
        for name in names & owners.keys():
            owners[name] |= {number}
    return {pseudonym: tuple(sorted(numbers)) for pseudonym, numbers in owners.items()}


def _names(store: EncryptedDataset, kind: Kind) -> Mapping[int, set[str]]:
    names: dict[int, set[str]] = {number: set() for number in range(len(store.index.objects))}
    for case in store.index.cases:
        if kind == "patient" and case.patient:
            names[case.object].add(case.patient)
    for number, entry in enumerate(store.index.objects):
        if entry.frame_facts is None:
            name = readers.belonging(EncryptedImage(store, number)).get(kind)
            names[number] |= {name} if name else set()
    return names


def studies(store: EncryptedDataset, numbers: Sequence[int]) -> set[str]:
    """Pseudonyms of the studies of these objects, as far as headers tell them."""
    names = (readers.belonging(EncryptedImage(store, number)).get("study") for number in numbers
             if store.index.objects[number].frame_facts is None)  # fmt: skip
    return {name for name in names if name}
