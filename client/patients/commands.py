"""The command `patients` of `python -m client`: find, remove, readmit, relabel."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from client.custody import lifecycle
from client.custody.dataset_version import dataset_version
from client.custody.key_ring import Custody
from client.home import Home, home_option
from client.pacs.open_archive import open_archive
from client.pacs.pacs_settings import read_one
from client.patients import backup_traces, cache_traces, model_traces
from client.patients import relabel as labels
from client.patients.backup_traces import BackupTraces
from client.patients.receipt import Receipt, refuse_inside
from client.patients.removal import remove
from client.patients.search import Match, People, search, studies
from common.cli import terminal
from common.cli.command import Command
from common.cli.progress import Watch
from common.errors import ConfigError

PATIENTS = """A patient withdraws, or a label was wrong.

  python -m client patients find                        what there is of them, and where
  python -m client patients remove --name chest         out of a data set (without --name: of all), for good
  python -m client patients remove --file list.txt --receipt /letters/may.json
  python -m client patients readmit --name chest        let them in again, at the next import
  python -m client patients relabel wrong.csv --name chest      path, patient or study; was; label
  python -m client patients relabel wrong.csv --name chest --from-pacs radiology      accession; was; label

Numbers are the hospital's own, as PACS or the list had them. They are asked for, or read from --file, one a line (-:
from standard input), and are never arguments: shells and process lists would keep them. Keep the file out of the site's
folder. Nothing of the numbers is written down; the log counts. docs/withdrawal.md says what goes, what stays, and how
the proof is checked without this program."""

ASKED = "Number (an empty line ends): "
STUDIES_SHOWN = 10


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, meaning in {
        "find": "what there is of patients", "remove": "take patients out", "readmit": "let patients in again",
    }.items():  # fmt: skip
        sub = actions.add_parser(action, help=meaning)
        sub.add_argument("--file", type=Path, metavar="LIST", help="numbers, one a line; - is standard input")
        sub.add_argument("--name", metavar="DATASET", help="of this data set alone")
        sub.add_argument("--studies", action="store_true", help="the numbers are StudyInstanceUIDs")
        if action != "readmit":
            sub.add_argument(
                "--cache", action="append", type=Path, default=[], metavar="DIR", help="a cache elsewhere, as well"
            )
        if action == "remove":
            sub.add_argument("--receipt", type=Path, metavar="FILE", help="codes for the patients' letters")
            sub.add_argument("--yes", action="store_true", help="without being asked")
        home_option(sub)
    sub = actions.add_parser("relabel", help="correct labels")
    sub.add_argument(
        "file", type=Path, metavar="FILE", help="a CSV: was, label, and one of path, patient, study, accession"
    )
    sub.add_argument("--from-pacs", metavar="PACS", help="accession: the archive that names their studies")
    sub.add_argument("--name", required=True, metavar="DATASET")
    home_option(sub)


def _run(options: argparse.Namespace) -> int:
    return {"find": _find, "remove": _remove, "readmit": _readmit, "relabel": _relabel}[options.action](options)


def _people(options: argparse.Namespace, home: Home) -> People:
    """The numbers, from a file, from standard input, or from whoever sits there."""
    if options.file and options.file != Path("-"):
        refuse_inside(path := options.file, home.folder, "a list of patients")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: expected text in UTF-8, a number a line.") from None
    elif options.file or not sys.stdin.isatty():
        lines = sys.stdin.read().splitlines()
    else:
        lines = list(iter(lambda: input(ASKED), ""))
    numbers = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not numbers:
        raise ConfigError("patients: no number was given; expected one a line, typed, in --file, or from a pipe.")
    return People("study" if options.studies else "patient", numbers)


def _find(options: argparse.Namespace) -> int:
    home = options.here
    custody, people = Custody(home), _people(options, home)
    matches = search(custody, people, options.name)
    options.act.facts |= {"people": len(people.numbers), "images": sum(len(match.numbers) for match in matches)}
    _show(home, matches, options)
    return _name_unknown(people, matches)


def _show(home: Home, matches: list[Match], options: argparse.Namespace) -> None:
    """What there is, where."""
    for match in matches:
        _show_dataset(match)
    for folder in cache_traces.folders(home, options.cache):
        traces = [cache_traces.look(folder, match.store, match.numbers) for match in matches if match.numbers]
        decoded, records = sum(t.decoded for t in traces), sum(t.records for t in traces)
        if decoded or records:
            print(f"cache {folder}: {decoded} decoded images, {records} prepared or embedded.")
    _show_backups(list(backup_traces.look(Custody(home), matches)))
    _show_other_data(home)
    print("\n".join(model_traces.words(model_traces.look(home, ((match.store, match.numbers) for match in matches)))))


def _show_dataset(match: Match) -> None:
    name, numbers = match.store.name, match.numbers
    if not numbers:
        print(f"data set {name}: nothing.")
        return
    objects = set(numbers)
    cases = [case for case in match.store.index.cases if case.object in objects]
    counts = Counter(f"{case.label}{f' in {case.split}' if case.split else ''}" for case in cases)
    text = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    version, people = dataset_version(match.store)[:16], match.person_count
    print(f"data set {name}, version {version}: {len(numbers)} images of {people} people")
    print(f"  cases: {text or 'none'}; images {', '.join(f'{name}/{number}' for number in numbers)}")
    if uids := sorted(studies(match.store, numbers)):
        more = f" and {len(uids) - STUDIES_SHOWN} more" if len(uids) > STUDIES_SHOWN else ""
        print(f"  studies, by pseudonym: {', '.join(uids[:STUDIES_SHOWN])}{more}")


def _show_backups(backups: list[BackupTraces]) -> None:
    for backup in backups:
        if backup.problem:
            print(f"backup {backup.place}: was not looked at: {backup.problem}")
            continue
        if backup.snapshots:
            print(f"backup {backup.place}: in the snapshots {', '.join(map(str, backup.snapshots))}. They go with:")
            print("  " + _way_out(backup))
        if backup.unreadable:
            print(
                f"backup {backup.place}: of the snapshots {', '.join(map(str, backup.unreadable))} it cannot be told: "
                "they are under keys from before `custody rotate`. Take it that they have some."
            )


def _way_out(backup: BackupTraces) -> str:
    place = terminal.word(backup.place.parent)
    prune = f"python -m client backup prune {place} --keep {max(backup.later, 1)}"
    return prune if backup.later else f"python -m client backup {place}   and then   {prune}"


def _show_other_data(home: Home) -> None:
    names = [
        name for name, dataset in home.settings.datasets.items() if dataset.data.kind not in ("encrypted", "synthetic")
    ]
    if names:
        print(
            f"not looked at: {', '.join(names)} of site.yaml, which is not in custody. Take the files out of the "
            "source yourself, and remove the cache that is made of it."
        )


def _name_unknown(people: People, matches: list[Match]) -> int:
    """Say by their place in the list whom nothing here knows: 1 if there is anybody."""
    places = [i + 1 for i in range(len(people.numbers)) if not any(match.is_known(i) for match in matches)]
    if places:
        print(
            f"nothing here is of number {', '.join(map(str, places))} of the list. Are they spelled as PACS, or the "
            "list that was imported, had them?"
        )
    return 1 if places else 0


# --- remove ---------------------------------------------------------------------------------------------------------


def _remove(options: argparse.Namespace) -> int:
    home = options.here
    custody, people = Custody(home), _people(options, home)
    if options.receipt:
        refuse_inside(options.receipt, home.folder, "a receipt")
        if options.receipt.exists():
            raise ConfigError(f"{options.receipt}: exists already, and a receipt is not written over.")
    matches = search(custody, people, options.name)
    matches = [match for match in matches if any(match.is_known(i) for i in range(len(people.numbers)))]
    images, status = sum(len(match.numbers) for match in matches), _name_unknown(people, matches)
    if not matches:
        options.act.facts |= {"people": 0, "images": 0}
        return status
    _show(home, matches, options)
    _confirm(options, images)
    names = [number for i, number in enumerate(people.numbers) if any(match.is_known(i) for match in matches)]
    receipt, caches = Receipt(names), cache_traces.folders(home, options.cache)
    with Watch(1.0, terminal.console(errors=True)) as watch:
        removals = remove(
            custody, matches, people, caches, lambda staying: watch.advance(1 / max(staying, 1), "writing again")
        )
    facts = {removal.name: removal.facts() for removal in removals}
    if options.receipt:
        receipt.write(options.receipt, home.site, round(time.time(), 3), facts)
    options.act.dataset = f"{removals[0].name} {removals[0].identity}" if len(removals) == 1 else ""
    options.act.facts |= {"people": len(names), "receipts": receipt.digest}
    options.act.facts |= {f"{name} {key}": value for name, fact in facts.items() for key, value in fact.items()}
    for removal in removals:
        print(
            f"{removal.name}: {removal.images} images are taken out, version {removal.version_before[:16]} before, "
            f"{removal.version[:16]} now; {removal.cache_files} files of caches removed."
        )
    print(
        "Restart `client run` where it runs, for nothing of them to be in its memory. Plans that were approved for the"
    )
    print("version before are not answered: approve anew those that have not begun, ask for new ones for the others.")
    return status


def _confirm(options: argparse.Namespace, images: int) -> None:
    if options.yes or not images:
        return
    if not sys.stdin.isatty():
        raise ConfigError("patients remove: nobody is there to be asked; nothing was done. Say --yes.")
    answer = f"remove {images}"
    if input(f"There is no way back. To take {images} images out, type `{answer}`: ").strip() != answer:
        raise ConfigError(f"patients remove: that was not `{answer}`; nothing was done.")


def _readmit(options: argparse.Namespace) -> int:
    home = options.here
    people = _people(options, home)
    matches = search(Custody(home), people, options.name)
    count = sum(match.withdrawals.lift(match.pseudonyms) for match in matches)
    options.act.facts |= {"people": len(people.numbers), "readmitted": count}
    print(f"{count} withdrawals are lifted: the next import takes their images in again.")
    return 0 if count else 1


def _relabel(options: argparse.Namespace) -> int:
    home = options.here
    custody = Custody(home)
    refuse_inside(options.file, home.folder, "a list of patients or files")
    folder = lifecycle.find(custody, options.name)
    corrections = labels.read(options.file)
    if options.from_pacs:
        with open_archive(read_one(home.folder, options.from_pacs)) as archive:
            corrections = labels.of_studies(options.file, corrections, archive, options.from_pacs)
    elif corrections[0].by == "accession":
        raise ConfigError(f"{options.file}: accession numbers are in no custody. Name the archive: --from-pacs PACS.")
    outcome = labels.relabel(custody, folder, options.file, corrections)
    options.act.dataset = options.name
    options.act.facts |= {
        "rows": outcome.rows, "cases": outcome.cases, "version before": outcome.version_before,
        "version": outcome.version,
    }  # fmt: skip
    print(
        f"{options.name}: {outcome.cases} cases have another label, by {outcome.rows} rows; version "
        f"{outcome.version_before[:16]} before, {outcome.version[:16]} now. Plans that were approved for the version "
        "before are not answered: approve anew those that have not begun."
    )
    return 0


GOES_ON = "every data set is as before or as after, and the same command goes on."

COMMANDS = {"patients": Command(PATIENTS, _arguments, _run, GOES_ON)}
