"""Two small runs and their packages, made once."""

import pytest

from tests.package.shop import Made, make


@pytest.fixture(scope="session")
def svm(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make("svm", tmp_path_factory.mktemp("svm"))


@pytest.fixture(scope="session")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make("cnn", tmp_path_factory.mktemp("cnn"))


@pytest.fixture(params=["svm", "cnn"])
def made(request: pytest.FixtureRequest) -> Made:
    found: Made = request.getfixturevalue(request.param)
    return found
