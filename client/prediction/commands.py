"""The command that runs a shared model on this hospital's own images."""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from client.home import home_option
from client.plans import own_layers
from client.prediction import inputs, outcome_table, trust
from client.prediction.inputs import Image
from client.prediction.outcome import Failure, Outcome, blindness, outcomes, warning
from client.prediction.outcome_table import OutcomeRow
from client.readers import Frames
from common.cli import terminal
from common.cli.command import Command
from common.cli.progress import Watch
from common.models import Model
from common.package import ModelPackage, PackageContent, package_file
from common.storage import tensorfile

if TYPE_CHECKING:
    from client.prediction.results_to_pacs import ResultQueue

PREDICT = """Run a shared model on images of this hospital. Nothing leaves this machine.

  python -m client predict demo.consilium chest.dcm
  python -m client predict demo.consilium /export/chest --csv answers.csv --no-pictures
  python -m client predict demo.consilium chest/17 --home site       (of an encrypted data set)

IMAGE is a DICOM, PNG, JPEG or TIFF file, a folder of such, an .npz with images, or an encrypted data set. For each:
the answer, its probability, how often validation cases that were scored like it were so, a warning where the image
is unlike those of the training, and a picture of what spoke for the answer (in --out).

With --to-pacs NAME answers go into the study of each image in the hospital's archive, as a Structured Report and, for
each picture, a Secondary Capture: only into one that the site's policy names. IMAGE is then a DICOM file with its
identity. docs/pacs.md.

A package is used when its publisher is trusted: the consortium that this site joined, or one whose fingerprint was
compared once (--publisher "12345 …"). docs/sharing.md says what the figures mean. Exit status: 1 if some image could
not be used. Research software, not a medical device."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a package: NAME.consilium")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file, a folder, an .npz, or SET/17")
    parser.add_argument("--frames", type=_frames, default="middle", metavar="F",
                        help="of a file with several: first, middle, all, or a number from 0 (middle)")  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="for pictures (predictions)"
    )
    parser.add_argument("--no-pictures", action="store_true", help="answers alone, which is much faster")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all answers as CSV; it has the images' names")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the same as JSON, with the model's digest")
    parser.add_argument("--publisher", metavar="DIGITS", help="the publisher's fingerprint, as it was read out")
    parser.add_argument("--trusted", type=Path, default=trust.PUBLISHERS_FILE, metavar="FILE",
                        help=f"where compared fingerprints are remembered ({trust.PUBLISHERS_FILE})")  # fmt: skip
    parser.add_argument(
        "--to-pacs", metavar="PACS", help="send the answers into the images' studies: a report, pictures"
    )
    home_option(parser)


def _frames(word: str) -> Frames:
    if word in ("first", "middle", "all"):
        return word  # type: ignore[return-value]
    if word.isdecimal():
        return int(word)
    raise argparse.ArgumentTypeError(f"{word!r}: expected first, middle, all, or a number from 0")


def _predict(options: argparse.Namespace) -> int:
    console = terminal.console()
    package = package_file.read_package(options.model)
    why = trust.settle(package, options.home, options.publisher, options.trusted)
    console.print(Text.assemble((package.content.name, "bold"), f": {why}."))
    package = own_layers.completed(package, options.here)
    images = inputs.images(options.images, options.here, options.frames)
    model = package.model()
    if remark := blindness(package.content):
        console.print(Text(remark, "yellow"))
    out = None if options.no_pictures else options.out
    with _queue(options, package, images) as queue:
        answers = _run(package, model, images, out, console, queue)
        if queue:
            queue.send()
            console.print(f"{queue.sender.objects} objects sent to {options.to_pacs}.", highlight=False)
            answers.unwritten += [f"to {options.to_pacs}: {failure}" for failure in queue.failures]
    _show(answers.rows, answers.failures, console)
    if options.csv:
        answers.write(options.csv, outcome_table.as_csv(answers.rows))
    if options.json:
        report = {
            "model": package.content.name,
            "digest": package.digest,
            "answers": [row.values for row in answers.rows],
            "failures": [{"image": f.name, "why": f.why} for f in answers.failures],
        }
        answers.write(options.json, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())
    for problem in answers.unwritten:
        print(f"not written: {problem}", file=sys.stderr)
    return 1 if answers.failures or answers.unwritten else 0


@contextmanager
def _queue(
    options: argparse.Namespace, package: ModelPackage, images: Sequence[Image]
) -> Iterator["ResultQueue | None"]:
    """For results that go to an archive, which has to be there and allowed before the model runs."""
    if options.to_pacs is None:
        yield None
        return
    from client.pacs.send_results import ResultSender, permitted_archive
    from client.prediction.results_to_pacs import ResultQueue, identity_of

    with ResultSender(permitted_archive(options.home, options.to_pacs), identity_of(package)) as sender:
        sender.test()
        yield ResultQueue(sender, images, options.frames)


@dataclass
class _Answers:
    """What came of it. An answer is not lost because something cannot be written."""

    rows: list[OutcomeRow] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file, or note why not."""
        try:
            tensorfile.write_atomically(path, content)
        except OSError as error:
            self.unwritten.append(f"{path}: {error.strerror}.")

    def write_picture(self, path: Path, content: bytes) -> None:
        """Write one picture; where that fails, none is written any more."""
        if self.unwritten:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            self.unwritten.append(
                f"{path}: cannot be written ({error.strerror}). Choose another place with --out. No more pictures were "
                "drawn."
            )


