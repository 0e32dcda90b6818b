"""The repetitions of a run, and what the runs of a sweep have in common: prepared data, and models trained alone."""

import json
from dataclasses import dataclass, field
from typing import Any

from client.dataset import loading
from client.dataset.loading import PreparedData
from client.home import Home
from common.algorithms.course import for_one
from common.config import Config

WITHOUT_EFFECT = {"secure", "simulate", "timeout_s"}
"""Settings of a federation that a member alone has no use for."""


@dataclass(frozen=True)
class Repetition:
    """One division of the data, and one training on it."""

    seed: int
    """Of the training."""
    split: int
    fold: int | None
    label: int | str
    """What results call it: the seed where that is all that differs."""


def repetitions(config: Config) -> list[Repetition]:
    """Every seed with every split and fold."""
    seeds, folds = config.sites.seed, range(config.sites.folds) if config.sites.folds else (None,)
    turns = []
    for seed in config.seeds:
        splits = (seed,) if seeds is None else (seeds,) if isinstance(seeds, int) else seeds
        for split in splits:
            for fold in folds:
                parts = [str(seed)] + [f"split-{split}"] * (len(splits) > 1)
                parts += [] if fold is None else [f"fold-{fold + 1}"]
                turns.append(Repetition(seed, split, fold, seed if len(parts) == 1 else "-".join(parts)))
    return turns


@dataclass
class SharedParts:
    """What was made once, by all that decides on it."""

    divisions: dict[str, PreparedData] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    """`TrainedModel`s of single members."""

    def data(self, config: Config, turn: Repetition, home: Home | None = None) -> PreparedData:
        """The cases of one repetition; the last ones are kept, for runs that differ in training alone."""
        parts = ("data", "sites", "preprocess", "privacy")
        key = f"{_text(config, parts)} {turn.split} {turn.fold}"
        if key not in self.divisions:
            if len(self.divisions) >= 8:
                self.divisions.clear()
            self.divisions[key] = loading.load(config, turn.split, home=home, fold=turn.fold)
        return self.divisions[key]

    @staticmethod
    def key_of(config: Config, label: int | str, member: str) -> str:
        """All that decides on the model of one member."""
        alone = for_one(config)
        federation = alone.federation.model_dump(mode="json", exclude=WITHOUT_EFFECT)
        if alone.model.kind == "svm":
            del federation["rounds"]  # it is solved to the end
        parts = ("data", "sites", "preprocess", "augment", "model", "operating_point", "likeness")
        return f"{_text(alone, parts)} {json.dumps(federation, sort_keys=True)} {label} {member}"


def _text(config: Config, parts: tuple[str, ...]) -> str:
    return json.dumps(config.model_dump(mode="json", include=set(parts)), sort_keys=True)
