"""A hospital's page, served once a module."""

from collections.abc import Iterator

import pytest

from tests.page.served_hospital import Consulted, HospitalPage


@pytest.fixture(scope="module")
def consulted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consulted]:
    """A consortium whose coordinator is reached."""
    consortium = Consulted(tmp_path_factory.mktemp("hospital"))
    with consortium.reachable():
        yield consortium


@pytest.fixture(scope="module")
def hospital(consulted: Consulted) -> Iterator[HospitalPage]:
    """The page of who made the site, and has all roles."""
    with HospitalPage(consulted.here) as page:
        yield page
