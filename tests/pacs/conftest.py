"""What the tests of archives share: a package, and that sockets which pynetdicom leaves end within the test."""

import gc
from collections.abc import Iterator

import pytest

from tests.package.conftest import made, svm

__all__ = ["made", "svm"]


@pytest.fixture
def leftover_sockets() -> Iterator[None]:
    """Where a connection fails, pynetdicom leaves the socket to the collector: it must not complain in another."""
    yield
    gc.collect()
