"""An evaluation as people ask for it: the commands, and real processes at every site."""

from pathlib import Path

import pytest

from common.storage.files import read_json
from tests.deployment.whole import SVM, Quick, ended, until, written

pytestmark = pytest.mark.slow

SITES = ("Hanoi", "Lisbon", "Nairobi", "Osaka")


def test_a_consortium_evaluates_what_it_has_trained_while_the_coordinator_is_killed(tmp_path: Path) -> None:
    config = written(
        tmp_path / "config.yaml",
        data=SVM["data"] | {"sites": 6},
        federation=SVM["federation"] | {"rounds": 4, "evaluate_every": 1},
    )
    federation = Quick(tmp_path, config, SITES)
    with ended(federation):
        federation.found()
        federation.start()
        one = federation.submit("name=one")
        assert federation.wait(one, 400) == "finished"
        two = federation.submit("name=two", "model.C=1.0")  # it asks some of the same: not before the first is over
        assert federation.wait(two, 400) == "finished"
        site = tmp_path / "Lisbon" / "site.yaml"
        site.write_text(
            site.read_text(encoding="utf-8").replace("policy:\n", "policy:\n  publish: [figures]\n"), encoding="utf-8"
        )
        for name in SITES:
            settings = tmp_path / name / "site.yaml"
            settings.write_text(
                settings.read_text(encoding="utf-8").replace("plans: approve ", "plans: ask "), encoding="utf-8"
            )
        look = federation.server("evaluate", one, two, "--name", "look", "--no-follow").split()[1].rstrip(":")
        until(lambda: "Nothing is trained" in federation.client("Osaka", "plans", look))
        for name in SITES:
            said = federation.client(name, "approve", look)
            assert ("own figures will be published" in said) == (name == "Lisbon")
        until(lambda: federation.rounds(look) or federation.state(look)["stage"] == "finished")
        if federation.state(look)["stage"] == "running":
            federation.kill("server")
            federation.start("server")
        assert federation.wait(look, 400) == "finished", federation.state(look)
        told = federation.result(look)["cross_site"]
        assert (told["models"], told["sites"]) == ([one, two], ["Lisbon"])
        for name in (one, two):
            assert told["all"][name]["n"] == federation.result(name)["validation"]["n"]
            assert told["all"][name]["auc"] == pytest.approx(federation.result(name)["validation"]["auc"])
            paper = read_json(next((federation.home / "runs" / look / "published").glob("*-Lisbon.json")))
            assert paper["paper"] == "figures"
            assert sum(map(sum, paper["content"]["counts"]["confusion"])) == told["cells"][name]["Lisbon"]["n"]
        said = federation.server("follow", look)
        assert "model 2 of 2" in said
        assert "Finished: models evaluated" in said
        assert look in federation.server("history")
