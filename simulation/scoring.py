"""Every trained model on the test cases: its logits once, from which all figures are read and which are written down.

`predictions.csv` has a row a case and a column a model, so that each figure can be computed again (docs/results.md).
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.metrics import intervals, paired, performance, plugin_metric
from common.metrics.performance import Threshold
from common.metrics.score import Score
from common.models import Logits
from common.plugins import Part
from common.storage import tensorfile
from common.types import Cases, Labels, Places
from server.results import outcome_counts
from simulation.experiment import Experiment, TrainedModel


def logits(experiment: Experiment, model: TrainedModel, cases: Cases) -> Logits:
    """A trained model's logits on cases as they are before the federated normalisation."""
    pipeline, normalisation = experiment.data.pipeline, model.normalisation
    if normalisation:
        pipeline = pipeline.with_statistics(normalisation["mean"], normalisation["variance"])
    return experiment.model.scores(model.weights, pipeline.after(cases.images))


def logits_on_tests(experiment: Experiment, model: TrainedModel) -> Logits:
    """On all test cases; where sites have private layers, each site's as its own model scores them."""
    if not model.private:
        return logits(experiment, model, experiment.data.test)
    return np.concatenate([logits(experiment, model.at(s.name), s.test) for s in experiment.data.sites])


@dataclass(frozen=True)
class ModelOutput:
    """What one model says of all test cases."""

    logits: NDArray[Any]
    """float[n, k], in the order of `PreparedData.test`."""
    threshold: Threshold
    """The operating point, chosen on validation cases."""


@dataclass(frozen=True)
class TestCases:
    """The test cases of all sites."""

    labels: Labels
    people: NDArray[np.int64]
    """Whom each shows, int64[n]."""
    at: Mapping[str, Places]
    """By site, the places of its test cases; all of them where the test is common."""
    metrics: Sequence[Part]
    """Further figures, of plug-ins."""

    @classmethod
    def of(cls, experiment: Experiment) -> "TestCases":
        """Those of an experiment's data."""
        data, every = experiment.data, np.arange(len(experiment.data.test))
        whose = np.array([row.site for row in data.rows if row.part == "test"])
        common = experiment.config.sites.test_on == "common"
        people = data.test.people if data.test.people is not None else every
        names = [site.name for site in data.sites]
        at = {n: every if common else np.flatnonzero(whose == n) for n in names}
        return cls(data.test.labels, people, at, experiment.config.metrics)

    def score(self, output: ModelOutput, site: str | None = None) -> Score:
        """A model's figures on one site's test cases, or on all."""
        here = slice(None) if site is None else self.at[site]
        labels, people = self.labels[here], self.people[here]
        figures = performance.score(output.logits[here], labels, output.threshold)
        figures = replace(figures, plugin_figures=self._plugin_figures(output, here))
        if figures.auc is None or len(np.unique(people)) == len(people):
            return figures
        variance = paired.variance_of_auc(output.logits[here], labels, people)
        sure = dict(figures.intervals) | ({"auc": intervals.on_log_odds(figures.auc, variance)} if variance else {})
        return replace(figures, intervals=sure)

    def outcomes(self, output: ModelOutput) -> dict[str, Any]:
        """A model's outcomes on all test cases, as counts."""
        outcome = outcome_counts.of_cases(output.logits, self.labels, output.threshold)
        outcome["figures"] |= self._plugin_figures(output, slice(None))
        return outcome

    def _plugin_figures(self, output: ModelOutput, here: Places | slice) -> dict[str, float | None]:
        """At the operating point, as the others."""
        if not self.metrics:
            return {}
        counts = performance.count(output.logits[here], self.labels[here], output.threshold)
        return plugin_metric.figures(self.metrics, counts)

    def difference(self, first: ModelOutput, second: ModelOutput, site: str) -> paired.Difference | None:
        """How much larger the second model's AUC is on a site's test cases."""
        here, seed = self.at[site], 1 + list(self.at).index(site)  # each site draws for itself
        return paired.difference(first.logits[here], second.logits[here], self.labels[here], self.people[here], seed)


def score_all(experiment: Experiment, model: TrainedModel) -> Score:
    """A trained model's figures on all test cases."""
    return performance.score(logits_on_tests(experiment, model), experiment.data.test.labels, model.threshold)


def write_split(experiment: Experiment) -> None:
    """`split.csv`: every case with its site, its part (train, validation, test), patient and label."""
    rows = ((r.case, r.site, r.part, r.patient, r.label) for r in experiment.data.rows)
    _write(experiment.folder / "split.csv", ("case", "site", "part", "patient", "label"), rows)


def write_predictions(experiment: Experiment, outputs: Mapping[str, ModelOutput]) -> None:
    """`predictions.csv`: of every test case what each model says, as log-odds in full; thresholds are in
    result.json. Of two classes a column a model, of more a column a model and class, or finding."""
    columns: dict[str, NDArray[np.float64]] = {}
    for name, output in outputs.items():
        if experiment.data.test.labels.ndim == 2:
            margins = np.asarray(output.logits, np.float64)
        else:
            margins = performance.margins(output.logits)
        if margins.shape[1] == 1:
            columns[name] = margins[:, 0]
        else:
            columns |= {f"{name}:{c}": m for c, m in zip(experiment.data.labels, margins.T, strict=True)}
    tests = [row for row in experiment.data.rows if row.part == "test"]
    head = ("case", "site", "patient", "label", *columns)
    scores = (map(repr, map(float, row)) for row in zip(*columns.values(), strict=True))
    rows = ((r.case, r.site, r.patient, r.label, *s) for r, s in zip(tests, scores, strict=True))
    _write(experiment.folder / "predictions.csv", head, rows)


def _write(path: Path, head: tuple[str, ...], rows: Any) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    tensorfile.write_atomically(path, text.getvalue().encode())
