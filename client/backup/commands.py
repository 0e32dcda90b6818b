"""The commands `backup` and `restore` of `python -m client`."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from client.backup import create, drill, known_backups, restore, unlock, verify
from client.backup.repository import BackupRepository
from client.custody.key_ring import Custody
from client.home import Home, home_option
from common.cli import terminal
from common.cli.command import Command
from common.cli.progress import Watch
from common.errors import ConfigError

BACKUP = """Back up the site's folder to another disk or a share: encrypted, incremental, every byte checked.

  python -m client backup /media/safe                 a new snapshot; only what changed is written
  python -m client backup list /media/safe
  python -m client backup verify /media/safe          read everything, and compare all hashes
  python -m client backup drill /media/safe           restore into a scratch folder, open images and models, report
  python -m client backup prune /media/safe --keep 5  remove all snapshots but the newest five

Whoever finds the disk can read nothing of it: the site's key opens it, or the recovery key. What secure aggregation
must do once is never in a backup. docs/backup.md says what is in it, and what is noticed."""

RESTORE = """Bring a site's folder back from a backup.

  python -m client restore /media/safe --home site --recovery /media/usb/lisbon.recovery
  python -m client restore /media/safe --home new --from site            while the old folder's keys are there

The folder must be empty; killed, the same command goes on. The site then has new keys, as after `rekey`, and its
request is to be admitted by the coordinator (--new-keys); plans that were made before are over here."""

ACTIONS = ("list", "verify", "drill", "prune")


class _Words(argparse.Action):
    """`DEST`, or `ACTION DEST`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        words: Sequence[str] = values
        if len(words) > 2 or (len(words) == 2 and words[0] not in ACTIONS):
            parser.error(f"expected DEST, or one of {', '.join(ACTIONS)} and DEST; got: {' '.join(words)}")
        namespace.action = words[0] if len(words) == 2 else None
        namespace.dest = Path(words[-1])


def _backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", action=_Words, metavar="[ACTION] DEST", help="list, verify, drill or prune")
    parser.add_argument("--anew", action="store_true", help="though snapshots that this site made here are gone")
    parser.add_argument("--snapshot", type=int, metavar="N", help="drill: of another one than the newest")
    parser.add_argument("--keep", type=int, metavar="N", help="prune: how many")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="drill: where there is room for all of it")
    home_option(parser)


def _backup(options: argparse.Namespace) -> int:
    home = options.here
    custody = Custody(home)
    if options.action is None:
        return _take(custody, options)
    repository = unlock.open_backup(custody, unlock.backup_folder(options.dest))
    return {"list": _list, "verify": _verify, "drill": _drill, "prune": _prune}[options.action](
        repository, custody, options
    )


def _watch(total: int) -> Watch:
    return Watch(max(total, 1), terminal.console(errors=True))


def _take(custody: Custody, options: argparse.Namespace) -> int:
    options.dest.mkdir(parents=True, exist_ok=True)
    if options.dest.resolve().is_relative_to(options.home.resolve()):
        raise ConfigError(f"{options.dest}: is in the site's folder. A backup belongs on another disk.")
    repository = unlock.open_or_begin(custody, options.dest, options.anew)
    with _watch(create.size_bytes(custody)) as watch:
        report = create.run(
            custody, repository, anew=options.anew, progress=lambda size: watch.advance(size, "backing up")
        )  # fmt: skip
    options.act.facts |= {
        "snapshot": report.number, "files": report.files, "bytes": report.read_bytes, "written": report.written_bytes,
        "left out": len(report.problems),
    }  # fmt: skip
    for problem in report.problems:
        print(f"left out  {problem}")
    print(
        f"Snapshot {report.number} in {repository.folder}: {report.files:,} files, {report.read_bytes / 1e6:,.1f} MB, "
        f"of which {report.written_bytes / 1e6:,.1f} MB were written."
    )
    return 1 if report.problems else 0


def _list(repository: BackupRepository, custody: Custody, options: argparse.Namespace) -> int:
    for number in repository.numbers():
        snapshot = repository.snapshot(number)
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(snapshot.at_s))
        omissions = f", {len(snapshot.left_out)} left out" if snapshot.left_out else ""
        print(
            f"{number}: {when} UTC, {len(snapshot.files):,} files, {snapshot.size / 1e6:,.1f} MB, data sets: "
            f"{', '.join(snapshot.sets()) or 'none'}{omissions}"
        )
    if problem := known_backups.rollback_evidence(custody, repository):
        print(problem)
    return 1 if problem else 0


