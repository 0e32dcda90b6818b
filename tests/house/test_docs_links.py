"""Every link in every page leads to a file and a heading that exist."""

from pathlib import Path

import pytest

from tests.house.documents import ROOT, anchors, links, pages, prose


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT) or not target.exists():
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target):
            broken.append(f"{link}: no such heading")
    assert not broken, "\n".join(broken)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        targets = {
            (page.parent / link.partition("#")[0]).resolve() for link in links(page) if not link.startswith("http")
        }
        left += [target for target in targets if target.suffix == ".md" and target not in reached and target.exists()]
    assert not {str(page.relative_to(ROOT)) for page in pages()} - {str(p.relative_to(ROOT)) for p in reached}


def test_every_page_of_docs_is_in_the_index_and_in_the_sites_menu() -> None:
    index = {link.partition("#")[0] for link in links(ROOT / "docs" / "README.md")}
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    names = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert not names - index
    assert not {name for name in names if f": {name}\n" not in menu}


def test_a_page_is_more_than_its_title() -> None:
    assert not [page.name for page in pages() if len(prose(page).split()) < 30]
