"""The encoders that a plan needs: whether this site has them, may use them, and where they are to be had."""

from collections.abc import Iterator
from contextlib import suppress

from client.home import Home
from common.catalogue.listing import Listing
from common.encoders import EncoderAbout, encoder_library
from common.errors import ConsiliumError, EncoderError, PolicyError
from common.imaging.embedding import Embed
from common.plans.encoder_shape import refuse_other_shape
from common.plans.plan import RunPlan


def refuse_unfit(home: Home, plan: RunPlan) -> None:
    """Refuse a plan, of training or evaluation, whose encoders this site does not have or may not use.

    Raises:
        EncoderError: one is not here, and where it is to be had; it has no such layer, or makes another shape.
        PolicyError: its licence is none that this site allows.
    """
    for step in _steps(plan):
        try:
            fit = step.settled()
        except EncoderError as error:
            raise EncoderError(f"{error} {_where(home, step.sha256 or '')}".strip()) from None
        refuse_licence(home, encoder_library.load(fit.sha256 or "").about)
    content = plan.content
    trainings = [(model.training, model.shape) for model in content.models] or [(content.training, content.shape)]
    for training, shape in trainings:
        refuse_other_shape(training.preprocess, shape)


def refuse_licence(home: Home, about: EncoderAbout) -> None:
    """Refuse an encoder whose licence the site's policy does not allow.

    Of licences with OR between them one is enough, of those with AND all are needed.

    Raises:
        PolicyError: naming the licence and those that are allowed.
    """
    licences = {licence.lower() for licence in home.settings.policy.encoder_licences}
    choices = [choice.split(" AND ") for choice in about.licence.split(" OR ")]
    if "*" in licences or any(all(one.strip().lower() in licences for one in choice) for choice in choices):
        return
    raise PolicyError(
        "encoder-licence",
        f"the licence of encoder {about.name} is {about.licence!r}; policy.encoder_licences of site.yaml allows "
        f"{', '.join(home.settings.policy.encoder_licences) or 'none'}. The data officer may add it.",
    )


def _steps(plan: RunPlan) -> Iterator[Embed]:
    trainings = [model.training for model in plan.content.models] or [plan.content.training]
    for training in trainings:
        yield from (step for step in training.preprocess if isinstance(step, Embed))


def _where(home: Home, sha256: str) -> str:
    """Who offers an encoder, as far as the catalogue was seen here; empty where it is here already."""
    if sha256 in encoder_library.digests():
        return ""
    take = "python -m client catalogue take"
    with suppress(OSError, ConsiliumError):
        listing = Listing.load_verified((home.folder / "catalogue" / "listing").read_bytes(), home.pins)
        for offer in listing.of_file(sha256):
            return f"{offer.content.by} offers it: {take} {offer.content.address}"
    return f"If it is in the catalogue: {take} {sha256[:16]}"
