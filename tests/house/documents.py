"""What the tests of the documents share: every page, its prose and its code, the links and headings that it has."""

import re
import subprocess
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)(```+|~~~+)[^\n]*\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@lru_cache(maxsize=1)
def tracked() -> tuple[str, ...]:
    """Every file of the repository that is there, by its path."""
    # Whoever runs the tests may not be the owner of the checkout, which git refuses otherwise.
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout
    return tuple(name for name in dict.fromkeys(listed.splitlines()) if (ROOT / name).is_file())


def pages() -> list[Path]:
    """Every page in Markdown."""
    return [ROOT / name for name in tracked() if name.endswith(".md")]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[str]:
    """The fenced blocks of a page, without the diagrams."""
    text = page.read_text(encoding="utf-8")
    return [match[3] for match in FENCE.finditer(text) if "mermaid" not in match[0].splitlines()[0]]


def spans(page: Path) -> list[str]:
    """What stands between backticks in a page's prose."""
    return [" ".join(match[2].split()) for match in SPAN.finditer(prose(page))]


def created(page: Path) -> set[str]:
    """The files that a page tells its reader to write, by their paths."""
    return set(re.findall(r"Create `([^`]+)`:", prose(page)))


def links(page: Path) -> list[str]:
    """Where a page's links go to."""
    return LINK.findall(SPAN.sub("", prose(page)))


def anchors(page: Path) -> set[str]:
    """What a link can follow a `#` with: the headings, as GitHub spells them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(page), re.MULTILINE):
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return set(found)
