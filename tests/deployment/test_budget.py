"""A federation of real processes with a budget of privacy, to its end: what the hospitals and the coordinator see."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.consortium.consortium import LEAST
from tests.deployment.federation import Federation
from tests.deployment.whole import SITES, ended

HEAD = {"model": {"kind": "svm", "features": "unit", "loss": "logistic"}}
NETWORK = {
    "model": {"kind": "cnn", "architecture": "plain", "width": 4},
    "federation": {"rounds": 3, "local": {"steps": 2, "optimizer": "sgd", "learning_rate": 1.0}},
}
PRIVATE = {
    "name": "private",
    "data": {"kind": "synthetic", "sites": 3, "cases": 60, "size": 16},
    "sites": {"split": "natural"},
    "privacy": {"epsilon": 3, "delta": 1e-5, "of": "image"},
    "baselines": [],
    "personalise": {"mix": False, "ridge": False},
    "plan": {"dataset": "chest", "labels": ["clear", "disease"], "shape": [16, 16, 1]},
}


def left(federation: Federation, site: str) -> float:
    """ε that is left at a hospital, of its training patients."""
    told = json.loads(federation.client(site, "privacy", "show", "--json"))
    return float(next(row["rest"] for row in told["accounts"] if row["part"] == "training"))


def submitted(federation: Federation, *overrides: str) -> str:
    """A plan that the sites are asked for; the run's name, whatever else is said before it."""
    said = federation.server("run", str(federation.config), *overrides, "--no-follow")
    return re.findall(r"^Run (\S+):", said, re.MULTILINE)[0]


@pytest.mark.slow
@pytest.mark.parametrize("model", [HEAD, NETWORK], ids=["head", "network"])
def test_a_federation_spends_its_budget_to_the_end(tmp_path: Path, model: dict[str, object]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(PRIVATE | model), encoding="utf-8")
    federation = Federation(tmp_path, config, SITES)
    with ended(federation):
        federation.found()
        for site in SITES:
            settings = tmp_path / site / "site.yaml"
            tree = yaml.safe_load(settings.read_text(encoding="utf-8"))
            tree["policy"] |= {"least": LEAST, "privacy": {"epsilon": 4, "delta": 1e-5, "required": True}}
            settings.write_text(yaml.safe_dump(tree), encoding="utf-8")
        federation.start()
        federation.ready()
        first = federation.submit()
        assert federation.wait(first, 400) == "finished", federation.logs()
        print(federation.client(SITES[0], "privacy", "show"))
        print(federation.server("history"))
        rest = left(federation, SITES[0])
        assert 0 < rest < 3

        second = submitted(federation, "name=second")
        page = federation.client(SITES[0], "plans", second)
        print(page.partition("SETTINGS")[0], page.partition("AT THIS HOSPITAL")[2])
        assert page.index("PRIVACY  ε 3 at δ 1e-05") < page.index("WHAT LEAVES")
        assert f"left ε {rest:.3f} of 4" in page
        with pytest.raises(AssertionError, match="over-budget") as refused:
            federation.approve(SITES[0], second)
        fits = float(re.findall(r"ε ([0-9.]+) is left", str(refused.value))[-1])
        third = submitted(federation, "name=third", f"privacy.epsilon={fits - 0.001:.3f}")
        for site in SITES:
            federation.approve(site, third)
        assert federation.wait(third, 400) == "finished", federation.logs()
        print(federation.client(SITES[0], "privacy", "show"))
        assert left(federation, SITES[0]) < 0.5
        assert "privacy spent" in federation.client(SITES[0], "audit", "show", "--what", "privacy")
        federation.client(SITES[0], "audit", "verify")
