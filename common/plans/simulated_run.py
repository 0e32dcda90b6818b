"""The plan and the approvals of a simulation, made up in memory: its sites are bound by them as real ones are."""

from collections.abc import Mapping, Sequence

from common.config import Training
from common.imaging import Pipeline
from common.plans import floors
from common.plans.approvals import Approvals
from common.plans.decision import Commitment, Decision, members_digest
from common.plans.plan import PlanContent, RunPlan
from common.trust.documents import sign_document
from common.trust.enrolment import PURPOSE, Consortium, Enrolment
from common.trust.keys import digest
from common.trust.release import VERSION
from common.trust.roster import load_verified_roster

SIMULATION = "simulation"


def simulated_approvals(
    config: Training, seed: int, about: tuple[Sequence[int], Sequence[str]], consortium: Consortium,
    enrolments: Mapping[str, Enrolment], cases: Mapping[str, int],
) -> Approvals:  # fmt: skip
    """All sites approve a plan for one seed of a configuration; the same arguments give the same bytes.

    Args:
        about: an image's shape, (h, w, c), and the names of the classes.
        cases: for training, by site: they decide which second moments are asked. All other sums are, of however few.
    """
    (height, width, channels), labels = about
    fields = config.model_dump(mode="json", include=set(Training.model_fields))
    training = Training.model_validate(fields | {"seeds": (seed,)})
    content = PlanContent(
        consortium=SIMULATION, dataset=SIMULATION, purpose=PURPOSE, labels=tuple(labels),
        shape=(height, width, channels), cohort=tuple(sorted(enrolments)), training=training,
        recipe=Pipeline(training.preprocess).fingerprint(), release=VERSION, code="0" * 64, made_s=0.0, expires_s=1e11,
        models=(),
    )  # fmt: skip
    # Nobody has to sign it: all sites of a simulation belong to the one who started it.
    plan = RunPlan(content, sign_document("plan", content.model_dump(mode="json"), []))
    members = members_digest(plan, load_verified_roster(consortium.roster, consortium.pins))
    decisions = {
        site: Decision.make(
            site, plan, "approve", SIMULATION, enrolment.identity,
            Commitment(members, digest("cases", site.encode()).hex()[:32], fits=_fits(len(enrolments), cases[site])),
            made_s=0.0,
        )
        for site, enrolment in enrolments.items()
    }  # fmt: skip
    return Approvals(plan, decisions)


def _fits(sites: int, cases: int) -> tuple[str, ...]:
    gram = [kind for kind in floors.fits(sites, floors.CaseCounts((cases,), ())) if kind.startswith("gram/")]
    return ("statistics", "likeness", "validation", *gram)
