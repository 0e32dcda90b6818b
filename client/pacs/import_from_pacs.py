"""The command `import` of `python -m client`: of files, or of a worklist's studies from the hospital's archive."""

import argparse
from pathlib import Path

from client.custody import import_images
from client.pacs.commands import columns_of, series_options, worklist_of
from client.pacs.open_archive import open_archive
from client.pacs.pacs_settings import read_one
from client.pacs.pull_pace import PullPace, parse_hours
from client.pacs.pull_report import PullReport
from client.sources import csv_list
from common.cli import terminal
from common.cli.command import Command
from common.errors import ConfigError
from common.storage import tensorfile

FROM_PACS = """

  python -m client import --from-pacs radiology --worklist list.csv --name chest

From the hospital's archive (`python -m client pacs add`): LIST has the columns accession and label. Every study that
did not arrive, or not whole, is named with its cause, here and in the report beside the list; docs/pacs.md."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    import_images.arguments(parser)
    add = parser.add_argument_group("from an archive").add_argument
    add("--from-pacs", metavar="PACS", help="one that `pacs add` added")
    add("--worklist", type=Path, metavar="CSV", help="accession numbers with labels")
    add("--columns", default="", metavar="A=B,…", help="what a list calls its columns: path=Datei,label=Befund")
    series_options(parser)
    add("--rate", type=float, default=0.0, metavar="N", help="at most N studies a minute")
    add("--hours", default="", metavar="20-06", help="only in these hours; in others it waits")
    add("--patience", type=float, default=120.0, metavar="S", help="how long an archive that went away is waited for")
    add("--report", type=Path, metavar="FILE", help="what became of each study (beside the list: LIST.report.csv)")


def _run(options: argparse.Namespace) -> int:
    if options.from_pacs is None:
        if options.worklist:
            raise ConfigError("--worklist: expected --from-pacs NAME with it.")
        options.data += [
            f"columns.{name}={heading}" for name, heading in columns_of(options.columns, csv_list.COLUMNS).items()
        ]
        return import_images.run(options)
    if options.source or options.labels:
        raise ConfigError("--from-pacs: expected no SOURCE beside it; the worklist has what is wanted.")
    if options.worklist is None:
        raise ConfigError("--from-pacs: expected --worklist CSV, with accession numbers and labels.")
    from client.pacs.archive import SeriesChoice
    from client.pacs.pull import PacsFeed

    settings = read_one(options.home, options.from_pacs)
    pace = PullPace(options.rate, parse_hours(options.hours))
    source, worklist = worklist_of(options.worklist, options.data, columns_of(options.columns))
    report_path = options.report or options.worklist.with_name(f"{options.worklist.name}.report.csv")
    with open_archive(settings) as archive:
        feed = PacsFeed(
            archive, options.from_pacs, worklist, SeriesChoice(options.modality, options.body_part), pace,
            source.frames, options.patience,
        )  # fmt: skip
        try:
            status = import_images.take_in(options, feed)
        finally:
            tensorfile.write_atomically(report_path, feed.report.as_csv(), mode=0o600)
    _show(feed.report, report_path)
    counts = feed.report.counts()
    return status or int(counts["complete"] + counts["withdrawn"] != len(feed.report.entries))


def _show(report: PullReport, path: Path) -> None:
    console = terminal.console()
    counts = ", ".join(f"{number} {state}" for state, number in report.counts().most_common())
    causes = ", ".join(f"{number} {cause}" for cause, number in report.causes().most_common())
    console.print(f"studies: {counts}{f' (causes: {causes})' * bool(causes)}. All of them: {path}", highlight=False)


COMMANDS = {"import": Command(import_images.IMPORT + FROM_PACS, _arguments, _run, import_images.GOES_ON)}
