"""Which code this is: a plan names what decides its numbers, and a site runs nothing else than its own installed code.

What binds is the code that decides the numbers (`DECIDING`), without comments, docstrings and blank lines. Two releases
in which it is the same train together, whatever else differs. So do two of which it was found that they give the same
bits though it differs: `releases.csv` has the number of the implementation that each release has.
"""

import ast
import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

VERSION = "0.3.0"
ROOT = Path(__file__).parents[2]
RELEASES = "common/trust/releases.csv"

DECIDING = (
    "common/algorithms", "common/config", "common/encoders", "common/imaging", "common/messages", "common/metrics",
    "common/models", "common/plans", "common/plugins", "common/privacy", "common/secagg",
    "common/storage/tensorfile.py",
    "common/trust/codec.py", "common/trust/documents.py", "common/trust/keys.py", "common/trust/roster.py",
    "common/image_stack.py", "common/types.py", "client/custody/encrypted_cases.py", "client/dataset",
    "client/privacy", "client/readers", "client/sources", "client/training",
)  # fmt: skip
"""Protocol, models, preprocessing, solver, and how a site's images become cases."""
BESIDE = (
    "client/dataset/commands.py", "client/dataset/preview.py", "client/dataset/readiness.py",
    "client/dataset/readiness_report.py", "client/privacy/commands.py", "client/sources/download.py",
    "client/sources/scanner_shift.py", "client/sources/thumbnail.py", "client/training/personalise.py",
    "client/training/simulated_site.py", "client/training/solved_alone.py", "common/plans/plan_page.py",
    "common/plans/simulated_run.py",
)  # fmt: skip
"""What lies in these rooms and decides nothing of a plan's run: what is shown, and what a simulation does besides."""


@dataclass(frozen=True)
class ReleaseRow:
    """One row of `releases.csv`."""

    version: str
    implementation: int
    """Releases of one number give the same bits, and understand each other's plans and messages."""
    code: str
    """Its own digest, 64 hexadecimal digits."""


def code_digest(root: Path = ROOT) -> str:
    """The digest that plans name: of this code, or of the first release that gives the same bits; 64 hex digits."""
    return next((one.code for one in _of_one_implementation(root)), own_digest(root))


def works_with(root: Path = ROOT) -> tuple[str, ...]:
    """The releases with which this one trains, itself among them, as far as it knew of them when it was made."""
    return tuple(one.version for one in _of_one_implementation(root)) or (VERSION,)


def _of_one_implementation(root: Path) -> list[ReleaseRow]:
    code, table = own_digest(root), releases(root)
    numbers = {one.implementation for one in table if one.code == code}
    return [one for one in table if one.implementation in numbers]


def releases(root: Path = ROOT) -> tuple[ReleaseRow, ...]:
    """All releases since the first that knew of implementations, the oldest first."""
    with (root / RELEASES).open(encoding="utf-8", newline="") as file:
        return tuple(
            ReleaseRow(row["release"], int(row["implementation"]), row["code"]) for row in csv.DictReader(file)
        )


@lru_cache(maxsize=2)
def own_digest(root: Path = ROOT) -> str:
    """SHA-256 over names and contents of the files that decide the numbers, as 64 hexadecimal digits.

    The same on every Python, and whatever ends a checkout gave the lines.
    """
    sha = hashlib.sha256()
    for path in sorted(deciding_files(root)):
        content, name = deciding_text(path.read_text(encoding="utf-8")).encode(), path.relative_to(root).as_posix()
        sha.update(len(name).to_bytes(4, "little") + name.encode() + len(content).to_bytes(8, "little") + content)
    return sha.hexdigest()


def deciding_files(root: Path) -> Iterator[Path]:
    """The files that count."""
    for place in (root / name for name in DECIDING):
        for path in [place] if place.is_file() else place.rglob("*.py"):
            if path.relative_to(root).as_posix() not in BESIDE:
                yield path


def deciding_text(source: str) -> str:
    """Python code without what changes nothing when it runs: comments, docstrings, blanks at the ends, empty lines."""
    source = _STRING_OR_COMMENT.sub(lambda match: "" if match[0].startswith("#") else match[0], source)
    lines = [line.encode() for line in source.split("\n")]  # positions in a tree are of bytes
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            begin, end = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
            lines[first : last + 1] = [begin + end] + [b""] * (last - first)
    return "\n".join(line.rstrip().decode() for line in lines if line.strip())


_STRING_OR_COMMENT = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""|\'\'\'(?:[^\\]|\\.)*?\'\'\'|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|#[^\n]*''', re.DOTALL
)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node; expressions, which are most of a tree, are not looked into."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in children if isinstance(children := getattr(node, name, None), list) else ():
            yield child
            yield from _statements(child)