def _verify(repository: BackupRepository, custody: Custody, options: argparse.Namespace) -> int:
    with _watch(verify.size_bytes(repository)) as watch:
        damaged = list(verify.verify(repository, custody, lambda size: watch.advance(size, "verifying")))
    options.act.facts |= {"snapshots": len(repository.numbers()), "problems": len(damaged)}
    for what in damaged:
        print(what)
    print(f"{repository.folder}: {len(repository.numbers())} snapshots read, {len(damaged)} problems.")
    return 1 if damaged else 0


def _drill(repository: BackupRepository, custody: Custody, options: argparse.Namespace) -> int:
    numbers = repository.numbers()
    total = repository.snapshot(options.snapshot or numbers[-1]).size if numbers else 0
    with _watch(3 * total) as watch:  # restored, compared, decrypted
        report = drill.run(
            repository,
            custody,
            options.snapshot,
            options.scratch,
            lambda size: watch.advance(size, "drill"),
        )
    path = drill.write(report, custody.home, time.time())
    options.act.facts |= {"snapshot": report.snapshot, "hashes": report.hashes, "problems": len(report.problems)}
    print(f"{report.text()}The report, signed by this site: {path}")
    return 1 if report.problems else 0


def _prune(repository: BackupRepository, custody: Custody, options: argparse.Namespace) -> int:
    if not options.keep or options.keep < 1:
        raise ConfigError("backup prune: --keep N says how many snapshots stay; expected 1 or more.")
    removed, freed = verify.prune(repository, custody, options.keep)
    options.act.facts |= {"removed": removed, "kept": options.keep}
    print(f"{removed} snapshots removed, {freed / 1e6:,.1f} MB freed.")
    return 0


# --- restore --------------------------------------------------------------------------------------------------------


def _restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dest", type=Path, metavar="DEST", help="where the backup is")
    parser.add_argument("--snapshot", type=int, metavar="N", help="which (default: the newest)")
    keys = parser.add_mutually_exclusive_group(required=True)
    keys.add_argument("--recovery", type=Path, metavar="FILE", help="the recovery key")
    keys.add_argument("--from", dest="old", type=Path, metavar="DIR", help="the site's old folder, for its keys")
    parser.add_argument("--leave-out-damaged", action="store_true", help="finish without what the backup has damaged")
    parser.add_argument("--contact", default="", metavar="TEXT", help="whom the coordinator can telephone")
    home_option(parser)


def _restore(options: argparse.Namespace) -> int:
    place = unlock.backup_folder(options.dest)
    if options.recovery:
        home, repository = options.here, unlock.open_by_recovery_key(place, options.recovery)
    else:
        home = options.here.copied_to(options.home)
        repository = unlock.open_backup(Custody(options.here), place)
    numbers = repository.numbers()
    total = repository.snapshot(options.snapshot or numbers[-1]).size if numbers else 0
    with _watch(total) as watch:
        report = restore.run(
            repository, home, options.snapshot, options.contact, leave_out=options.leave_out_damaged,
            progress=lambda size: watch.advance(size, "restoring"),
        )  # fmt: skip
    for problem in report.problems:
        print(f"damaged  {problem}")
    if not (home.folder / restore.LAST).exists():
        print(
            "All that is whole in the backup is written, and it is no site yet. Mend the backup and give the command "
            "again, or finish without what is damaged: --leave-out-damaged."
        )
        return 1
    _say(report, home)
    return 1 if report.problems else 0


def _say(report: restore.RestoreReport, home: Home) -> None:
    print(
        f"Snapshot {report.number} is restored to {home.folder}: {report.files:,} files, {report.bytes / 1e6:,.1f} MB."
    )
    for name, version in report.sets.items():
        print(f"  data set {name}, version {version} from now on")
    for name, images in report.withdrawn.items():
        print(
            f"WITHDRAWN  data set {name} has {images:,} image{'s' * (images > 1)} again of patients who withdrew after "
            "this snapshot.\n  Take them out before all else: python -m client patients remove, with the same list."
        )
    print(
        f"This site has new keys. Send {home.folder / (home.site + '.request')} to the coordinator, who admits it with "
        "--new-keys,\nand join with what comes back. Plans from before are over here."
    )


GOES_ON = "older snapshots are whole, and the same command goes on from what is written."

COMMANDS = {
    "backup": Command(BACKUP, _backup_arguments, _backup, GOES_ON),
    "restore": Command(RESTORE, _restore_arguments, _restore, "the same command goes on."),
}
