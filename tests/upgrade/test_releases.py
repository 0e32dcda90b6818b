"""What binds is the code that decides the numbers; who has which release is told before a plan is signed."""

import ast
import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.plans import sync
from common.errors import ConfigError, PlanError
from common.storage.files import read_json, write_json
from common.trust import folder_release, release
from common.trust.release import BESIDE, DECIDING, VERSION, ReleaseRow, code_digest, deciding_text, own_digest
from server.gateway.site_api import FolderSiteApi
from server.runs import site_releases
from tests.consortium.consortium import NAMES, Consortium

ROOT = release.ROOT
PLUMBING = (
    "client/__init__.py", "client/access", "client/admission.py", "client/connection", "client/custody",
    "client/home.py", "client/memory_guard.py", "client/plans", "client/site_settings.py", "common/__init__.py",
    "common/audit", "common/catalogue", "common/cli", "common/errors.py", "common/notices", "common/package",
    "common/refusals.py", "common/renamed.py", "common/storage", "common/trust",
)  # fmt: skip
"""What answering a plan's messages needs besides, and what changes no number: it carries, keeps, names and permits."""


# --- what counts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x = 1  # one\n", "x = 1"),
        ("# one\n\n\nx = 1\n", "x = 1"),
        ('"""Page."""\nx = "# no comment"  # one\n', 'x = "# no comment"'),
        ("def f():\n    '''What.\n\n    # it is.'''\n    return 1\n", "def f():\n    return 1"),
        ('x: int = 1\n"""Of it, as \'it\' says."""\ny = 2\n', "x: int = 1\ny = 2"),
        ("x = f(\n    '''kept''',\n)\n", "x = f(\n    '''kept''',\n)"),
        ("x = 'it\\'s # kept'  # gone\n", "x = 'it\\'s # kept'"),
        ("if a:\n    'gone'\nelse:\n    b('kept')\n", "if a:\nelse:\n    b('kept')"),
        ("x = '''é # kept'''; 'gone'\n", "x = '''é # kept''';"),
    ],
)
def test_comments_docstrings_and_empty_lines_are_left_out_and_nothing_else(source: str, text: str) -> None:
    assert deciding_text(source) == text


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what runs at a site."""
    root = tmp_path_factory.mktemp("release")
    for folder in ("common", "client"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("*.pyc"))
    return root


HARMLESS: dict[str, tuple[str, Callable[[str], str]]] = {
    "a comment": ("common/secagg/masks.py", lambda text: f"# said better\n{text}\n# and at the end\n"),
    "a docstring": ("common/algorithms/solver.py", lambda text: text.replace('"""', '"""Said better. ', 1)),
    "blank lines": ("client/training/site.py", lambda text: text.replace("\ndef ", "\n\n\ndef ")),
    "the ends of lines": ("common/models/svm.py", lambda text: text.replace("\n", "\r\n")),
    "a command": ("client/dataset/commands.py", lambda text: f"{text}\nNEW = 1\n"),
    "custody": ("client/custody/key_ring.py", lambda text: f"{text}\nNEW = 1\n"),
    "the service": ("client/service.py", lambda text: text.replace("AGAIN_S = 60.0", "AGAIN_S = 61.0")),
    "a page": ("common/plans/plan_page.py", lambda text: f"{text}\nNEW = 1\n"),
}
DECISIVE: dict[str, tuple[str, Callable[[str], str]]] = {
    "the protocol": ("common/secagg/masks.py", lambda text: f"{text}\nNEW = 1\n"),
    "a threshold": ("common/secagg/key_period_plan.py", lambda text: text.replace("2 *", "3 *", 1)),
    "the solver": ("common/algorithms/solver_steps.py", lambda text: text.replace(" / ", " * ")),
    "preprocessing": ("common/imaging/steps.py", lambda text: text.replace(" / ", " // ", 1)),
    "a default": ("common/config/federation_settings.py", lambda text: text.replace(" = 1", " = 2", 1)),
    "how images become cases": ("client/sources/npz.py", lambda text: f"{text}\nNEW = 1\n"),
    "letters in quotes": ("common/plans/lineage.py", lambda text: text.replace('"lineage"', '"lineage" "#"')),
}


@pytest.mark.parametrize(("path", "change"), HARMLESS.values(), ids=list(HARMLESS))
def test_what_decides_nothing_does_not_count(path: str, change: Callable[[str], str]) -> None:
    before, after = edited(path, change)
    assert not counts(path) or deciding_text(before) == deciding_text(after)


@pytest.mark.parametrize(("path", "change"), DECISIVE.values(), ids=list(DECISIVE))
def test_what_decides_a_number_counts(path: str, change: Callable[[str], str]) -> None:
    before, after = edited(path, change)
    assert counts(path)
    assert deciding_text(before) != deciding_text(after)


def edited(path: str, change: Callable[[str], str]) -> tuple[str, str]:
    """A file of this release, and what somebody makes of it."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert change(text) != text
    return text, change(text)


