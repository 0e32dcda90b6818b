"""The commands that keep the coordinator's folder elsewhere: backup, drill, restore."""

import argparse
import time
from pathlib import Path

from common.cli.command import Command
from common.errors import ConfigError
from server.backup import folder as backup
from server.consortium.arguments import add_home
from server.consortium.home import Home

BACKUP = """Write the coordinator's folder into one sealed file; the processes may go on meanwhile.

  python -m server backup /media/safe --recovery /media/usb/pilot.recovery      the first time
  python -m server backup /media/safe --keep 30

The recovery key opens all backups, and nothing else does: put it away, and not beside them. A root key that lies in the
folder is in the backup too, under its passphrase if it has one."""

DRILL = """Rehearse a restoration: the newest backup is opened, verified byte by byte, restored into a scratch folder
and examined (settings, signatures, log, every plan); the folder is removed then.

  python -m server drill /media/safe
  python -m server drill /media/safe/pilot-000007.backup --recovery /media/usb/pilot.recovery"""

RESTORE = """Make the coordinator's folder again, from the newest backup or the one named.

  python -m server restore /media/safe --recovery /media/usb/pilot.recovery --home consortium

No site needs new keys. What happened since the backup is not known any more: runs that went on then are ended, the next
roster has a version above all that sites may have seen, and each site accepts the shorter log (docs/backup.md)."""


def _backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dest", type=Path, metavar="DEST", help="a folder on another disk")
    parser.add_argument("--recovery", type=Path, metavar="FILE", help="where the recovery key goes, the first time")
    parser.add_argument("--keep", type=int, metavar="N", help="remove all backups here but the newest so many")
    add_home(parser)


def _backup(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    if options.keep is not None and options.keep < 1:
        raise ConfigError(f"--keep {options.keep}: expected 1 at least.")
    report = backup.write(home, options.dest, backup.key_of(home, options.recovery, options.dest))
    options.act.facts |= {"files": report.files, "bytes": report.size_bytes}
    print(f"{report.path}: {report.files:,} files, {report.size_bytes / 1e6:,.1f} MB.")
    if options.keep:
        for path in backup.backups(options.dest, home.settings.consortium)[: -options.keep]:
            path.unlink()
            print(f"{path}: removed.")
    return 0


def _restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="BACKUP", help="a backup, or the folder whose newest is meant")
    parser.add_argument("--recovery", type=Path, metavar="FILE", required=True, help="the recovery key")
    add_home(parser)


def _restore(options: argparse.Namespace) -> int:
    report = backup.restore(_newest(options.source), backup.read_key(options.recovery), options.home)
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.about["at_s"]))
    print(f"{options.home}: {report.files:,} files of {day}. Then, in this order:")
    print("  python -m server renew                    a roster above all that sites may have seen")
    print("  python -m server start                    at another address: first python -m server move")
    print("Sites have seen more of the log than there is now, and answer no plan. Telephone each: it says how many")
    print("entries it was shown (python -m client witness), and you read out the root of these: python -m server audit")
    print("verify --at N. There: python -m client witness --accept ROOT")
    return 0


def _drill_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="BACKUP", help="a backup, or the folder whose newest is meant")
    parser.add_argument("--recovery", type=Path, metavar="FILE", help="the recovery key (the folder's own)")
    add_home(parser)


def _drill(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    began = time.perf_counter()
    key = backup.read_key(options.recovery or home.folder / "backup.key")
    with backup.unpacked_backup(_newest(options.source), key) as (scratch, report):
        seconds, problems = time.perf_counter() - began, backup.examine(scratch, home.folder)
        same = backup.unchanged(scratch, home)
    options.act.facts |= {"files": report.files, "problems": len(problems)}
    print(f"{report.path}: {'passed' if not problems else 'FAILED'}. {report.files:,} files, "
          f"{report.size_bytes / 1e6:,.1f} MB, opened in {seconds:.1f} s; {same:,} are the same here now.")  # fmt: skip
    for problem in problems:
        print(f"  {problem}")
    return 1 if problems else 0


def _newest(source: Path) -> Path:
    if not source.is_dir():
        return source
    if not (there := backup.backups(source)):
        raise ConfigError(f"{source}: holds no backup of a coordinator.")
    return there[-1]


COMMANDS = {
    "backup": Command(BACKUP, _backup_arguments, _backup),
    "drill": Command(DRILL, _drill_arguments, _drill),
    "restore": Command(RESTORE, _restore_arguments, _restore),
}
