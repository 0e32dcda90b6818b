"""How many cases a site must have for a kind of sum, so that the sum has enough whatever colluding sites claim.

Of the N sites of a plan fewer than a third may collude: at most c = ceil(N/3) - 1. Every sum has t = floor(2N/3) + 1
sites, so t - c of them are honest. A sum that must run over F cases is asked only if every site has F / (t - c) of its
own: then the honest ones alone reach F. A site says in its signed approval which kinds it meets (`fits`), one bit each;
what is asked follows from all approvals (`kinds_of_all`), and is the same at every site.

    statistics   mean and variance of every pixel                F = 60
    likeness     26 characteristics' second moments              F = 260
    gram/q       q² + 1 cosine frequencies' second moments       F = 5 for each number sent, q of 4, 8, 12, 16
    validation   evaluations: enough validation cases at this site

What tells membership is how many numbers a sum has for each case in it (`benchmarks/svm_frequencies.py`): at one
number a case AUC .69, at three .82, at a quarter .61, at an eighth .57, whatever the number of dimensions. The floor of
second moments keeps it below .6. That of pixels' means and variances does not (AUC .98 at 60 cases, .68 at 1000), nor
that of how images look (.71 at 260): they only keep a sum from being a few images.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from common.config import Described, Federation, Frozen, Training
from common.errors import PolicyError
from common.metrics.out_of_distribution import TRAITS
from common.secagg.key_period_plan import colluders, least_draw, threshold

FREQUENCIES = (4, 8, 12, 16)
"""Cosine frequencies a side that second moments may be asked of."""
CASES_A_NUMBER = 5

Least = Annotated[int, Field(ge=1, le=10**9)]


class Floors(Frozen):
    """The least numbers of cases; a site's own stand under `policy.least` of its site.yaml."""

    training: Least = 20
    """Training cases of a site."""
    validation: Least = 10
    """Validation cases of a site, to take part in evaluations."""
    of_each_class: Least = 5
    """Of each class none or this many, in training and in validation."""
    statistics: Least = 60
    """Training cases in a sum of pixels' means and variances."""
    likeness: Least = 10 * TRAITS
    """Training cases in a sum of how images look."""
    a_number: Least = CASES_A_NUMBER
    """Training cases in a sum of second moments, for each number of it."""
    active: Least = 5
    """Cases of a site on one side inside the margin at the point of a gradient: none, or this many."""


@dataclass(frozen=True)
class CaseCounts:
    """Cases of a site by class."""

    training: tuple[int, ...]
    validation: tuple[int, ...]


def honest(sites: int) -> int:
    """t - c: how many sites of every sum do not collude, of so many of the plan."""
    return threshold(sites) - colluders(sites)


def local_floor(cases: int, sites: int) -> int:
    """What each site must have, so that every sum has so many cases of honest sites."""
    return math.ceil(cases / honest(sites))


