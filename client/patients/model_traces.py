"""In which runs a patient's images took part: what a finished model keeps of them nobody can take out.

The site writes down of every image with which it approves a plan under which data set's name that was first
(`client.plans.own_images`). Those plans of this name that began here are the ones in which the patient was, or may have
been: which of their images were there at an earlier approval is not kept, only a digest over all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from client import readers
from client.custody.encrypted_cases import EncryptedImage
from client.custody.encrypted_dataset import EncryptedDataset
from client.home import Home
from client.plans import own_images
from client.plans.inbox import PlanInbox
from client.sources import image_cache
from common.errors import ImageError
from common.plans.plan import RunPlan


@dataclass(frozen=True)
class ModelTraces:
    """The runs in which some images were, or may have been."""

    plans: tuple[RunPlan, ...]
    images: int
    """That were in an approval."""


def look(home: Home, objects: Iterable[tuple[EncryptedDataset, Iterable[int]]]) -> ModelTraces:
    """The plans that began here on a data set under whose name one of these objects was approved."""
    digests = {digest for store, numbers in objects for number in numbers for digest in _digests(store, number)}
    names = own_images.first_names(home, digests)
    inbox = PlanInbox(home)
    plans = [
        plan
        for plan in inbox.plans()
        if inbox.papers(plan).approvals() and not set(names.values()).isdisjoint(inbox.papers(plan).datasets())
    ]
    return ModelTraces(tuple(plans), len(names))


def _digests(store: EncryptedDataset, number: int) -> set[str]:
    """Of the pixels of all frames, as a plan's cases go by them."""
    if frame_facts := store.index.objects[number].frame_facts:
        return {str(frame["digest"]) for frame in frame_facts["frames"]}
    try:
        pictures = readers.read(EncryptedImage(store, number), "all")
    except ImageError:
        return set()
    return {str(image_cache.facts(picture)["digest"]) for picture in pictures}


def words(traces: ModelTraces) -> list[str]:
    """What is said of them, a line each."""
    if not traces.plans:
        return ["No run that began here had any of these images."]
    lines = [f"{traces.images} of these images were approved for a plan. Runs on their data set that began here:"]
    for plan in traces.plans:
        lines.append(f"  {plan.name}: {'an evaluation' if plan.content.models else 'a training'}{_bound(plan)}")
    return [
        *lines,
        "What a finished model keeps of a patient cannot be taken out of it, here or anywhere. The other way is to",
        "ask the coordinator for a new training without these images, and to use the old models no more.",
    ]


def _bound(plan: RunPlan) -> str:
    if plan.content.models:
        return "; outcomes were counted, and no model learned"
    if budget := plan.content.training.budget:
        return f"; its privacy budget bounds what it keeps of one {budget.of}: ε {budget.epsilon:g}, δ {budget.delta:g}"
    return "; exact sums without a privacy budget, so nothing bounds what it keeps of one patient"
