"""What a plan carries over from an earlier run, in the place of asking for it again over other sites.

Statistics over A, B and C beside the same over A, B, C and D tell those of D. So a run whose sites or images are not
quite those of an earlier one asks for none: it goes on with what that run summed, and begins at another point, so that
none of its questions is one that was answered before. A site that was in the earlier run compares the arrays with its
own notes; a site that was not relies on those that were, more than a third of the plan's sites.

    recipe/…     federated mean and variance
    likeness/…   how the training images look
    distances/…  how far the validation images are from them
    gram/…       second moments, by which the SVM's descent is preconditioned
    classes/…    what a case of each class counts, where classes are balanced
"""

from common.errors import PolicyError
from common.plans.plan import Carried
from common.storage import tensorfile
from common.trust.keys import digest
from common.types import Tensors, prefixed, under

NAME = "carried"
"""The group of arrays by which they travel."""
PARTS = ("recipe", "likeness", "distances", "gram", "classes")
COMPARED = ("recipe", "likeness", "gram", "classes")
"""What a site must have notes of, to know what a plan carries. Distances are often the last that a run sums, and are
shown to no site any more; nothing that is computed depends on them."""


def fingerprints(arrays: Tensors) -> dict[str, str]:
    """SHA-256 of each part that there is."""
    parts = {part: prefixed(part, under(part, arrays)) for part in PARTS}
    return {
        part: digest("carried", part.encode(), tensorfile.pack(dict(sorted(content.items())), {})).hex()
        for part, content in parts.items()
        if content
    }


def verified(source: Carried, arrays: Tensors) -> Tensors:
    """The arrays that came, if they are those that the plan names.

    Raises:
        PolicyError: if they are not.
    """
    parts = {name: value for name, value in arrays.items() if name.partition("/")[0] in PARTS}
    if fingerprints(parts) != dict(source.sha256):
        raise PolicyError(
            "forged-carry",
            f"the arrays that came with the plan are not those that it carries from {source.name}. Nothing was sent.",
        )
    return parts


def knows(source: Carried, notes: Tensors) -> bool:
    """Whether a site's own notes of the earlier run have all that a plan carries from it.

    Args:
        notes: parts that the site recomputed itself; those that it lacks it cannot compare.

    Raises:
        PolicyError: if a part is another than this site's own.
    """
    mine, parts = fingerprints(notes), dict(source.sha256)
    for part, value in parts.items():
        if mine.get(part, value) != value:
            raise PolicyError(
                "forged-carry",
                f"the plan carries other numbers ('{part}') from {source.name} than this site has of that run. Do not "
                "approve it; tell the consortium.",
            )
    return set(parts) & set(COMPARED) <= set(mine)
