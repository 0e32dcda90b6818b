"""The command `pacs` of `python -m client`: the hospital's archives, and what they have."""

import argparse
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from client.home import home_option
from client.pacs.archive import Archive, StudyQuery, StudyRecord
from client.pacs.open_archive import open_archive
from client.pacs.pacs_settings import DimsePacs, parse_settings, read_all, read_one, write_one
from client.pacs.worklist import COLUMNS, Worklist, read_worklist
from common import config as configuration
from common.cli import terminal
from common.cli.command import Command
from common.cli.harmless import legible
from common.config import Manifest
from common.errors import ConfigError
from common.storage.files import replace
from common.storage.lent_path import LentPath
from common.trust.joining import checked_name

PACS = """The hospital's image archive (PACS): how it is reached, and what it has.

  python -m client pacs add radiology --ae ARCHIVE --host pacs.hospital --port 104 --our-ae CONSILIUM
  python -m client pacs add radiology --dicomweb https://pacs.hospital/dicom-web --token-file /etc/pacs.token
  python -m client pacs test radiology
  python -m client pacs find radiology --modality DX --dates 20240101-20241231 --description "*thorax*"
  python -m client pacs find radiology --worklist list.csv

`find` counts and lists, and stores nothing. Then: python -m client import --from-pacs radiology --worklist list.csv.
No secret is an argument: --token-file, --basic-file (`user:password`) and --tls-key name files that their owner alone
can read. docs/pacs.md goes through it."""

LISTED = 20


@dataclass(frozen=True)
class FoundStudy:
    """A study that was found, with the body parts of its series where they were asked for."""

    record: StudyRecord
    body_parts: tuple[str, ...] = ()


def series_options(parser: argparse.ArgumentParser) -> None:
    """Which series of a study are wanted."""
    parser.add_argument("--modality", default="", metavar="DX", help="only series of this modality")
    parser.add_argument("--body-part", default="", metavar="CHEST", help="only series of this part, or of none named")


def columns_of(text: str, names: Sequence[str] = COLUMNS) -> dict[str, str]:
    """`accession=Auftrag,label=Befund` as a mapping.

    Raises:
        ConfigError: it is none.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if strange := [name for name, _, word in pairs if name.strip() not in names or not word.strip()]:
        raise ConfigError(f"--columns {strange[0]}: expected {', '.join(f'{name}=NAME' for name in names)}.")
    return {name.strip(): word.strip() for name, _, word in pairs}


def worklist_of(
    path: Path, overrides: Sequence[str], columns: Mapping[str, str], labels: bool = True
) -> tuple[Manifest, Worklist]:
    """A worklist, and what `--data` says of its labels, findings, spelling, encoding and frames.

    Raises:
        ConfigError: a key that cannot be.
        DataError: no such list.
    """
    tree = {"kind": "manifest", "path": path, "on_error": "report"}
    for override in overrides:
        configuration.lay_over(tree, override)
    try:
        source = Manifest.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(configuration.readable(path, error, Manifest)) from None
    return source, read_worklist(source, columns, labels)


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="an archive, or another address of one that is there")
    add.add_argument("name", metavar="NAME", help="what it is called here")
    for option, meaning in (
        ("--ae", "its AE title"), ("--host", "where it is"), ("--port", "its port"),
        ("--our-ae", "the AE title that it knows this site by"),
        ("--our-port", "where this site listens while it pulls (11112)"),
        ("--listen", "the address of this machine to listen at (all)"),
        ("--senders", "other AE titles that may send, with commas between"),
        ("--dicomweb", "its address, in place of AE titles"),
        ("--token-file", "a file with a bearer token"), ("--basic-file", "a file with `user:password`"),
        ("--tls-ca", "the authority of its certificate"), ("--tls-cert", "this site's certificate"),
        ("--tls-key", "its key"), ("--timeout", "seconds without an answer, after which it hangs (30)"),
    ):  # fmt: skip
        add.add_argument(option, metavar=option.strip("-").upper(), help=meaning)
    find = actions.add_parser("find", help="count and list studies")
    find.add_argument("name", metavar="NAME")
    series_options(find)
    find.add_argument("--dates", default="", metavar="FROM-TO", help="20240101-20241231, or one day")
    find.add_argument("--description", default="", metavar="TEXT", help="of the study; * and ? stand for letters")
    find.add_argument("--worklist", type=Path, metavar="CSV", help="the studies of these accession numbers")
    find.add_argument("--columns", default="", metavar="A=B,…", help="what the list calls them: accession=Auftrag")
    test = actions.add_parser("test", help="ask whether it answers")
    test.add_argument("name", metavar="NAME")
    for each in (add, find, test, actions.add_parser("list", help="those that are there")):
        home_option(each)


def _run(options: argparse.Namespace) -> int:
    return {"add": _add, "list": _list, "test": _test, "find": _find}[options.action](options)


def _add(options: argparse.Namespace) -> int:
    keys = ("host", "port", "ae", "our_ae", "our_port", "listen", "token_file", "basic_file",
            "tls_ca", "tls_cert", "tls_key")  # fmt: skip
    tree = {key: value for key in keys if (value := getattr(options, key)) is not None}
    tree |= {key: str(_keep(options, key, tree[key])) for key in keys[6:] if key in tree}
    if options.timeout:
        tree["timeout_s"] = options.timeout
    if options.senders:
        tree["senders"] = [word.strip() for word in options.senders.split(",")]
    tree |= {"kind": "dicomweb", "url": options.dicomweb} if options.dicomweb else {"kind": "dimse"}
    settings = parse_settings(tree)
    path = write_one(options.here.folder, checked_name(options.name, "NAME"), settings)
    print(f"{options.name} is {settings.address}, in {path}. Next: python -m client pacs test {options.name}")
    if isinstance(settings, DimsePacs):
        print(f"Its administrator has to know {settings.our_ae}, this machine, port {settings.our_port}.")
        if not settings.tls_ca:
            print("What it sends goes over the network in the clear: --tls-ca, --tls-cert and --tls-key encrypt it.")
    return 0


def _keep(options: argparse.Namespace, key: str, path: Path | str) -> Path:
    """Where a certificate or a secret stays; one that came through the door is kept in the site's folder."""
    if not isinstance(path, LentPath):
        return Path(path).absolute()
    folder: Path = options.here.folder / "pacs"
    folder.mkdir(mode=0o700, exist_ok=True)
    replace(file := folder / f"{checked_name(options.name, 'NAME')}.{key}", path.read_bytes())
    return file.absolute()


