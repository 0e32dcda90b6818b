"""From a configuration to what makes the sums of a run."""

from collections.abc import Sequence
from functools import partial

from common.config import Training
from common.enrolment import Consortium
from common.exchanges import exchanges
from common.models import Model
from common.transport import Transport
from server.secure import SecureSum


def make_secure(
    config: Training, model: Model, about: tuple[Sequence[int], int], transport: Transport, consortium: Consortium,
    digest: bytes,
) -> SecureSum:  # fmt: skip
    """The aggregator of a run.

    Args:
        about: an image's shape, and the number of classes.
        digest: 32 bytes that stand for all that was agreed on.
    """
    shape, classes = about
    # A share of the sites is another cohort each round, and keys are for one cohort.
    asked = 2 * config.federation.rounds + 1 if config.federation.fraction == 1 else 1
    layouts = partial(exchanges, config, model, shape, classes)
    return SecureSum(transport, consortium, layouts, digest, min(asked, config.federation.epoch_rounds))
