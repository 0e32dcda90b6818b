"""The index of a data set: which object is where in the packs, and which cases it has. It is encrypted like an image.

An object is what was one file: a de-identified DICOM file, or pixels. A case is an object, or a frame of it, with what
the hospital said of it. A case names its object by its place in the list, and what people read as `chest/17` is object
17 of the set `chest`. Import only adds, so that numbers stay; where a patient is taken out, the set is written again
(`rewriting`), and the objects behind move up.

Who reads and writes the file `index`, and against what it is checked: `encrypted_dataset`.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from client.sources.case_table import Split

# Options of DICOM PS3.15 Annex E: what de-identification leaves in where a hospital says so.
Option = Literal["patient", "device", "dates"]

OPTIONS: dict[Option, tuple[str, str]] = {
    "patient": ("113108", "Retain Patient Characteristics Option"),
    "device": ("113109", "Retain Device Identity Option"),
    "dates": ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
}
"""Codes and names of PS3.16, CID 7050."""


@dataclass(frozen=True)
class Object:
    """Where one object is."""

    id: str
    """Random: an object that was written and never counted cannot pass for the one that took its place."""
    pack: int
    offset: int
    length: int
    source: str
    """Keyed digest of what it was made from."""
    frame_facts: dict[str, Any] | None = None
    """Of pixels: what is known of all frames without decoding (`client.sources.image_cache`)."""


@dataclass(frozen=True)
class Case:
    """One case, as the hospital described it; the patient by pseudonym."""

    object: int
    label: str
    frame: int | None = None
    site: str | None = None
    patient: str | None = None
    split: Split | None = None


@dataclass
class Index:
    """All of a data set but the bytes of its objects."""

    retain: frozenset[Option] = frozenset()
    """What de-identification left in, of all images of the set alike."""
    packs: list[int] = field(default_factory=list)
    """Bytes of each pack that count."""
    first: int = 0
    """Number of the first of them: packs before it are of the set as it was before it was written again."""
    source_key: str = field(default="", repr=False)
    """What `Object.source` is made with, hexadecimal; empty: a key from the data key, as long as that is the first."""
    objects: list[Object] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    """Objects by their source."""
    case_by_frame: dict[tuple[int, int | None], Case] = field(default_factory=dict)
    """Cases by object and frame."""

    def add_object(self, entry: Object) -> int:
        """Add an object; its number."""
        self.numbers[entry.source] = len(self.objects)
        self.objects.append(entry)
        return len(self.objects) - 1

    def add_case(self, case: Case) -> None:
        """Add one case."""
        self.cases.append(case)
        self.case_by_frame[case.object, case.frame] = case

    def encode(self) -> bytes:
        """The index as JSON, to be sealed."""
        objects = [[o.id, o.pack, o.offset, o.length, o.source, o.frame_facts] for o in self.objects]
        cases = [[c.object, c.label, c.frame, c.site, c.patient, c.split] for c in self.cases]
        content_json = {"retain": sorted(self.retain), "packs": self.packs, "objects": objects, "cases": cases}
        content_json |= {"first": self.first, "source_key": self.source_key}
        return json.dumps(content_json, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes) -> "Index":
        """What `encode` made; it was authenticated before, so it is what this program wrote."""
        fields = json.loads(content)
        first, source_key = fields.get("first", 0), fields.get("source_key", "")
        index = cls(frozenset(fields["retain"]), list(fields["packs"]), first, source_key)
        for entry in fields["objects"]:
            index.add_object(Object(*entry))
        for case in fields["cases"]:
            index.add_case(Case(*case))
        return index
