"""The dossier of a run: each answer names the file that it comes from, and what nobody recorded stays empty."""

import csv
import io
import json
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from common.errors import ConfigError
from server.__main__ import main
from server.export import dossier, model_card
from server.export.recorded_facts import READERS, facts_of
from simulation import api
from simulation.api import SimulatedFigures
from tests.export.test_tracked_figures import TREE


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimulatedFigures:
    return api.simulate(TREE, out=tmp_path_factory.mktemp("runs") / "recorded")


def written(run: SimulatedFigures, *arguments: str) -> Path:
    with redirect_stdout(io.StringIO()):
        assert main(["dossier", str(run.folder), *arguments]) == 0
    return run.folder / "dossier"


def test_every_item_of_the_lists_is_there_and_asks_for_facts_that_can_be_read() -> None:
    count: dict[str, int] = {}
    for row in dossier.items():
        count[row["list"]] = count.get(row["list"], 0) + 1
        assert set(row["facts"].split()) <= set(READERS)
    assert count == {"Model card": 9, "CLAIM 2024": 44, "TRIPOD+AI": 52, "AI Act Annex IV": 23}


def test_each_answer_names_a_file_and_a_key_that_are_there(run: SimulatedFigures) -> None:
    folder = written(run)
    with (folder / "dossier.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    empty = [row for row in rows if not row["source"]]
    assert {row["answer"] for row in empty} == {dossier.EMPTY}
    assert any(row["item"] == "44" for row in empty)
    for row in rows:
        for source in filter(None, row["source"].split("; ")):
            name, _, keys = source.partition(": ")
            assert (run.folder / name).exists() or (folder / name).exists(), row
            for key in filter(None, keys.split(", ")):
                assert key.startswith("*") or has(run.result, key.split(".")), row


def has(tree: Any, keys: list[str]) -> bool:
    """Whether a dotted key is there; `*` stands for any."""
    if not keys:
        return True
    if not isinstance(tree, dict):
        return False
    inner = tree.values() if keys[0] == "*" else [tree[keys[0]]] if keys[0] in tree else []
    return any(has(one, keys[1:]) for one in inner)


def test_the_figures_of_the_dossier_are_those_of_the_result(run: SimulatedFigures) -> None:
    auc = run.result["sites_mean"]["federated"]["auc"]
    text = facts_of(run.result)["figures"].text
    assert f"Mean of sites: AUC = {auc:.3f}" in text
    section = model_card._performance(run.result)
    for name, _, *values in section.rows:  # the card has the same, of single sites too
        row = f"{name[:1].upper()}{name[1:]}: AUC = {values[0]}"
        assert row in text + facts_of(run.result)["site_figures"].text, row
    assert len(section.rows) == 2 + len(run.result["sites"])


def test_of_common_test_cases_no_site_has_figures_of_its_own(run: SimulatedFigures) -> None:
    result = json.loads(json.dumps(run.result))
    result["config"]["sites"]["test_on"] = "common"
    facts = facts_of(result)
    assert "site_figures" not in facts
    assert facts["figures"].source == "result.json: test.federated"
    assert "common to all sites" in facts["figures"].text


def test_a_site_that_gave_nothing_is_no_trainer(run: SimulatedFigures) -> None:
    result = json.loads(json.dumps(run.result))
    rounds = result["cost"]["rounds"]
    result["participation"]["Osaka"] = {"rounds": 0, "refused": {}, "silent": rounds}
    text = facts_of(result)["sites"].text
    assert (
        text == f"2 sites trained: Lisbon, Nairobi. Asked, and in no sum of the model: Osaka (silent {rounds} times)."
    )


def test_what_the_publisher_adds_names_their_file(run: SimulatedFigures, tmp_path: Path) -> None:
    statements = tmp_path / "ours.yaml"
    statements.write_text('"CLAIM 2024 44": "Nobody but us."\n', "utf-8")
    folder = written(run, "--statements", str(statements))
    assert "CLAIM 2024,44,Funding,Nobody but us.,ours.yaml" in (folder / "dossier.csv").read_text("utf-8")
    statements.write_text('"CLAIM 2024 45": "Nobody but us."\n', "utf-8")
    from server.export.dossier_commands import _statements

    with pytest.raises(ConfigError, match="CLAIM 2024 45: no such item"):
        _statements(statements)


def test_the_bill_of_materials_has_what_is_installed(run: SimulatedFigures) -> None:
    bill = json.loads((written(run) / "sbom.cdx.json").read_text("utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    versions = {one["name"]: one["version"] for one in bill["components"]}
    assert versions["numpy"] == metadata.version("numpy")
    assert versions["flwr"] == metadata.version("flwr")


def test_the_page_shows_every_list_and_loads_nothing(run: SimulatedFigures, browser: Browser) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((written(run) / "dossier.html").as_uri())
    assert len(asked) == 1
    assert [text.strip() for text in page.locator("section h2").all_inner_texts()] == list(
        dict.fromkeys(row["list"] for row in dossier.items())
    )
    assert page.get_by_text(dossier.EMPTY, exact=True).count() > 40
    page.close()
