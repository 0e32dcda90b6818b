"""A consortium and its live page."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.dashboard.dashboard_app import login_of
from tests.consortium.consortium import Consortium
from tests.dashboard.served import PASSWORD, Page, alive


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    """Made once; tests work on copies."""
    return Consortium(tmp_path_factory.mktemp("page") / "life")


@pytest.fixture
def consortium(made: Consortium, tmp_path: Path) -> Consortium:
    """A consortium whose sites are all connected and idle."""
    shutil.copytree(made.folder, tmp_path / "life")
    found = made.at(tmp_path / "life")
    alive(found.home)
    return found


@pytest.fixture
def page(consortium: Consortium) -> Iterator[Page]:
    with Page(consortium.home) as found:
        yield found


@pytest.fixture
def locked(consortium: Consortium) -> Iterator[Page]:
    """A page with a password."""
    login_of(consortium.home).set_password(PASSWORD)
    with Page(consortium.home) as found:
        yield found
