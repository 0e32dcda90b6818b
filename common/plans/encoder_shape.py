"""Whether a plan's image has the shape that its encoder makes of one."""

from collections.abc import Sequence

from common.errors import EncoderError
from common.imaging.embedding import Embed
from common.imaging.step_order import AnyStep


def refuse_other_shape(steps: Sequence[AnyStep], shape: tuple[int, int, int]) -> None:
    """Refuse a shape of an image after the preprocessing that an encoder among the steps does not make.

    Raises:
        EncoderError: it makes another, or is not here.
    """
    for step in steps:
        if isinstance(step, Embed) and shape != (own_shape := (1, 1, step.settled().dimensions())):
            raise EncoderError(
                f"plan.shape: {'×'.join(map(str, shape))}, and encoder {step.encoder} makes "
                f"{'×'.join(map(str, own_shape))} of an image. Expected shape: [{', '.join(map(str, own_shape))}]."
            )
