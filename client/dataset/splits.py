"""Which site has which cases, and what each site trains on, chooses by and is tested on.

No person is ever on both sides of a split, and no person is at two simulated sites. Everything follows from the table,
the configuration and the seed: NumPy's PCG64 on `SeedSequence([seed, purpose, …])`, one stream for each purpose and
site, so that a real hospital derives its own split without knowing the others'.

Dirichlet over labels: Hsu, Qi & Brown 2019, arXiv:1909.06335 (per class, shares of the sites ~ Dir(α)).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from client.dataset.twins import NONE, Twins, find
from client.sources.case_table import SPLITS, Problem, Table, no_sites, refuse
from common.config import Sites
from common.errors import ConfigError, DataError
from common.types import UNKNOWN

Ints = NDArray[np.int64]

DEAL, HOLD_OUT = 1, 2  # purposes of random streams
DRAWS = 1000
MIN_TRAIN = 10
BOTH_SIDES = "The data's own split has a patient, a study or a file on both sides"


@dataclass(frozen=True)
class Division:
    """Who has what: for each case of the table its site's index and its split's (0, 1, 2 as in SPLITS)."""

    names: tuple[str, ...]
    site: Ints
    """int64[n]; -1: left out."""
    split: Ints
    kind: Literal["natural", "simulated"]
    text: str
    """For people: `5 simulated sites (Dirichlet 0.5 over labels)`."""
    problems: tuple[Problem, ...] = ()
    twins: Twins = NONE
    """Near-duplicates; each stays on the side of the other."""


def divide(
    table: Table, sites: Sites, seed: int, on_error: Literal["stop", "report"] = "stop", fold: int | None = None
) -> Division:
    """Give every case its site and its split.

    Args:
        fold: which of `sites.folds`, from 0, is tested on; none: a share is held out.

    Raises:
        ConfigError: `sites.split: natural`, and the data names no sites; folds, and the data bring a test set.
        DataError: too few cases to divide, or a person on both sides of the data's own split.
    """
    people = np.unique(table.people(), return_inverse=True)[1].astype(np.int64)
    own_split = None if table.split is None else np.array([SPLITS.index(s) for s in table.split], np.int64)
    if fold is not None and own_split is not None and (own_split == 2).any():
        raise ConfigError("sites.folds: the data bring a test set of their own, which cannot be dealt into folds.")
    is_left_out, problems = _on_both_sides(table, people, own_split, on_error)
    people, twins = _with_twins(table, people, sites)
    if sites.split == "natural":
        if table.site is None:
            raise no_sites()
        names = tuple(sorted(set(table.site)))
        site = np.array([names.index(s) for s in table.site], np.int64)
        text = f"{len(names)} natural sites, as the data names them"
    else:
        names = tuple(f"site-{i + 1}" for i in range(sites.count))
        try:
            site, text = _simulate(table, people, own_split, sites, seed), describe(sites)
        except DataError:
            if problems:  # too few are left, since these are
                raise refuse(problems, BOTH_SIDES) from None
            raise
    # A test set that the data brings is nobody's to add to, even where a site has no part of it.
    strata = table.strata()[0]
    plan = sites if own_split is None or not (own_split == 2).any() else sites.model_copy(update={"test": 0.0})
    split = np.empty(len(table), np.int64)
    for i, name in enumerate(names):
        here = np.flatnonzero(site == i)
        rng = _stream(seed, HOLD_OUT, *name.encode())
        split[here] = hold_out(
            rng, strata[here], people[here], None if own_split is None else own_split[here], plan, fold
        )
    site = np.where(is_left_out, -1, site)
    kind: Literal["natural", "simulated"] = "natural" if sites.split == "natural" else "simulated"
    return Division(names, site, split, kind, text, problems, twins)


def _with_twins(table: Table, people: Ints, sites: Sites) -> tuple[Ints, Twins]:
    """Who must not be parted, with the people of near-duplicates together; and these."""
    if sites.near_duplicates is False:
        return people, NONE
    own_places = table.site if sites.split == "natural" and table.site else ("",) * len(table)
    places = np.unique(np.array(own_places), return_inverse=True)[1].astype(np.int64)
    thumbnails = [table.images.thumbnail(i) for i in range(len(table))]
    twins = find(thumbnails, sites.near_duplicates, people, places)
    return twins.together(people), twins


def describe(sites: Sites) -> str:
    """How sites were simulated, for people."""
    how = {
        "iid": "IID",
        "dirichlet": f"Dirichlet {sites.alpha:g} over labels",
        "size": f"Dirichlet {sites.alpha:g} over sizes",
        "scanner": f"IID, scanners shifted by {sites.shift:g}",
    }[sites.split]
    return f"{sites.count} simulated sites ({how})"


def hold_out(
    rng: np.random.Generator, labels: Ints, people: Ints, own_split: Ints | None, sites: Sites, fold: int | None = None
) -> Ints:
    """Split one site's cases: int64[n] of indices into SPLITS. What the data has split already stays as it is.

    A split that the data lacks is cut from its training cases: person by person, each class on its own, and at least
    one person of each class where the class has three. Of folds each person is tested in one, unless it is the only
    one of its class, which stays to train on.
    """
    split = np.zeros(len(labels), np.int64) if own_split is None else own_split.copy()
    missing = [
        (index, share)
        for index, share in ((1, sites.validation), (2, sites.test))
        if share > 0 and (own_split is None or not (own_split == index).any()) and (fold is None or index == 1)
    ]
    for group in _strata(rng, labels, people, split == 0) if missing or fold is not None else []:
        if fold is not None and len(group) > 1:
            split[np.isin(people, group[fold :: sites.folds]) & (split == 0)] = 2
            group = np.delete(group, slice(fold, None, sites.folds))
        start = 0
        for index, share in missing:
            count = round(share * len(group)) or int(len(group) > len(missing))
            count = min(count, len(group) - 1 - start)  # one of each class stays to train on
            split[np.isin(people, group[start : start + count]) & (split == 0)] = index
            start += count
    return split


def hide(table: Table, division: Division, unlabelled: Mapping[str, Sequence[str]]) -> Table:
    """The table without what nobody has looked for at these sites: its labels become unknown.

    Raises:
        ConfigError: there is no such site.
    """
    if strange := sorted(set(unlabelled) - set(division.names)):
        raise ConfigError(
            f"sites.unlabelled: there is no site '{strange[0]}'; expected some of {', '.join(division.names)}."
        )
    labels = table.labels.copy() if unlabelled else table.labels
    for name, names in unlabelled.items():
        here = np.flatnonzero(division.site == division.names.index(name))
        labels[np.ix_(here, np.array([table.classes.index(finding) for finding in names], np.int64))] = UNKNOWN
    return replace(table, labels=labels)


def _simulate(table: Table, people: Ints, own_split: Ints | None, sites: Sites, seed: int) -> Ints:
    """Deal the people of each class to the sites by shares; the data's own splits are dealt alike."""
    rng, (labels, classes) = _stream(seed, DEAL), table.strata()
    parts = (
        [np.ones(len(people), bool)]
        if own_split is None
        else [own_split == s for s in range(len(SPLITS)) if (own_split == s).any()]
    )
    strata = [_strata(rng, labels, people, part, classes) for part in parts]
    # People whom the data's own split has in two parts are refused earlier, so each is dealt once.
    needed = [min(MIN_TRAIN, int(parts[0].sum()) // (2 * sites.count))] + [1] * (len(parts) - 1)
    site_of, best = np.empty(people.max() + 1, np.int64), 0
    for _ in range(DRAWS):
        shares = _shares(rng, sites, classes)
        for groups in strata:
            for share, group in zip(shares, groups, strict=True):
                _deal(site_of, group, share)
        counts = [np.bincount(site_of[people[part]], minlength=sites.count).min() for part in parts]
        if all(count >= max(need, 1) for count, need in zip(counts, needed, strict=True)):
            return site_of[people]
        best = max(best, int(counts[0]))
    raise DataError(
        f"{DRAWS} draws left some of the {sites.count} sites with too few cases: at least {needed[0]} for training and "
        f"one of each split the data has are needed, the best draw gave {best} of {int(parts[0].sum())}. "
        f"Lower sites.count, raise sites.alpha ({sites.alpha:g}), or look at what must stay together: patients, "
        "and near-duplicates (sites.near_duplicates)."
    )


def _shares(rng: np.random.Generator, sites: Sites, classes: int) -> NDArray[np.float64]:
    """float64[classes, sites], rows sum to 1."""
    if sites.split == "dirichlet":
        return rng.dirichlet(np.full(sites.count, sites.alpha), size=classes)
    row = rng.dirichlet(np.full(sites.count, sites.alpha)) if sites.split == "size" else np.full(sites.count, 1.0)
    return np.tile(row / row.sum(), (classes, 1))


def _deal(site_of: Ints, group: Ints, share: NDArray[np.float64]) -> None:
    cuts = np.round(np.cumsum(share)[:-1] * len(group)).astype(np.int64)
    for site, share_of_group in enumerate(np.split(group, cuts)):
        site_of[share_of_group] = site


def _strata(
    rng: np.random.Generator, labels: Ints, people: Ints, part: NDArray[np.bool_], classes: int = 0
) -> list[Ints]:
    """The people of a part in random order, by class; a person of several classes counts for the highest index."""
    label_of = np.full(people.max() + 1, -1, np.int64)
    np.maximum.at(label_of, people[part], labels[part])
    classes_here = range(classes) if classes else np.unique(label_of[label_of >= 0])
    return [rng.permutation(np.flatnonzero(label_of == label)) for label in classes_here]


def _on_both_sides(
    table: Table, people: Ints, own_split: Ints | None, on_error: Literal["stop", "report"]
) -> tuple[NDArray[np.bool_], tuple[Problem, ...]]:
    """Cases of one person whom the data's own split has on both sides: refused, or left out of the lesser side."""
    if own_split is None:
        return np.zeros(len(people), bool), ()
    persons = [table.person(i) for i in range(len(table))]
    furthest = np.zeros(people.max() + 1, np.int64)
    np.maximum.at(furthest, people, own_split)
    is_left_out = (own_split < furthest[people]) & np.array([who is not None for who in persons])
    problems = tuple(
        Problem(table.images.name(int(i)), None, "{} '{}' is in {} and in {}".format(
            *(persons[i] or "").split(" ", 1), SPLITS[own_split[i]], SPLITS[furthest[people[i]]]))
        for i in np.flatnonzero(is_left_out)
    )  # fmt: skip
    if problems and on_error == "stop":
        raise refuse(problems, BOTH_SIDES)
    return is_left_out, problems


def _stream(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *purpose])))
