"""A metric: a number, or None, of counts that are summed over sites."""

import math

import numpy as np
import pytest

from common.metrics import performance
from common.types import UNKNOWN
from tests.contracts.conftest import Figure


def counts(n: int, classes: int, findings: bool) -> dict[str, np.ndarray]:
    random = np.random.default_rng(n + classes)
    logits = random.normal(size=(n, classes)).astype(np.float32)
    labels = random.choice([0, 1, UNKNOWN], (n, classes)) if findings else random.integers(0, classes, n)
    return dict(performance.count(logits, labels))


@pytest.mark.parametrize(("classes", "findings"), [(2, False), (4, False), (3, True)])
@pytest.mark.parametrize("n", [0, 1, 60])
def test_a_metric_is_a_number_or_none_and_changes_no_count(
    metric: Figure, n: int, classes: int, findings: bool
) -> None:
    summed = counts(n, classes, findings)
    before = {name: array.copy() for name, array in summed.items()}
    figure = metric(summed)
    assert figure is None or math.isfinite(figure)
    assert all(np.array_equal(summed[name], before[name]) for name in summed)
    assert metric(summed) == figure