def counts(path: str) -> bool:
    return ROOT / path in release.deciding_files(ROOT)


def test_a_tree_with_other_comments_and_ends_of_lines_is_the_same_and_one_with_another_file_is_not(tree: Path) -> None:
    for path in tree.rglob("*.py"):
        path.write_bytes(f"# said better\n{path.read_text(encoding='utf-8')}\n\n# end\n".replace("\n", "\r\n").encode())
    digest = own_digest.__wrapped__
    assert digest(tree) == own_digest()
    path = tree / "client" / "training" / "site.py"
    path.rename(path.with_name("site2.py"))
    assert digest(tree) != own_digest()
    path.with_name("site2.py").rename(path)


def test_every_module_that_answers_a_plan_decides_or_is_in_the_list_of_what_does_not() -> None:
    """A new room is in neither: whoever makes one says which."""
    reached, todo = set[str](), ["client/training/hospital_site.py", "client/training/node_site.py"]
    while todo:
        if (name := todo.pop()) not in reached:
            reached.add(name)
            todo += imports(ROOT / name)
    within = (*DECIDING, *BESIDE, *PLUMBING)
    assert len(reached) > 150
    assert [
        name for name in sorted(reached) if not any(name == place or name.startswith(f"{place}/") for place in within)
    ] == []


def imports(path: Path) -> list[str]:
    """The files of ours that a file imports."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    places = [Path(*name.split(".")) for name in sorted(names) if name.split(".")[0] in ("client", "common")]
    files = [place.with_suffix(".py") for place in places] + [place / "__init__.py" for place in places]
    return [file.as_posix() for file in files if (ROOT / file).exists()]


@pytest.mark.parametrize("name", [*DECIDING, *BESIDE])
def test_what_is_named_is_there(name: str) -> None:
    assert (ROOT / name).exists()


# --- releases of one implementation ---------------------------------------------------------------------------------


def listed(root: Path, *rows: ReleaseRow) -> None:
    with (root / release.RELEASES).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("release", "implementation", "code"), *((r.version, r.implementation, r.code) for r in rows)]
        )


def test_releases_of_one_implementation_have_one_name_in_plans(tree: Path) -> None:
    own = own_digest(tree)
    listed(tree, ReleaseRow("0.3.0", 1, "a" * 64), ReleaseRow("0.3.1", 1, own), ReleaseRow("0.4.0", 2, "b" * 64))
    assert code_digest(tree) == "a" * 64
    assert release.works_with(tree) == ("0.3.0", "0.3.1")
    listed(tree, ReleaseRow("0.3.0", 1, "a" * 64), ReleaseRow("0.3.1", 2, own))
    assert code_digest(tree) == own
    assert release.works_with(tree) == ("0.3.1",)
    listed(tree, ReleaseRow("0.3.0", 1, "a" * 64))  # changed by somebody: it is of no release
    assert code_digest(tree) == own
    assert release.works_with(tree) == (VERSION,)
    shutil.copy(ROOT / release.RELEASES, tree / release.RELEASES)


def test_the_table_says_of_this_release_what_its_code_is() -> None:
    """A version in the table is what was handed out under that name."""
    rows = {row.version: row for row in release.releases()}
    line = f"{VERSION},NUMBER,{own_digest()}"
    assert VERSION not in rows or rows[VERSION].code == own_digest(), (
        f"what decides the numbers has changed since {VERSION} was written into {release.RELEASES}. docs/upgrade.md "
        f"says which NUMBER the release has now: {line}"
    )
    assert len({row.version for row in release.releases()}) == len(release.releases())


def test_the_page_names_every_release_and_what_it_works_with() -> None:
    page = (ROOT / "docs" / "upgrade.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+\.\d+\.\d+) \| (.+?) \|$", page, re.MULTILINE))
    assert rows[VERSION] == ", ".join(release.works_with())


# --- told before a plan is signed -----------------------------------------------------------------------------------


def report(consortium: Consortium, site: str, **fields: Any) -> None:
    """As the site tells it, through the gateway's own handler."""
    content = {"what": "idle", "detail": "", "error": "", "ready": [], "release": VERSION, "code": code_digest()}
    FolderSiteApi(consortium.home).take_activity(site, content | fields)