def _run(
    package: ModelPackage,
    model: Model,
    images: Sequence[Image],
    out: Path | None,
    console: Console,
    queue: "ResultQueue | None",
) -> _Answers:
    answers = _Answers()
    with Watch(len(images), console) as watch:
        number = 0
        for result in outcomes(package, model, images):
            is_another_image = isinstance(result, Failure) or not result.finding
            number += is_another_image
            if isinstance(result, Failure):
                answers.failures.append(result)
            else:
                content = package.content if result.finding is None else package.content.of_finding(result.finding)
                unlike = warning(content, result)
                answers.rows.append(outcome_table.row(content, result, unlike))
                is_said = result.finding is None or result.answer == 1  # of what is not there nothing is drawn
                picture = None
                if out is not None and is_said and (queue or not answers.unwritten):
                    title = "" if queue else Path(result.name).name  # no name of a file into the archive's picture
                    picture = _draw(package, content, model, result, unlike, title)
                    answers.write_picture(out / f"{number:04d}-{_stem(content, result)}.png", picture)
                if queue:
                    queue.add(content, result, unlike, picture)
            if is_another_image:
                watch.advance(1, f"{number} of {len(images)} images")
    return answers


def _stem(content: PackageContent, outcome: Outcome) -> str:
    """A picture's name: the image's, and of several findings the finding's."""
    name = Path(outcome.name).name if outcome.finding is None else f"{Path(outcome.name).name}-{content.labels[1]}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80]


def _draw(
    package: ModelPackage, content: PackageContent, model: Model, outcome: Outcome, unlike: str, title: str
) -> bytes:  # fmt: skip
    from client.prediction import drawing  # matplotlib takes a while, and so does scipy
    from client.prediction.evidence import evidence_of

    evidence = evidence_of(package, model, outcome)
    return drawing.draw(outcome, evidence, content, unlike, title)


def _show(rows: Sequence[OutcomeRow], failures: Sequence[Failure], console: Console) -> None:
    most = outcome_table.MOST_ROWS if console.is_terminal else len(rows)
    if rows:
        console.print(outcome_table.table(rows[:most]))
    if len(rows) > most:
        console.print(f"… and {len(rows) - most} more; --csv FILE writes all of them.", highlight=False)
    for failure in failures:
        print(f"not used: {failure.name}: {failure.why}", file=sys.stderr)
    findings = len({row.values["finding"] for row in rows if "finding" in row.values})
    summary = f"{len(rows) // (findings or 1)} images answered"
    summary += f", each for {findings} findings" if findings else ""
    summary += f", {len(failures)} not used" if failures else ""
    console.print(f"{summary}. Research software, not a medical device.", highlight=False)


COMMANDS = {"predict": Command(PREDICT, _arguments, _predict)}
