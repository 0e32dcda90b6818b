"""The files that the tests begin with are there: a name that has changed would put a long one at the end again."""

from tests.house.documents import ROOT
from tests.order import LONGEST


def test_the_longest_files_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
    assert len(set(LONGEST)) == len(LONGEST)
