"""What partners offer each other: data sets (described and counted, never sent), models in packages, encoders, plans.

offers             one signed entry, and what people say of a data set
offer_from_file    one made from what a person wrote
listing            all of them, as the coordinator signs and shows them
listing_view       the same for the terminal
command_parts      what the commands of site and coordinator share
"""

from common.catalogue.listing import Listing
from common.catalogue.offers import (
    DatasetDescription,
    DatasetOffer,
    EncoderOffer,
    FileOffer,
    ModelOffer,
    Offer,
    OfferContent,
    PlanOffer,
    Span,
    WithdrawnOffer,
)

__all__ = [
    "DatasetDescription",
    "DatasetOffer",
    "EncoderOffer",
    "FileOffer",
    "Listing",
    "ModelOffer",
    "Offer",
    "OfferContent",
    "PlanOffer",
    "Span",
    "WithdrawnOffer",
]
