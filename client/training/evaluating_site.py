"""A site in an evaluation: it runs the models that its approved plan names on its validation cases, and trains nothing.

secagg/join          no sum is begun that published figures would take apart (`approvals.refuse_lone_figures`), or that
                     is over almost the sites or images of an earlier one (`client.plans.near`)
secagg/submit        a model, by the SHA-256 that the plan names; its counts leave masked
secagg/agree         nor is one signed, or unmasked
evaluation/figures   this site's own counts of a model, signed: only where its policy and its decision say so, and
                     after it helped to unmask the sum that they are in
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from client.dataset.for_plan import own_cases
from client.home import Home
from client.plans import near
from client.plans.inbox import PlanInbox
from client.training.protocol_message import MESSAGE, bytes_in
from client.training.secure_site import SecuredSite
from client.training.site import Contribution, Site
from common.errors import PolicyError
from common.imaging import Pipeline
from common.messages.transport import Reply, Request
from common.models import build
from common.plans import lineage
from common.plans.approvals import Approvals, refuse_lone_figures
from common.plans.evaluated_model import fingerprint_of
from common.plans.plan import RunPlan
from common.plans.site_figures import ASKED, SiteFigures
from common.secagg.round_messages import Survivors
from common.storage import tensorfile
from common.storage.files import read_json, write_json
from common.types import Tensors


@dataclass
class ModelEvaluator(Site):
    """Answers evaluation alone, and of no other models than the plan's. As a `Site` it is the first model's."""

    by_model: Mapping[str, Site] = field(kw_only=True)
    """By the model's SHA-256, the site with the images as that model's preprocessing makes them."""

    def contribute(self, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
        """The counts of a model.

        Raises:
            PolicyError: for anything but evaluation, and for a model that is not one of the plan's.
        """
        if request.kind != "evaluate":
            raise PolicyError(
                "other-work", f"{self.cases.name}: asked for '{request.kind}', and the approved plan only evaluates."
            )
        site = self.by_model.get(fingerprint := fingerprint_of(request.tensors))
        if site is None:
            raise PolicyError(
                "other-weights",
                f"{self.cases.name}: weights with SHA-256 {fingerprint[:12]}…, expected one of those that the approved "
                f"plan names: {', '.join(name[:12] + '…' for name in self.by_model)}.",
            )
        return site.contribute(request, state)


def prepare(home: Home, plan: RunPlan) -> ModelEvaluator:
    """The site with its images for every model of a plan.

    Raises:
        ConfigError, DataError: images that are not what the plan is for.
    """
    content, sites = plan.content, dict[str, Site]()
    for model in content.models:
        training = model.training
        as_trained = content.model_copy(update={"training": training, "shape": model.shape})
        cases = own_cases(home, replace(plan, content=as_trained))
        network = build(training.model_for(training.seeds[0]), model.shape, len(content.labels))
        sites[model.sha256] = Site(cases, Pipeline(training.preprocess), network, training.federation.local)
    first = next(iter(sites.values()))
    return ModelEvaluator(first.cases, first.preprocessing, first.model, first.local, by_model=sites)


@dataclass
class EvaluatingSite:
    """Stands before a secured site."""

    secured: SecuredSite
    home: Home
    plan: RunPlan

    def answer(self, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
        """Take one step of the protocol, or publish.

        Raises:
            PolicyError: for a sum that published figures would take apart, for figures that this site does not publish;
                and all that `SecuredSite` and `ModelEvaluator` raise. Nothing leaves then.
        """
        if request.kind == ASKED:
            return Reply({MESSAGE: np.frombuffer(self._signed_figures(request), np.uint8)}), state
        if request.kind == "secagg/submit":
            message, after = self.secured.submit(request, state, lineage.start(self._approvals()))
            return Reply({MESSAGE: np.frombuffer(message, np.uint8)}), after
        if request.kind == "secagg/join":
            approvals = self.secured.begin(request)
            near.refuse_planned(PlanInbox(self.home), self.plan, _over(approvals, approvals.sites))
            self._refuse_lone(approvals.sites, approvals)
        elif request.kind == "secagg/agree":
            cohort = self.secured.keeper.participant.plan.cohort
            members = Survivors.decode(bytes_in(request, MESSAGE)).members
            sites = [cohort[m] for m in members if m < len(cohort)]
            self._refuse_lone(sites, self._approvals())
            self._refuse_near(sites, state)
        elif request.kind == "secagg/release":
            message, after = self.secured.release(request, state, lambda _: self._note_release(state))
            return Reply({MESSAGE: np.frombuffer(message, np.uint8)}), after
        return self.secured.answer(request, state)

    def _approvals(self) -> Approvals:
        return self.secured.binding.begun_approvals()

    def _refuse_lone(self, sites: Iterable[str], approvals: Approvals) -> None:
        refuse_lone_figures(sites, approvals.publishing, len(self.plan.content.cohort))

    def _refuse_near(self, sites: Sequence[str], state: Tensors) -> None:
        approvals = self._approvals()
        if not self.secured.is_known(state, sites):
            near.refuse_sum(PlanInbox(self.home), self.plan, _over(approvals, sites))

    def _note_release(self, state: Tensors) -> None:
        """Remember a sum that this site helps to unmask, before it does: another may have been since it agreed."""
        participant = self.secured.keeper.participant
        at_hand = participant.state.round
        sites = [participant.plan.cohort[m] for m in at_hand.survivors]
        self._refuse_near(sites, state)
        write_json(self._room / f"released-{at_hand.question.hex()}.json", {"sites": sites})

    def _signed_figures(self, request: Request) -> bytes:
        """This site's own counts of a model, signed."""
        name, evaluate = self.secured.site.cases.name, replace(request, kind="evaluate")
        decision = PlanInbox(self.home).decision(self.plan)
        if "figures" not in self.home.settings.policy.publish or decision is None or not decision.commitment.publishes:
            raise PolicyError(
                "not-published",
                f"{name}: asked for its own figures, which policy.publish in site.yaml does not allow, or did not when "
                "the plan was approved. To publish them, set it to [figures], and approve the plan again.",
            )
        question = lineage.question(evaluate, lineage.start(approvals := self._approvals()))
        released_sum = read_json(self._room / f"released-{question.hex()}.json")
        if released_sum is None or name not in approvals.publishing:
            raise PolicyError("not-published", f"{name}: asked for figures that are in no sum of this plan.")
        self._refuse_lone(released_sum["sites"], approvals)
        contribution, _ = self.secured.site.contribute(evaluate, {})
        model = fingerprint_of(evaluate.tensors)
        tensorfile.write_atomically(
            PlanInbox(self.home).published_file(model), b""
        )  # before they leave, so that it is never forgotten
        counts = {part: value for part, value in contribution.sums.items() if part != "distances"}
        return SiteFigures.make(name, self.plan, model, counts, self.home.identity).document.encode()

    @property
    def _room(self) -> Path:
        return PlanInbox(self.home).room(self.plan.digest)


def _over(approvals: Approvals, sites: Iterable[str]) -> near.Over:
    return {site: approvals.decisions[site].commitment.data for site in sites}