def _list(options: argparse.Namespace) -> int:
    for name, settings in read_all(options.here.folder).items():
        print(f"{name}  {settings.address}  ({settings.kind})")
    return 0


def _test(options: argparse.Namespace) -> int:
    with open_archive(read_one(options.here.folder, options.name)) as archive:
        print(f"{options.name}: {archive.test()}.")
    print(f"Next: python -m client import --from-pacs {options.name} --worklist list.csv --name DATASET")
    return 0


def _find(options: argparse.Namespace) -> int:
    console = terminal.console()
    if options.dates and not re.fullmatch(r"\d{8}|\d{8}-(\d{8})?|-\d{8}", options.dates):
        raise ConfigError(f"--dates {options.dates}: expected 20240101-20241231, or one day.")
    with open_archive(read_one(options.here.folder, options.name)) as archive:
        if options.worklist:
            _, worklist = worklist_of(options.worklist, [], columns_of(options.columns), labels=False)
            return _compare(archive, options, worklist)
        words = options.description
        query = StudyQuery("", options.modality.upper(), options.dates,
                           words if not words or set("*?") & set(words) else f"*{words}*")  # fmt: skip
        studies = [match for one in archive.studies(query) if (match := _matching(archive, one, options))]
    console.print(_summary(studies), highlight=False)
    _show(studies, [])
    return 0


def _matching(archive: Archive, study: StudyRecord, options: argparse.Namespace) -> FoundStudy | None:
    """A study, if it has what is asked for; an archive may not have looked at it itself."""
    modality, part = options.modality.upper(), options.body_part.upper()
    if modality and study.modalities and modality not in study.modalities:
        return None
    if not part:
        return FoundStudy(study)
    parts = {one.body_part.upper() for one in archive.series(study.uid)}
    return FoundStudy(study, tuple(sorted(parts - {""}))) if part in parts else None


def _compare(archive: Archive, options: argparse.Namespace, worklist: Worklist) -> int:
    """What an archive has of a worklist; exit status 1 if something is missing."""
    studies, missing = list[FoundStudy](), [str(problem) for problem in worklist.problems]
    for item in worklist.items:
        matches = [one for one in archive.studies(StudyQuery(item.accession)) if one.accession == item.accession]
        if len(matches) == 1 and (match := _matching(archive, matches[0], options)):
            studies.append(match)
        else:
            why = "not found" if not matches else "ambiguous" if len(matches) > 1 else "no series that is wanted"
            missing.append(f"row {item.number}: accession {item.accession}: {why}")
    print(f"{len(studies)} of {len(worklist.items) + len(worklist.problems)} rows: ", end="")
    terminal.console().print(_summary(studies), highlight=False)
    _show(studies, missing)
    return 1 if missing else 0


def _summary(studies: Sequence[FoundStudy]) -> str:
    images = sum(one.record.images or 0 for one in studies)
    unknown = sum(one.record.images is None for one in studies)
    kinds = Counter(modality for one in studies for modality in one.record.modalities)
    years = Counter(one.record.date[:4] or "no date" for one in studies)
    parts = [f"{len(studies)} studies", f"{images} images" + f" ({unknown} studies do not say)" * bool(unknown)]
    for counts in (kinds.most_common(), sorted(years.items())):
        parts += [", ".join(f"{number} {name}" for name, number in counts)] * bool(counts)
    return "; ".join(parts) + "."


def _show(studies: Sequence[FoundStudy], missing: Sequence[str]) -> None:
    console = terminal.console()
    for line in terminal.first(missing, console, LISTED):
        console.print(f"missing  {line}", highlight=False)
    sheet = terminal.Sheet("accession", "date", "modalities", "images", "description", prose=("description",))
    for row in _rows(studies if not console.is_terminal else studies[:LISTED]):
        sheet.add(*row)
    if studies:
        console.print(sheet)
    if console.is_terminal and len(studies) > LISTED:
        console.print(f"and {len(studies) - LISTED} more; to a file all are written")


def _rows(studies: Sequence[FoundStudy]) -> Iterator[tuple[str, ...]]:
    for one in studies:
        study = one.record
        modalities = "/".join(study.modalities) + "".join(f" {part}" for part in one.body_parts)
        images = "" if study.images is None else str(study.images)
        yield tuple(map(legible, (study.accession, study.date, modalities, images, study.description)))


COMMANDS = {"pacs": Command(PACS, _arguments, _run)}
