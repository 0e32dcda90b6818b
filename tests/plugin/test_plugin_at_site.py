"""A site runs a plug-in's code only where it has the very wheel of the plan, and its policy allows it."""

import sys
from pathlib import Path

import pytest

from client.access.policy_store import policy_store
from client.home import Home
from client.plans import judge, plan_plugins
from client.training.hospital_site import hospital_site
from common import plugins
from common.errors import PluginError
from common.plans import plan_page
from common.plans.plan import RunPlan
from common.refusals import CODES, code_of
from tests.consortium.consortium import Consortium
from tests.plugin.conftest import MODULE, NAME, forget
from tests.plugin.test_plugin_in_simulation import OWN


@pytest.fixture
def consortium(on_path: Path, tmp_path: Path) -> Consortium:
    return Consortium(tmp_path / "pilot", tree=OWN)


@pytest.fixture
def plan(consortium: Consortium) -> RunPlan:
    plan = consortium.plan(tree=OWN)
    forget()  # the coordinator has loaded the configuration
    return plan


def allow(site: Home, *wheels: str) -> None:
    """As `client access propose --plugins`."""
    from client.__main__ import main

    assert main(["access", "propose", "--plugins", *wheels, "--home", str(site.folder)]) == 0


def refusal(site: Home, plan: RunPlan) -> str:
    """What the site says to its people, and the code that the coordinator is told."""
    said = judge.objection(site, plan)
    with pytest.raises(PluginError) as error:
        plan_plugins.refuse_unfit(site, plan)
    assert str(error.value) == said
    assert plan_plugins.first_refusal(site) == (plan.name, code_of(error.value))
    assert code_of(error.value) in CODES
    assert MODULE not in sys.modules
    return f"{code_of(error.value)}: {said}"


def test_a_plan_says_which_wheel_of_whom_it_needs(plan: RunPlan) -> None:
    digest = plugins.find_plugin(NAME).sha256
    assert {(part.plugin, part.version, part.sha256) for part in plan.parts()} == {(NAME, "1.0", digest)}
    page = plan_page.page(RunPlan.load(plan.document.encode()))
    assert f"{NAME} 1.0, SHA-256 {digest}: adagrad, gamma, kappa, small" in page
    assert "CODE OF OTHERS" in page
    assert MODULE not in sys.modules


def test_what_the_policy_does_not_allow_is_refused_and_then_approved(consortium: Consortium, plan: RunPlan) -> None:
    from client.__main__ import main

    site = consortium.sites["Lisbon"]
    assert refusal(site, plan).startswith("plugin-not-allowed: the site's policy does not allow plug-in")
    allow(site, NAME)
    assert policy_store(site).newest().content.plugins == (f"{NAME}@{plugins.find_plugin(NAME).sha256}",)
    assert judge.objection(site, plan) == ""
    assert plan_plugins.first_refusal(site) == ("", "")
    assert main(["access", "propose", "--plugins", "--home", str(site.folder)]) == 0
    assert refusal(site, plan).startswith("plugin-not-allowed")


def test_a_wheel_that_is_not_there_or_another_is_refused(
    consortium: Consortium, plan: RunPlan, on_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = consortium.sites["Lisbon"]
    allow(site, NAME)
    file = on_path / MODULE / "metrics.py"
    file.write_text(file.read_text("utf-8") + "\n", "utf-8")
    assert refusal(site, plan).startswith("plugin-differs: plug-in consilium-example is expected with digest")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(on_path)])
    assert refusal(site, plan).startswith("plugin-absent: plug-in consilium-example is not installed here")


def test_a_run_that_was_approved_ends_where_the_wheel_is_replaced(
    consortium: Consortium, plan: RunPlan, on_path: Path
) -> None:
    for site in consortium.sites.values():
        allow(site, NAME)
    consortium.begun(plan)
    site = consortium.sites["Lisbon"]
    assert hospital_site(site, plan.digest).site.model.kind == "plugin"
    file = on_path / MODULE / "metrics.py"
    file.write_text(file.read_text("utf-8") + "\n", "utf-8")
    with pytest.raises(PluginError) as error:
        hospital_site(site, plan.digest)
    assert code_of(error.value) == "plugin-differs"


@pytest.mark.parametrize("name", ["consilium_example/more.py", "consilium_example/deep/more.py"])
def test_code_beside_the_wheels_is_not_run(on_path: Path, name: str) -> None:
    (on_path / name).parent.mkdir(exist_ok=True)
    (on_path / name).write_text("", "utf-8")
    part = plugins.Part.model_validate(f"{NAME}:kappa").settled()
    with pytest.raises(PluginError, match=r"more\.py is none of its wheel's files"):
        plugins.load_part("metrics", part)


def test_another_package_of_that_name_before_it_is_not_run(
    on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "before" / MODULE).mkdir(parents=True)
    (tmp_path / "before" / MODULE / "__init__.py").write_text("raise AssertionError", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "before"))
    with pytest.raises(PluginError, match="is none of its wheel's files"):
        plugins.load_part("metrics", plugins.Part.model_validate(f"{NAME}:kappa").settled())


def test_a_wheel_that_is_replaced_while_a_process_runs_is_not_mixed_with_the_old_one(on_path: Path) -> None:
    plugins.load_part("metrics", plugins.Part.model_validate(f"{NAME}:kappa").settled())
    file = on_path / MODULE / "steps.py"
    file.write_text(file.read_text("utf-8") + "\n", "utf-8")
    with pytest.raises(PluginError, match="was replaced while this process ran"):
        plugins.load_part("steps", plugins.Part.model_validate(f"{NAME}:gamma").settled())


def test_a_shared_model_with_a_wheels_network_is_used_where_the_policy_allows_it(
    consortium: Consortium, tmp_path: Path
) -> None:
    from client.plans import own_layers
    from common.package import package_file
    from server.export.model_card import CardTerms
    from server.export.package import SigningPublisher, export, publisher_key
    from simulation import api

    run = api.simulate(OWN | {"plan": None}, out=tmp_path / "run")
    publisher = SigningPublisher("ours", [publisher_key(tmp_path / "publisher.key")])
    package = package_file.load_verified_package(
        export(run.folder, publisher, CardTerms("research", "MIT")), "the package"
    )
    forget()
    site = consortium.sites["Lisbon"]
    with pytest.raises(PluginError, match="the site's policy does not allow plug-in"):
        own_layers.completed(package, site)
    assert MODULE not in sys.modules
    allow(site, NAME)
    shared = own_layers.completed(package, site)
    assert shared.model().kind == "plugin"
