"""The plans that have come to a site, what was decided on each, and the folder in which the site keeps its run.

    plans/DIGEST/plan.json        as the consortium's roots signed it
    plans/DIGEST/decision.json    approve or refuse, signed by this site; a later decision takes its place
    plans/DIGEST/approvals.json   all approvals that its run began with; others are not taken later
    plans/DIGEST/decision.sent    the same bytes, once the coordinator has got them
    plans/DIGEST/stage.json       what the coordinator said last of its run: a word for the list, which decides nothing
    plans/DIGEST/images.json      whether its images are read and fit, as the resident process found them last
    plans/DIGEST/notices.json     by which ways people were told that it waits (`client.plans.notice`)
    plans/DIGEST/datasets.json    the names by which its data set goes here (`client.plans.own_images`)
    published/SHA256              an empty file for every model of which this site has published its figures

Nothing here judges: whether a plan may run at this site, `client.plans.judge` says.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from client.home import Home
from common.errors import IdentityError, PlanError, WireError
from common.plans.approvals import Approvals
from common.plans.decision import Commitment, Decision
from common.plans.plan import RunPlan
from common.storage import tensorfile
from common.storage.files import glance, read_json, replace, write_json
from common.types import Tensors

Stage = Literal["waiting", "running", "without", "finished", "failed", "stopped", "over"]
"""Of a run, as the coordinator says: `without` is running without this site, `over` one that it names no more."""
STAGES = get_args(Stage)
ImagesState = Literal["", "reading", "ready", "unfit"]
"""Of the images for a plan that was approved, as the resident process finds them; empty: it has not begun."""


@dataclass(frozen=True)
class PlanInbox:
    """All plans of one site."""

    home: Home

    def plans(self) -> Iterator[RunPlan]:
        """All that this site has got, oldest first."""
        plans = [self.read(path) for path in (self.home.folder / "plans").glob("*/plan.json")]
        yield from sorted(plans, key=lambda plan: plan.content.made_s)

    def plan(self, name: str) -> RunPlan:
        """One plan by its name, its digest, or as much of either as is unique.

        Raises:
            PlanError: if there is none, or several.
        """
        matches = [plan for plan in self.plans() if _is_named(plan, name)]
        if len(matches) != 1:
            names = ", ".join(plan.name for plan in (matches or self.plans())) or "none has come yet"
            raise PlanError(f"plan {name!r}: {len(matches) or 'none'} of that name; there is: {names}.")
        return matches[0]

    def knows(self, name: str) -> bool:
        """Whether there is a plan of this name."""
        return any(_is_named(plan, name) for plan in self.plans())

    def take_plan(self, file: bytes) -> RunPlan | None:
        """Keep a plan that the roots have signed and that is for this site; None if it is here already, or not for it.

        Raises:
            WireError, IdentityError, PlanError: it is no plan, or no pinned root has signed it.
        """
        plan = RunPlan.load_verified(file, self.home.pins)
        path = self.room(plan.digest) / "plan.json"
        if self.home.site not in plan.content.cohort or path.exists():
            return None
        tensorfile.write_atomically(path, file)
        return plan

    def decision(self, plan: RunPlan) -> Decision | None:
        """What this site decided under the key that it has now; None if nothing yet."""
        path = self.room(plan.digest) / "decision.json"
        if not path.exists():
            return None
        try:
            decision = Decision.load_verified(path.read_bytes(), self.home.identity.public_key().public_bytes_raw())
        except (WireError, IdentityError):  # of the keys before, or damaged: to be made again
            return None
        return decision if decision.plan == plan.digest else None

    def keep_decision(self, decision: Decision) -> None:
        """Write down what was decided, in the place of what was decided before."""
        tensorfile.write_atomically(self.room(decision.plan) / "decision.json", decision.document.encode())

    def keep_datasets(self, plan: RunPlan, names: Collection[str]) -> None:
        """Write down by which names a plan's data set goes here."""
        write_json(self.room(plan.digest) / "datasets.json", sorted(names))

    def commitment(self, plan: RunPlan) -> Commitment | None:
        """What this site bound itself to: as the run began with it, else by its newest decision; None before one."""
        decision = self.decision(plan)
        if decision and (papers := self.papers(plan).approvals()):
            decision = Approvals.load(papers, plan).decisions.get(decision.site)
        return decision.commitment if decision else None

    def has_begun(self, plan: RunPlan) -> bool:
        """Whether a plan's run has begun with this site, as it knows or the coordinator says."""
        return bool(self.papers(plan).approvals()) or self.stage(plan) == "running"

    def share_images(self, one: RunPlan, other: RunPlan) -> bool:
        """Whether two plans are on the same data set, or on two with an image in common."""
        return not set(self.papers(one).datasets()).isdisjoint(self.papers(other).datasets())

    def papers(self, plan: RunPlan) -> "PlanPapers":
        """What the run of a plan began with at this site."""
        return PlanPapers(self.room(plan.digest), plan.content.dataset)

    def summed(self, plan: str) -> Tensors:
        """What this site knows of a run (its plan's digest) that a later one may carry: what it has itself seen summed
        in it, and what it carried already."""
        path = self.room(plan) / "lineage-summed"
        return {**PlanPapers(self.room(plan), "").carried_sums(), **(tensorfile.load(path)[0] if path.exists() else {})}

    def stage(self, plan: RunPlan) -> Stage | None:
        """In what stage the coordinator last said that the run is; None: it has said nothing."""
        stage = (glance(self.room(plan.digest) / "stage.json") or {}).get("stage")
        return stage if stage in STAGES else None

    def note_stage(self, plan: RunPlan, stage: str) -> None:
        """Remember what the coordinator says of a run; a word that is none is passed over."""
        if stage in STAGES and stage != self.stage(plan):
            write_json(self.room(plan.digest) / "stage.json", {"stage": stage}, durably=False)

    def images(self, plan: RunPlan) -> tuple[ImagesState, str]:
        """How far the resident process is with a plan's images, and why they do not fit, if so."""
        note = glance(self.room(plan.digest) / "images.json") or {}
        state: ImagesState = note.get("state", "")
        return (state, str(note.get("why", ""))) if state in get_args(ImagesState) else ("", "")

    def note_images(self, plan: RunPlan, state: ImagesState, why: str = "") -> None:
        """Remember how far the resident process is with a plan's images."""
        write_json(self.room(plan.digest) / "images.json", {"state": state, "why": why}, durably=False)

    def notices(self, plan: RunPlan) -> list[str]:
        """By which ways people were told that a plan waits."""
        return list((glance(self.room(plan.digest) / "notices.json") or {}).get("ways", ()))

    def note_notices(self, plan: RunPlan, ways: Collection[str]) -> None:
        """Remember by which ways they were."""
        write_json(self.room(plan.digest) / "notices.json", {"ways": sorted(ways)}, durably=False)

    def is_delivered(self, plan: RunPlan) -> bool:
        """Whether the coordinator has got this site's decision."""
        room = self.room(plan.digest)
        receipt = room / "decision.sent"
        return receipt.exists() and receipt.read_bytes() == (room / "decision.json").read_bytes()

    def note_delivered(self, decision: Decision) -> None:
        """Remember that the coordinator has got a decision."""
        tensorfile.write_atomically(self.room(decision.plan) / "decision.sent", decision.document.encode())

    def published_file(self, model: str) -> Path:
        """The file that exists once this site's figures of a model (its SHA-256) have been published."""
        return self.home.folder / "published" / model

    def room(self, digest: str) -> Path:
        """The folder in which the site keeps one run.

        Raises:
            PlanError: for what is no digest.
        """
        # The digest comes with a message: without this check, "../.." in it would name a folder outside.
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise PlanError(f"{digest[:70]!r}: expected a plan's digest, 64 hexadecimal digits.")
        return self.home.folder / "plans" / digest

    def read(self, path: Path) -> RunPlan:
        """A plan from a file of the inbox, its signatures checked again."""
        return self.home.pins.load_kept(RunPlan.load_verified, path.read_bytes())


@dataclass(frozen=True)
class PlanPapers:
    """The approvals that a run began with, and what it carries: written down once, for good."""

    room: Path
    dataset: str

    def datasets(self) -> tuple[str, ...]:
        """The names by which the plan's data set goes, as of this site's approval."""
        return tuple(read_json(self.room / "datasets.json") or (self.dataset,))

    def approvals(self) -> bytes:
        """All approvals, as they were shown first; empty before the run has begun here."""
        path = self.room / "approvals.json"
        return path.read_bytes() if path.exists() else b""

    def keep_approvals(self, content: bytes) -> None:
        """Write them down."""
        replace(self.room / "approvals.json", content)

    def carried_sums(self) -> Tensors:
        """The arrays that the plan carries from an earlier run; none where it carries none."""
        path = self.room / "carried.safetensors"
        return tensorfile.load(path)[0] if path.exists() else {}

    def keep_carried(self, arrays: Tensors) -> None:
        """Write them down."""
        tensorfile.save(self.room / "carried.safetensors", arrays, {})


def _is_named(plan: RunPlan, name: str) -> bool:
    return plan.digest.startswith(name) or plan.name.startswith(name)