def test_a_plan_that_a_sites_release_cannot_do_is_not_drawn_up_and_the_site_is_named(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    plan = consortium.plan().content
    site_releases.refuse_unable(consortium.home, plan)  # nobody has said anything yet
    for site in NAMES:
        report(consortium, site)
    report(consortium, "Osaka", release="0.3.9")  # another release, the same numbers
    site_releases.refuse_unable(consortium.home, plan)
    report(consortium, "Nairobi", release="0.2.0", code="")
    report(consortium, "Osaka", release="0.4.0", code="c" * 64)
    with pytest.raises(PlanError, match="nothing was signed") as refusal:
        site_releases.refuse_unable(consortium.home, plan)
    assert "Nairobi has release 0.2.0 (code not told, as before 0.3)" in str(refusal.value)
    assert f"Osaka has release 0.4.0 (code {'c' * 12}…)" in str(refusal.value)
    assert "Lisbon" not in str(refusal.value)


def test_status_says_who_has_what(tmp_path: Path) -> None:
    consortium = Consortium(tmp_path)
    for site in NAMES:
        report(consortium, site)
    report(consortium, "Nairobi", release="0.3.9")
    report(consortium, "Osaka", release="0.4.0", code="c" * 64)
    assert site_releases.describe_other(consortium.home, NAMES) == ""  # no coordinator is running
    write_json(consortium.home.live / "keeper.json", {"at_s": 0, "release": VERSION, "code": code_digest()})
    assert site_releases.describe_other(consortium.home, NAMES) == (
        f"The coordinator has release {VERSION}, Nairobi release 0.3.9 (code {code_digest()[:12]}…), which works with "
        f"it; Osaka release 0.4.0 (code {'c' * 12}…), which cannot do its plans."
    )


def test_a_site_tells_its_release_and_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    consortium, told = Consortium(tmp_path), list[dict[str, Any]]()

    class Gateway:
        def __enter__(self) -> "Gateway":
            return self

        def __exit__(self, *_: object) -> None: ...

        def doing(self, content: dict[str, Any]) -> None:
            told.append(content)

    monkeypatch.setattr(sync, "gateway_of", lambda _: Gateway())
    sync.report_status(consortium.sites["Lisbon"], None, sync.READY)
    assert [(one["release"], one["code"]) for one in told] == [(VERSION, code_digest())]


# --- folders --------------------------------------------------------------------------------------------------------


def test_what_another_release_changes_for_good_is_kept_once_as_it_was(tmp_path: Path) -> None:
    database = tmp_path / "live" / "flower"
    database.mkdir(parents=True)
    (database / "state.db").write_bytes(b"of the release before")
    folder_release.enter(tmp_path, [database])
    kept = tmp_path / f"before-{VERSION}" / "flower" / "state.db"
    assert kept.read_bytes() == b"of the release before"
    (database / "state.db").write_bytes(b"of this one")
    folder_release.enter(tmp_path, [database])
    assert kept.read_bytes() == b"of the release before"
    assert (read_json(tmp_path / "release.json") or {})["release"] == VERSION


def test_a_copy_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    (tmp_path / f".before-{VERSION}").mkdir()
    (tmp_path / f".before-{VERSION}" / "flower").write_bytes(b"half")
    (tmp_path / "flower").write_bytes(b"whole")
    folder_release.enter(tmp_path, [tmp_path / "flower"])
    assert (tmp_path / f"before-{VERSION}" / "flower").read_bytes() == b"whole"


def test_a_folder_that_a_newer_release_wrote_otherwise_is_not_touched(tmp_path: Path) -> None:
    write_json(tmp_path / "release.json", {"release": "9.0.0", "form": folder_release.FORM + 1})
    with pytest.raises(
        ConfigError, match=r"release 9\.0\.0 wrote it in form 2, expected 1 at most: .*docs/upgrade\.md"
    ):
        folder_release.enter(tmp_path, [])
    assert (read_json(tmp_path / "release.json") or {})["release"] == "9.0.0"
