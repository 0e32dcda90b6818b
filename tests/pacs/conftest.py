"""Small runs and their packages, as the tests of packages have them."""

from tests.package.conftest import made, svm

__all__ = ["made", "svm"]
