"""Studies of a worklist from an archive into custody, one after the other. What does not arrive is named.

What arrives stays in memory until it is sealed. An image is known by its SOP Instance UID under the data set's key, so
what is in custody is not pulled again, whichever way it came.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from client.custody import import_workers, intake
from client.custody.dataset_writer import DatasetWriter
from client.custody.import_workers import IntakeResult
from client.custody.importer import COMMIT_S, Advance, ImportReport, ImportRequest, patient_of
from client.custody.intake import AlreadyStored, Intake
from client.custody.withdrawals import Withdrawals
from client.pacs.archive import Archive, SeriesChoice, study_of
from client.pacs.arrival_check import check_arrival
from client.pacs.pull_pace import PullPace
from client.pacs.pull_report import PullReport, StudyEntry
from client.pacs.worklist import Worklist
from client.readers import Frames
from client.readers.source import ImageBytes
from client.sources.case_row import CaseRow
from client.sources.case_table import Problem
from common.cli.harmless import legible
from common.errors import ImageError, PacsError

STRANGERS = 100
"""Objects beyond those that were asked for, after which no more of a series are taken."""
ATTEMPTS = 3
"""How often a study is asked for whose pull ends with the connection."""


@dataclass
class PacsFeed:
    """The cases of a worklist, as an import takes them."""

    archive: Archive
    name: str
    worklist: Worklist
    choice: SeriesChoice = field(default_factory=SeriesChoice)
    pace: PullPace = field(default_factory=PullPace)
    frames: Frames = "middle"
    patience_s: float = 120.0
    """How long an archive that went away is waited for, each time."""
    wait: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self.report = PullReport([StudyEntry(item) for item in self.worklist.items], self.worklist.problems)

    def cases(
        self, writer: DatasetWriter, request: ImportRequest, outcome: ImportReport, advance: Advance
    ) -> Iterator[tuple[CaseRow, IntakeResult]]:
        """Each image with what became of it.

        Raises:
            PacsError: the archive does not answer at all.
        """
        outcome.problems += self.worklist.problems
        outcome.unused += self.worklist.remarks
        self.archive.test()
        desk, pull = Intake(writer.store, request.allow_burned_in), _Pull(self, writer, outcome)
        for row, result in import_workers.take_all(desk, pull.rows(advance), request.processes, pull.is_in):
            pull.note(row, result)
            yield row, result


@dataclass
class _Pull:
    """One import's pulling: what is asked of the archive, and what is known of what came."""

    feed: PacsFeed
    writer: DatasetWriter
    outcome: ImportReport
    under_way: set[str] = field(default_factory=set)
    """Sources of images that are on their way into custody."""

    def __post_init__(self) -> None:
        self._withdrawals = Withdrawals(self.writer.store)
        self._entries = {entry.item.number: entry for entry in self.feed.report.entries}

    def rows(self, advance: Advance) -> Iterator[CaseRow | None]:
        """The images of all studies; None before a pause."""
        entries = self.feed.report.entries
        for number, entry in enumerate(entries):
            if pause := self.feed.pace.pause_s():
                yield from self._pause(pause)
            try:
                yield from self._study(entry)
            except _GoneError as gone:
                for each in entries[number:]:
                    self._miss(each, "unreachable", str(gone))
                    advance(len(entries))
                return
            entry.is_over = True
            advance(len(entries))

    def is_in(self, row: CaseRow) -> AlreadyStored | None:
        """Of an image that was not pulled, since it is in custody."""
        if isinstance(row.origin, ImageBytes) and not row.origin.content:
            return AlreadyStored(intake.source_of(self.writer.store, row.origin))
        return None

    def note(self, row: CaseRow, result: IntakeResult) -> None:
        """Write down what became of an image."""
        entry = self._entries[row.number or 0]
        if isinstance(result, ImageError):  # the import lists it among the problems
            entry.miss("burned-in" if result.is_burned_in else "damaged", str(result))
            return
        if self._withdrawals.bar(patient_of(row, result), result.source):
            entry.is_withdrawn = True
            return
        entry.in_custody.add(row.origin.identity if isinstance(row.origin, ImageBytes) else "")
        index = self.writer.index
        there = index.case_by_frame.get((index.numbers.get(result.source, -1), None))
        if there and there.label != row.label:
            entry.miss("label", f"an image of it is in custody as {there.label!r} and not {row.label!r}")

    def _miss(self, entry: StudyEntry, cause: str, what: str) -> None:
        entry.miss(cause, what)
        place = f"accession {legible(entry.item.accession)}"
        self.outcome.problems.append(Problem(place, entry.item.number, f"{cause}: {legible(what)}"))

    # --- one study ---

    def _study(self, entry: StudyEntry) -> Iterator[CaseRow | None]:
        """Its images. What ends the connection is tried again, when the archive answers again."""
        for attempt in range(ATTEMPTS):
            failures = list[PacsError]()
            yield from self._images(entry, failures)
            loss = next((error for error in failures if self._is_gone(error)), None)
            if loss is None or attempt == ATTEMPTS - 1:
                for error in failures:
                    is_half = error.cause == "unreachable" and self._answers()  # with this study alone it ends
                    self._miss(entry, "half" if is_half else error.cause, str(error))
                return
            yield None
            self._wait_for_archive(loss)

    def _images(self, entry: StudyEntry, failures: list[PacsError]) -> Iterator[CaseRow]:
        """The images of its series; where one of these fails, the others may come."""
        try:
            study, wanted_series = self._listing(entry)
        except PacsError as error:
            failures.append(error)
            return
        for series, images in wanted_series.items():
            try:
                yield from self._series(entry, study, series, images)
            except PacsError as error:
                failures.append(error)

    def _listing(self, entry: StudyEntry) -> tuple[str, dict[str, frozenset[str]]]:
        """The UID of a study, and the images of those of its series that are wanted."""
        archive = self.feed.archive
        study = study_of(archive, entry.item.accession, self.feed.name).uid
        if not (series := archive.series(study)):
            raise PacsError("half", f"{self.feed.name} lists the study, and none of its series")
        wanted_series = {
            one.uid: frozenset(archive.images(study, one.uid)) for one in series if self.feed.choice.takes(one)
        }
        images = sorted(uid for uids in wanted_series.values() for uid in uids)
        entry.images = {uid: number for number, uid in enumerate(images, start=1)}
        if not images:
            modalities = ", ".join(sorted({one.modality or "unknown" for one in series})) or "none"
            raise PacsError("no image", f"none of its series has images that are wanted (modalities: {modalities})")
        return study, wanted_series

    def _series(self, entry: StudyEntry, study: str, series: str, images: frozenset[str]) -> Iterator[CaseRow]:
        missing = {uid for uid in images if not self._has(uid)}
        yield from (
            self._row(entry, uid, b"") for uid in sorted(images - missing) if self._source(uid) not in self.under_way
        )
        if not missing:
            return
        asked_for, count = frozenset(missing), len(missing)
        arrivals = self.feed.archive.retrieve(study, series, asked_for, len(asked_for) == len(images))
        for number, one in enumerate(arrivals):
            if number >= count + STRANGERS:
                raise PacsError("wrong object", f"more than {number} objects came for {count} that were asked for")
            try:
                uid = check_arrival(one, study, asked_for)
            except PacsError as error:
                self._miss(entry, error.cause, str(error))
                continue
            if uid in missing:
                missing.remove(uid)
                self.under_way.add(self._source(uid))
                yield self._row(entry, uid, one.content)
        if missing:
            raise PacsError("half", f"{len(missing)} of {count} images of a series did not arrive, without an error")

    def _row(self, entry: StudyEntry, uid: str, content: bytes) -> CaseRow:
        """A case: an object as it came, or without content where it is in custody."""
        item = entry.item
        name = f"accession {item.accession}, image {entry.images[uid]} of {len(entry.images)}"
        return CaseRow(
            ImageBytes(Path(name), content, uid), item.label, item.number, split=item.split, frames=self.feed.frames
        )  # fmt: skip

    def _source(self, uid: str) -> str:
        return intake.source_of(self.writer.store, ImageBytes(Path(), b"", uid))

    def _has(self, uid: str) -> bool:
        source = self._source(uid)
        is_in = source in self.writer.index.numbers or source in self.under_way
        return is_in or self._withdrawals.bar(None, source)

    # --- waiting ---

    def _pause(self, pause_s: float) -> Iterator[None]:
        yield None
        if pause_s > COMMIT_S:
            self.writer.commit()
        self.feed.wait(pause_s)

    def _is_gone(self, error: PacsError) -> bool:
        return error.cause == "unreachable" or (error.cause == "timed out" and not self._answers())

    def _answers(self) -> bool:
        try:
            self.feed.archive.test()
        except PacsError:
            return False
        return True

    def _wait_for_archive(self, error: PacsError) -> None:
        """Until it answers again.

        Raises:
            _GoneError: it does not, for as long as there is patience.
        """
        self.writer.commit()
        waited_s, pause_s = 0.0, 0.5
        while not self._answers():
            if waited_s >= self.feed.patience_s:
                raise _GoneError(f"{error}; it was waited for {waited_s:.0f} s. Give the same command again later.")
            self.feed.wait(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(30.0, 2 * pause_s)


class _GoneError(Exception):
    """The archive does not come back: none of the other studies is asked for."""
