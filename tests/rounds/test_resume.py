"""A run that was killed goes on and ends in the same bits; benchmarks/resume.py does the same more often."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import resume

SHORT = ("baselines=[pooled]", "personalise.mix=false")
CNN = replace(resume.CNN, more=(*SHORT, "federation.rounds=6"))
SVM = replace(resume.SVM, more=SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("case", [CNN, SVM], ids=["cnn", "svm"])
def test_a_run_killed_at_a_random_moment_and_resumed_gives_the_same_bits(case: resume.Case, tmp_path: Path) -> None:
    outcome = resume.measure(case, 1, tmp_path, random.Random(3), repeats=0)  # the resumed run is a second one already
    assert outcome["differs"] == []
    assert outcome["files"] >= 3
