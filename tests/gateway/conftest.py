"""One coordinator's door for all tests that knock at it."""

from collections.abc import Iterator

import pytest

from tests.gateway.running_gateway import Door


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Started once; nothing that a test does to it may stay."""
    made = Door(tmp_path_factory.mktemp("door"))
    made.start()
    yield made
    made.stop()
