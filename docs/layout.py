"""Write the tables of rooms and modules from the code: the first sentence of every docstring.

docs/design.md gets a row for every room, docs/layout.md a row for every module.

python docs/layout.py            writes them into the pages
python docs/layout.py --check    fails where a page is not what the docstrings say
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOPS = ("simulation", "server", "client", "common")
HEAD = "| module | what it is |\n|---|---|"
PLACE = re.compile(r"(<!-- layout -->\n).*?(<!-- end -->)", re.DOTALL)


def opening(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    end = re.search(r"[.:?](?= [A-Z`(]|$)", paragraph)
    return (paragraph[: end.start()] if end else paragraph).rstrip(".:")


def rooms() -> list[Path]:
    """Every folder that is a package, the tops first."""
    found = [path.parent for top in TOPS for path in sorted((ROOT / top).rglob("__init__.py"))]
    return sorted(found, key=lambda room: (TOPS.index(room.relative_to(ROOT).parts[0]), room.relative_to(ROOT).parts))


def modules(room: Path) -> list[Path]:
    """The files of a room, without its `__init__`."""
    return sorted(path for path in room.glob("*.py") if path.name != "__init__.py")


def name(path: Path) -> str:
    """A path as the pages write it."""
    return f"`{path.relative_to(ROOT).as_posix()}{'/' if path.is_dir() else ''}`"


def cell(text: str) -> str:
    """A sentence that does not end a table's cell."""
    return text.replace("|", "\\|")


def table_of_rooms() -> str:
    """A row for every room."""
    rows = [f"| {name(room)} | {cell(opening(room / '__init__.py'))} | {len(modules(room))} |" for room in rooms()]
    return "\n".join(["| room | what it is | files |", "|---|---|---|", *rows, ""])


def tables_of_modules() -> str:
    """A table for every room, with a row for every module."""
    parts = [f"## The entry\n\n{HEAD}\n| `simulate.py` | {cell(opening(ROOT / 'simulate.py'))} |\n"]
    for room in rooms():
        rows = [f"| `{path.name}` | {cell(opening(path))} |" for path in modules(room)]
        if rows:
            head = f"## {name(room)[1:-1]}\n\n{opening(room / '__init__.py')}.\n\n{HEAD}\n"
            parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)


def pages() -> dict[Path, str]:
    """Both pages as they should be."""
    contents = {"design.md": table_of_rooms(), "layout.md": tables_of_modules()}
    texts = {}
    for file, content in contents.items():
        page = ROOT / "docs" / file
        texts[page] = PLACE.sub(lambda m, c=content: m[1] + c + m[2], page.read_text(encoding="utf-8"))  # type: ignore[misc]
    return texts


def main() -> None:
    """Write, or check."""
    for page, text in pages().items():
        if "--check" not in sys.argv:
            page.write_text(text, encoding="utf-8")
        elif page.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/{page.name} is not what the docstrings say: run `python docs/layout.py`.")


if __name__ == "__main__":
    main()
