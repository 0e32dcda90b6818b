"""Two small runs and their packages, as the tests of packages have them."""

from tests.package.conftest import cnn, made, svm

__all__ = ["cnn", "made", "svm"]
