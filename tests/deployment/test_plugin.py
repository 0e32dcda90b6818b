"""Somebody else's wheel in a real federation: each hospital installs and allows it, the coordinator hears who does not.

The weights are those of the simulation of the same configuration.
"""

import shutil
from pathlib import Path

import pytest

from common.storage.files import glance
from tests.deployment.federation import Federation
from tests.deployment.whole import SITES, ended, simulated, until, written
from tests.plugin.conftest import MODULE, NAME
from tests.plugin.conftest import on_path as on_path
from tests.plugin.conftest import target as target
from tests.plugin.test_plugin_in_simulation import OWN

pytestmark = pytest.mark.slow


def test_three_hospitals_train_a_network_that_somebody_else_wrote(on_path: Path, tmp_path: Path) -> None:
    config = written(tmp_path / "own.yaml", OWN)
    federation = Federation(tmp_path, config, SITES)
    wheels = {who: shutil.copytree(on_path, tmp_path / "wheels" / who) for who in ("server", *SITES)}
    federation.variables = {who: {"PYTHONPATH": str(folder)} for who, folder in wheels.items()}
    with ended(federation):
        federation.found()
        lower_floors(federation)
        federation.start("server")
        federation.ready()
        name = federation.server("run", str(config), "--no-follow").split()[1].rstrip(":")
        lisbon, nairobi, osaka = SITES
        federation.start(*SITES)

        def told(site: str) -> str:
            return str((glance(federation.home / "live" / "doing" / f"{site}.json") or {}).get("error"))

        until(lambda: {told(site) for site in SITES} == {"plugin-not-allowed"})
        for site in (lisbon, nairobi, osaka):
            assert "CODE OF OTHERS" in federation.client(site, "plans", name)
            federation.client(site, "access", "propose", "--plugins", NAME)
        file = wheels[osaka] / MODULE / "metrics.py"
        kept = file.read_text("utf-8")
        file.write_text(kept + "\n", "utf-8")
        until(lambda: told(osaka) == "plugin-differs")
        assert f"cannot take part in {name}" in federation.server("status")
        with pytest.raises(AssertionError, match=r"cannot be approved here: plug-in consilium-example is expected"):
            federation.approve(osaka, name)
        file.write_text(kept, "utf-8")
        for site in SITES:
            federation.approve(site, name)
        assert federation.wait(name, 300) == "finished", federation.logs()
        result = federation.result(name)
        assert result["weights_sha256"] == simulated(config)
        assert isinstance(result["rounds"][-1]["validation"][f"{NAME}:kappa"], float)
        assert result["config"]["federation"]["part"]["sha256"] == result["config"]["model"]["part"]["sha256"]


def lower_floors(federation: Federation) -> None:
    """A hospital of a handful of drawn cases takes part."""
    from tests.consortium.consortium import lower_floors as lower

    for site in federation.sites:
        lower(federation.folder / site)
