"""A consortium whose hospitals reach its gateway over TLS, and what they could offer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.__main__ import main as hospital
from server.__main__ import main as coordinator
from server.catalogue.catalogue import Catalogue
from server.gateway.site_api import FolderSiteApi
from tests.catalogue.fair import ABOUT, Fair
from tests.consortium.consortium import Consortium
from tests.dashboard.served import Page, alive
from tests.gateway.running_gateway import Serving
from tests.package.shop import Made, make
from tests.superlink.superlink import free_port


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model that its own publisher has signed."""
    return make("svm", tmp_path_factory.mktemp("model"))


@pytest.fixture
def fair(tmp_path: Path) -> Iterator[Fair]:
    consortium = Consortium(tmp_path)
    consortium.roster()
    port = free_port()
    settings: dict[str, Any] = yaml.safe_load((consortium.home.folder / "consortium.yaml").read_text(encoding="utf-8"))
    settings |= {"listen": "127.0.0.1", "port": port, "address": f"127.0.0.1:{port}"}
    (consortium.home.folder / "consortium.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    for site in consortium.sites.values():
        (site.folder / "address").write_text(f"127.0.0.1:{port}\n", encoding="utf-8")
        told = yaml.safe_load((site.folder / "site.yaml").read_text(encoding="utf-8"))
        told["datasets"]["chest"]["about"] = ABOUT
        (site.folder / "site.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    serving = Serving(consortium.home, FolderSiteApi(consortium.home))
    serving.start()
    yield Fair(consortium, hospital, coordinator, Catalogue(consortium.home))
    serving.stop()


@pytest.fixture
def page(fair: Fair) -> Iterator[Page]:
    """The coordinator's live page."""
    alive(fair.consortium.home)
    with Page(fair.consortium.home) as found:
        yield found