def fits(sites: int, counts: CaseCounts, floors: Floors | None = None) -> tuple[str, ...]:
    """The kinds of sums whose floors a site meets, in a plan of so many sites."""
    least, cases = floors or Floors(), sum(counts.training)
    totals = {"statistics": least.statistics, "likeness": least.likeness}
    totals |= {f"gram/{q}": least.a_number * (q * q + 1) * (q * q + 2) // 2 for q in FREQUENCIES}
    kinds = [kind for kind, total in totals.items() if cases >= local_floor(total, sites)]
    enough = sum(counts.validation) >= least.validation and _are_many(counts.validation, least)
    return (*kinds, "validation") if enough else tuple(kinds)


def kinds_of_all(fits_by_site: Iterable[Collection[str]]) -> frozenset[str]:
    """The kinds that every site meets."""
    sets = [frozenset(kinds) for kinds in fits_by_site]
    return frozenset.intersection(*sets) if sets else frozenset()


def most_frequencies(kinds: Collection[str]) -> int:
    """The largest q whose second moments all meet; 0: none, and the SVM goes without a preconditioner."""
    return max((q for q in FREQUENCIES if f"gram/{q}" in kinds), default=0)


def frequencies_for(cases: Sequence[int]) -> int:
    """The same for sites with so many training cases, as in a simulation."""
    return most_frequencies(kinds_of_all(fits(len(cases), CaseCounts((n,), ())) for n in cases))


def refuse_too_few(site: str, counts: CaseCounts, floors: Floors | None = None) -> None:
    """Refuse to take part with so few cases that a sum over them covers nobody.

    Raises:
        PolicyError: too-few-cases.
    """
    least, cases = floors or Floors(), sum(counts.training)
    if cases < least.training or not _are_many(counts.training, least):
        raise PolicyError(
            "too-few-cases",
            f"{site}: {cases} training cases ({', '.join(map(str, counts.training))} by class), expected "
            f"{least.training} at least, and of each class none or {least.of_each_class}. Import more cases; the data "
            "officer may lower policy.least in site.yaml.",
        )


def refuse_small_draw(sites: int, federation: Federation) -> None:
    """Refuse a plan whose rounds ask so few of its sites that those which may lie could be most of them.

    Raises:
        PolicyError: fraction-too-small, with the least share.
    """
    least = least_draw(sites)
    if max(federation.quorum, round(federation.fraction * sites)) < least:
        share = math.ceil(100 * least / sites) / 100
        raise PolicyError(
            "fraction-too-small",
            f"federation.fraction: {federation.fraction:g} of {sites} sites, expected {share:g} at least: {least} of "
            "them a round, so that beside all that may lie three honest ones are in every sum.",
        )


def refuse_newton(training: Training) -> None:
    """Refuse a plan whose solver sums second moments over the active cases alone, which may be few at any number.

    Raises:
        PolicyError: newton-tells-too-much.
    """
    if training.model.kind == "svm" and training.model.solver == "newton":
        raise PolicyError(
            "newton-tells-too-much",
            "model.solver: newton sums second moments over the cases inside the margin alone, which can be few however "
            "many there are. Expected gram-lbfgs or lbfgs; newton is for simulations.",
        )


def refuse_chosen_point(training: Training) -> None:
    """Refuse a plan whose package says where the SVM's first gradient is asked, or over whom a network's first sum is.

    Raises:
        PolicyError: chosen-point, fraction-too-small.
    """
    if training.initial is None:
        return
    if training.model.kind == "svm":
        raise PolicyError(
            "chosen-point",
            "initial: a package's weights are a point of whoever made it, and the SVM's gradient at a crafted one "
            "shows single images. Expected none: the optimum is the same from wherever a descent begins. A simulation "
            "may.",
        )
    if training.federation.fraction < 1:
        raise PolicyError(
            "fraction-too-small",
            f"federation.fraction: {training.federation.fraction:g}, expected 1 with initial: two first sums over "
            "other draws, from packages that are alike, would tell what the odd sites add.",
        )


def refuse_dense_on_pixels(training: Training) -> None:
    """Refuse a network whose dense layer stands on the image itself, or an encoder's numbers, without a budget.

    Of a unit that one image alone activates, the gradient of its weights by that of its bias is this image, exactly
    (Geiping et al., NeurIPS 2020, prop. 3.1), however many images and sites are in the sum; and of a thousand units
    with random weights dozens are such (`tests/attacks/test_dense_on_pixels.py`). Who means harm finds other networks
    that tell as much (docs/threat-model.md): this refuses what nobody would notice.

    Raises:
        PolicyError: dense-on-pixels.
    """
    if training.budget is None and isinstance(training.model, Described):
        mixing = ("Dense" if layer.layer == "Dense" else "" if getattr(layer, "kernel_size", 1) == 1 else "convolution"
                  for layer in training.model.layers)  # fmt: skip
        if next(filter(None, mixing), "") == "Dense":
            raise PolicyError(
                "dense-on-pixels",
                "model.layers: a Dense layer stands on the images' own numbers: of each of its units that one image "
                "alone activates, a sum of gradients over all sites shows that image. Expected a convolution before "
                "it, a linear model (kind: svm), or a budget of privacy; a simulation may.",
            )


def _are_many(by_class: Iterable[int], least: Floors) -> bool:
    return all(n == 0 or n >= least.of_each_class for n in by_class)
