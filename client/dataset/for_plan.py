"""This hospital's images for a plan: read, divided, and held against what the plan says that they are."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from client.dataset import loading, splits
from client.dataset.case_source import open_table
from client.home import Home
from client.sources.case_table import SPLITS, Split, Table
from common import config as configuration
from common.config import Config, Encrypted, Folder, Manifest
from common.errors import ConfigError, DataError, LabelError
from common.imaging import Pipeline
from common.plans.plan import RunPlan
from common.types import SiteCases


def site_config(home: Home, plan: RunPlan) -> tuple[Config, str | None]:
    """The plan's training on this hospital's images, and whose of the data's cases are meant (None: all).

    Raises:
        ConfigError: if the data set is not there.
    """
    if (dataset := home.settings.datasets.get(name := plan.content.dataset)) is None:
        raise ConfigError(f"{home.folder / 'site.yaml'}: there is no data set '{name}' under datasets.")
    tree = plan.content.training.model_dump(mode="json")
    data = dataset.data
    if isinstance(data, Folder | Manifest | Encrypted) and not (data.labels or data.findings):
        data = data.model_copy(update={"labels": plan.content.labels})  # one that has some of the classes has its part
    tree |= {"data": data.model_dump(mode="json"), "sites": dataset.sites.model_dump(mode="json")}
    return configuration.from_tree(tree, home.folder / "site.yaml"), dataset.take


def refuse_unready(home: Home, plan: RunPlan) -> None:
    """Hold one image of every size, after the preprocessing, and the number of cases against what a plan expects.

    Raises:
        ConfigError, DataError, EncoderError: images that cannot be read or preprocessed, have another shape or other
            labels, or are more than the plan has room for.
    """
    config, _ = site_config(home, plan)
    cases = [*_own_cases_in_table(home, plan)]
    if not cases:
        raise DataError(f"data set '{plan.content.dataset}' has no case of {home.site}.")
    images = cases[0][0].images
    for index in {images.facts(i).shape: i for _, i, _ in cases}.values():
        stack = Pipeline(config.preprocess).before(images.pictures([index]))
        _refuse_shape(plan, stack.shape[1:], f"{images.name(index)} is an image")
    _refuse_too_many(plan, sum(part == "train" for *_, part in cases))


Row = tuple[str, str, str, str]
"""Of a case: the digest of what its image was taken from, its class, its part, and the digest of the image itself."""


def own_rows(home: Home, plan: RunPlan) -> list[Row]:
    """What is known of the site's own cases before their images are prepared.

    Raises:
        ConfigError, DataError: as `own_cases`, as far as that can be told before preprocessing.
    """
    return [
        (table.images.content(i), table.word(i), part, table.images.facts(i).digest.hex())
        for table, i, part in _own_cases_in_table(home, plan)
    ]


class OwnCase(NamedTuple):
    """Whom a case shows, in which part it is, and the digest of its image."""

    person: str
    """By patient, study or file (`Table.person`); else by what the image was taken from."""
    is_known: bool
    """Whether a patient, a study or a file says who it is."""
    part: Split
    image: str


def own_people(home: Home, plan: RunPlan) -> list[OwnCase]:
    """Whom the site's own cases show.

    Raises:
        ConfigError, DataError: as `own_rows`.
    """
    cases = []
    for table, i, part in _own_cases_in_table(home, plan):
        person, image = table.person(i), table.images.facts(i).digest.hex()
        cases.append(OwnCase(person or f"content {table.images.content(i)}", person is not None, part, image))
    return cases


def _own_cases_in_table(home: Home, plan: RunPlan) -> Iterator[tuple[Table, int, Split]]:
    """The table of the site's data set, and number and part of each of its own cases."""
    config, take = site_config(home, plan)
    table = open_table(config.data, home=home).of(home.site)
    _refuse_other_labels(plan, table.classes)
    division = splits.divide(table, config.sites, plan.content.training.seeds[0], config.data.on_error)
    table = splits.hide(table, division, config.sites.unlabelled)
    _refuse_other_site(home, plan, take, division.names)
    place = division.names.index(take) if take is not None else 0
    for i in np.flatnonzero(division.site == place).tolist():
        yield table, i, SPLITS[division.split[i]]


def own_cases(home: Home, plan: RunPlan) -> SiteCases:
    """The cases under the site's own name, after the preprocessing.

    Raises:
        ConfigError: data of several sites, and `take` does not say which.
        LabelError: other labels than the plan's.
        DataError: another shape than the plan's, or more cases than it has room for.
    """
    config, take = site_config(home, plan)
    content = plan.content
    data = loading.load(config, content.training.seeds[0], home.site, home)
    by_name = {cases.name: cases for cases in data.sites}
    _refuse_other_site(home, plan, take, tuple(by_name))
    cases = by_name[take] if take is not None else data.sites[0]
    _refuse_other_labels(plan, data.labels)
    _refuse_shape(plan, cases.train.images.shape[1:], f"data set '{content.dataset}' has images")
    _refuse_too_many(plan, len(cases.train))
    return replace(cases, name=home.site, warnings=tuple(finding.text() for finding in data.warnings))


def _refuse_other_site(home: Home, plan: RunPlan, take: str | None, names: Sequence[str]) -> None:
    where = f"{home.folder / 'site.yaml'}: datasets.{plan.content.dataset}"
    if take is None and len(names) > 1:
        raise ConfigError(
            f"{where}: these data have {len(names)} sites; say with `take` which of them is this hospital: "
            f"{', '.join(names)}."
        )
    if take is not None and take not in names:
        raise ConfigError(f"{where}.take is {take!r}, expected one of: {', '.join(names)}.")


def _refuse_shape(plan: RunPlan, shape: tuple[int, ...], what: str) -> None:
    if shape != plan.content.shape:
        raise DataError(
            f"{what} of {'×'.join(map(str, shape))} after preprocessing; plan {plan.name} expects "
            f"{'×'.join(map(str, plan.content.shape))}. Bring such images, or ask for a plan that resizes."
        )


def _refuse_too_many(plan: RunPlan, training: int) -> None:
    if training > (most := plan.content.training.federation.weight_bound):
        raise DataError(
            f"data set '{plan.content.dataset}' has {training} training cases; plan {plan.name} has room for {most:g}. "
            "Ask the coordinator for a plan with a larger federation.weight_bound."
        )


def _refuse_other_labels(plan: RunPlan, labels: tuple[str, ...]) -> None:
    if labels != plan.content.labels:
        expectation = f"plan {plan.name} expects {', '.join(plan.content.labels)}, in this order"
        raise LabelError(f"data set '{plan.content.dataset}'", labels, expectation)
