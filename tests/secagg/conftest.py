"""Counts what the property tests of secure aggregation tried.

CONSILIUM_EXAMPLES=500 python -m pytest tests/secagg/test_exact_sum.py    tries more than the usual number
"""

from collections import Counter

import pytest

from tests.tally import TRIED


@pytest.fixture
def tried() -> Counter[str]:
    """What was tried, by name."""
    return TRIED
