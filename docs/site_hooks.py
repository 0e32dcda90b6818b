"""What `make docs` needs beside mkdocs: the files of the top folder as pages, and state diagrams as tables.

README.md, CONTRIBUTING.md, SECURITY.md and CHANGELOG.md lie above docs/. The site has them under project/, and links
between the two folders are rewritten. A diagram in Mermaid would be drawn by a script from another server; the site
shows its arrows as a table instead.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
STATIC = ("LICENSE", "CITATION.cff", "configs/plan-template.yaml")
ARROW = re.compile(r"^\s*(\w+) --> (\w+): (\w+)$", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the files of the top folder under project/."""
    for name in (*PAGES, *STATIC):
        if (ROOT / name).exists():
            files.append(File.generated(config, f"project/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite links between docs/ and the top folder; turn state diagrams into tables."""
    if page.file.src_uri.startswith("project/"):
        markdown = re.sub(r"(\]\()docs/", r"\1../", markdown)
    else:
        markdown = re.sub(r"(\]\()\.\./", r"\1project/", markdown)
    return re.sub(r"```mermaid\nstateDiagram-v2\n(.*?)```", lambda m: _table(m[1]), markdown, flags=re.DOTALL)


def _table(diagram: str) -> str:
    rows = [f"| {start} | {step} | {end} |" for start, end, step in ARROW.findall(diagram)]
    return "\n".join(["| stage | step | next stage |", "|---|---|---|", *rows, ""])
