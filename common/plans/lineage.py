"""The lineage of a run: a digest of all its sums so far, on which every mask of the next question depends.

    L₀ = H(plan, approvals)          Lᵢ₊₁ = H(round_ctx, survivors, sum)          question = H(Lᵢ, what is asked)

`round_ctx` takes in the question, and with it Lᵢ. A site that saw another history than the others derives other masks,
and what it sends is of no use in their sum; so behind every sum stand more than two thirds of the plan's sites, each of
which has recomputed the same run. A question that came to nothing leaves the lineage as it is.
"""

from collections.abc import Sequence

from common.messages import answer_layout
from common.messages.transport import Request
from common.plans.approvals import Approvals
from common.secagg import masks
from common.trust.keys import digest


def start(approvals: Approvals) -> bytes:
    """Before the first sum: 32 bytes."""
    return digest("lineage", approvals.digest)


def following(round_context: bytes, survivors: Sequence[str], words: masks.Words) -> bytes:
    """After a sum: 32 bytes."""
    return digest("lineage", round_context, *(site.encode() for site in survivors), masks.hash_of(words))


def question(request: Request, lineage: bytes) -> bytes:
    """The hash of what is asked, and of all sums before it: 32 bytes."""
    return question_after(lineage, answer_layout.question(request))


def question_after(lineage: bytes, content: bytes) -> bytes:
    """The same, of a request whose hash is known: a model is long."""
    return digest("asked", lineage, content)
