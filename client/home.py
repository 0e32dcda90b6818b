"""A hospital's folder: its keys, what it pinned, which images it has under which name, and what it decided.

site.yaml            name, data sets, policy; the one file that its engineer edits
identity, node       private keys, made here; they never leave
pins.json, roster, authority.crt, address      pinned when the site joined
state                what secure aggregation must not forget, sealed
plans/DIGEST/        plan.json, decision.json, and what the site keeps of that run
published/           an empty file for every model of which this site has published its figures
restored             since when this folder goes on from a backup: no plan from before is answered
journal/             a message that is being answered
access/, me.key      who may do what here, and the key of who made the site
audit/               what was done here, and the key that signs for it
witness/             what was seen of the coordinator's log
catalogue/           the catalogue as it was seen last, and what this site offers in it
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from client.access.policy import Shelf
from common import config as configuration
from common.audit.log import Log
from common.catalogue.offers import Described, Origin
from common.config import Config, Data, Frozen, Sites, Synthetic
from common.errors import AuditError, ConfigError, IdentityError, PlanError, WireError
from common.plans.plan import Decision, RunPlan, Verdict
from common.secagg import Pins, Roster, admitted
from common.storage import tensorfile
from common.storage.files import replace as replace_file
from common.trust.enrolment import PURPOSE, Enrolment, read_pins
from common.trust.roster import MIN_COHORT

CLOCKS_S = 600.0
"""How much the clocks of the coordinator and of this site may differ, where a plan is from before a restoration."""


class Own(Frozen):
    """One data set of this hospital."""

    data: Data
    sites: Sites = Sites(split="natural")
    """How the cases fall to training, validation and test."""
    take: str | None = None
    """Only the cases of this site in the data; needed where the data have several."""
    about: Described | None = None
    """What the catalogue says of it, if it is offered there: `client catalogue offer NAME`."""

    @property
    def origin(self) -> Origin:
        """What it is, whatever anybody says of it."""
        if isinstance(self.data, Synthetic):
            return "synthetic"
        return "hospital" if self.sites.split == "natural" or self.sites.count == 1 else "simulated"


class Rules(Frozen):
    """What this hospital agrees to."""

    plans: Literal["ask", "refuse", "approve"] = "ask"
    purposes: tuple[str, ...] = (PURPOSE,)
    audit: bool = False
    """Recompute every model of a run from what all its sites sent, and answer for no other."""
    publish: tuple[Literal["figures"], ...] = ()
    """What of this site alone may leave it: `figures`, its counts in an evaluation. Nothing else ever does."""


class Settings(Frozen):
    """`site.yaml`."""

    site: Annotated[str, Field(min_length=1)]
    datasets: dict[str, Own] = Field(default_factory=dict)
    policy: Rules = Rules()


@dataclass(frozen=True)
class Home:
    """The folder."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Self:
        """The folder of a site.

        Raises:
            ConfigError: if there is none, saying how it is made.
        """
        home = cls(folder)
        _ = home.settings
        return home

    # --- its own ---

    @property
    def settings(self) -> Settings:
        """What `site.yaml` says.

        Raises:
            ConfigError: naming the file and the key.
        """
        path = self.folder / "site.yaml"
        try:
            return _settings(path, path.read_bytes())
        except FileNotFoundError:
            raise ConfigError(
                f"{self.folder}: no site.yaml. Make this site's folder with `python -m client init NAME`, or name it "
                "with --home."
            ) from None

    @property
    def site(self) -> str:
        """Its name."""
        return self.settings.site

    @property
    def enrolment(self) -> Enrolment:
        """Its membership."""
        settings = self.settings
        return replace(Enrolment.read(settings.site, self.folder), audit=settings.policy.audit)

    @property
    def identity(self) -> Ed25519PrivateKey:
        """The key that signs what the site says, before it joined as well."""
        return _identity(self.folder / "identity")

    @property
    def node_key(self) -> ec.EllipticCurvePrivateKey:
        """The key that its messages pass the gateway with."""
        path = self.folder / "node"
        try:
            key = serialization.load_ssh_private_key(path.read_bytes(), None)
        except (OSError, ValueError):
            raise ConfigError(f"{path}: no private key in OpenSSH's form. Make this site anew: client init.") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{path}: expected an ECDSA key. Make this site anew: client init.")
        return key

    @property
    def log(self) -> Log:
        """What was done here."""
        return Log(self.folder / "audit", f"site {self.site}")

    @property
    def access(self) -> Shelf:
        """Who may do what."""
        return Shelf(self.folder / "access", self.site, self.log)

    # --- what it pinned ---

    @property
    def joined(self) -> bool:
        """Whether a welcome has been pinned."""
        return (self.folder / "address").exists()

    @property
    def address(self) -> str:
        """The gateway's host:port.

        Raises:
            ConfigError: before the site has joined.
        """
        try:
            return (self.folder / "address").read_text().strip()
        except FileNotFoundError:
            raise ConfigError(
                f"{self.folder}: this site has not joined a consortium. Send the coordinator {self.site}.request, and "
                "use what comes back: python -m client join FILE."
            ) from None

    @property
    def authority(self) -> Path:
        """The one TLS authority that is trusted."""
        return self.folder / "authority.crt"

    @property
    def pins(self) -> Pins:
        """Whose signatures count."""
        return read_pins(self.folder / "pins.json")

    @property
    def roster(self) -> Roster:
        """The newest roster that this site has seen."""
        return admitted((self.folder / "roster").read_bytes(), self.pins)

    def take_roster(self, file: bytes) -> Roster:
        """Keep a roster if it is newer than the one that is there.

        Raises:
            IdentityError: if a pinned root has not signed it.
            PolicyError: if it is another consortium's.
        """
        new, path = admitted(file, self.pins), self.folder / "roster"
        if new.version > self.roster.version:
            tensorfile.write_atomically(path, file)
            return new
        return self.roster

    @property
    def witness_refused(self) -> Path:
        """What of the coordinator's log did not fit what was seen before; while it is there, no plan is answered."""
        return self.folder / "witness" / "refused"

    # --- plans ---

    @property
    def restored_s(self) -> float:
        """When this site was restored from a backup, in seconds since 1970; long ago if it never was.

        Raises:
            ConfigError: the note of it is damaged.
        """
        path = self.folder / "restored"
        try:
            return float(path.read_text())
        except FileNotFoundError:
            return float("-inf")
        except ValueError:
            raise ConfigError(
                f"{path}: damaged, expected seconds since 1970. Write those of now into it: `date +%s`. Plans that "
                "were made before then are over here."
            ) from None

    def note_restored(self, at_s: float) -> None:
        """From now on no plan that was made before is answered; nothing sets that back."""
        replace_file(self.folder / "restored", f"{max(at_s, self.restored_s)}\n".encode())

    def plans(self) -> Iterator[RunPlan]:
        """All that this site has heard of, oldest first."""
        found = [self._plan(path) for path in (self.folder / "plans").glob("*/plan.json")]
        yield from sorted(found, key=lambda plan: plan.content.made_s)

    def plan(self, name: str) -> RunPlan:
        """One plan by its name, its digest, or as much of either as is unique.

        Raises:
            PlanError: if there is none, or several.
        """
        found = [p for p in self.plans() if p.digest.startswith(name) or p.name.startswith(name)]
        if len(found) != 1:
            known = ", ".join(p.name for p in (found or self.plans())) or "none has come yet"
            raise PlanError(f"plan {name!r}: {len(found) or 'none'} of that name; there is: {known}.")
        return found[0]

    def knows(self, name: str) -> bool:
        """Whether there is a plan of this name."""
        return any(p.digest.startswith(name) or p.name.startswith(name) for p in self.plans())

    def take_plan(self, file: bytes) -> RunPlan | None:
        """Keep a plan that the roots have signed and that is for this site; None if it is known, or not for it."""
        plan = RunPlan.admitted(file, self.pins)
        path = self.room(plan.digest) / "plan.json"
        if self.site not in plan.content.cohort or path.exists():
            return None
        tensorfile.write_atomically(path, file)
        return plan

    def decision(self, plan: RunPlan) -> Decision | None:
        """What this site decided under the key that it has now; none yet."""
        path = self.room(plan.digest) / "decision.json"
        if not path.exists():
            return None
        try:
            decision = Decision.admitted(path.read_bytes(), self.identity.public_key().public_bytes_raw())
        except (WireError, IdentityError):  # of the keys before, or damaged: to be made again
            return None
        return decision if decision.plan == plan.digest else None

    def decide(self, plan: RunPlan, verdict: Verdict, reason: str) -> Decision:
        """Write a decision; a later one takes its place."""
        # What was published of a model once stays published: whoever is in a sum with this site has to reckon with it.
        known = any(self.shown(model.sha256).exists() for model in plan.content.models)
        publishes = bool(plan.content.models) and (known or "figures" in self.settings.policy.publish)
        decision = Decision.make(self.site, plan, verdict, reason, self.identity, publishes=publishes)
        tensorfile.write_atomically(self.room(plan.digest) / "decision.json", decision.paper.encode())
        return decision

    def delivered(self, plan: RunPlan) -> bool:
        """Whether the coordinator has got this site's decision."""
        room = self.room(plan.digest)
        sent = room / "decision.sent"
        return sent.exists() and sent.read_bytes() == (room / "decision.json").read_bytes()

    def note_delivered(self, decision: Decision) -> None:
        """Remember that the coordinator has got a decision."""
        tensorfile.write_atomically(self.room(decision.plan) / "decision.sent", decision.paper.encode())

    def objection(self, plan: RunPlan) -> str:
        """What this site's rules or its installation have against a plan; empty if nothing."""
        told, own = plan.content, self.settings
        try:
            if not told.made_s > self.restored_s + CLOCKS_S:
                # What was answered since the backup is not known here: the same could be answered again, differently.
                raise PlanError(
                    "was made before this site was restored from a backup, so it is over here. Ask the coordinator "
                    "for a new plan."
                )
            plan.refuse_unfit(time.time())
            if told.purpose not in own.policy.purposes:
                raise PlanError(f"purpose '{told.purpose}' is not in policy.purposes of site.yaml.")
            if told.purpose not in self.access.newest().content.purposes:
                raise PlanError(f"purpose '{told.purpose}' is not in the site's policy: python -m client access show")
            if own.policy.plans == "refuse":
                raise PlanError("policy.plans of site.yaml is refuse.")
            if told.dataset not in own.datasets:
                raise PlanError(f"there is no data set '{told.dataset}' under datasets in site.yaml.")
            self._refuse_near(plan)
        except PlanError as error:
            return str(error)
        return ""

    def _refuse_near(self, plan: RunPlan) -> None:
        """Two evaluations over almost the same sites would tell how many validation cases the odd ones have."""
        told = plan.content
        for other in self.plans() if told.models else ():
            known = other.content
            odd = set(known.cohort) ^ set(told.cohort)
            earlier = known.models and known.dataset == told.dataset and known.made_s < told.made_s
            if earlier and 0 < len(odd) < MIN_COHORT and (said := self.decision(other)) and said.verdict == "approve":
                raise PlanError(
                    f"its sites are those of evaluation {other.name} but for {', '.join(sorted(odd))}: two sums would "
                    f"tell {'its' if len(odd) == 1 else 'their'} number of cases. Expected the same sites, or three "
                    "others at least."
                )

    def approved(self, digest: str) -> RunPlan:
        """A plan that this site takes part in.

        Raises:
            AuditError: the coordinator's log is not the one that was seen before.
            PlanError: not known, not approved, or there is an objection to it. Nothing is answered then.
            IdentityError: the roster has not this site under this key; nor then.
        """
        if self.witness_refused.exists():
            raise AuditError(
                f"{self.site}: the coordinator showed two histories, so nothing is answered: python -m client witness"
            )
        if not (path := self.room(digest) / "plan.json").exists():
            raise PlanError(f"{self.site}: plan {digest[:8]} is not known here; its messages are not answered.")
        plan = self._plan(path)
        decision = self.decision(plan)
        if decision is None or decision.verdict != "approve" or plan.digest != digest:
            raise PlanError(f"{self.site}: plan {plan.name} is not approved here; its messages are not answered.")
        if self.roster.active.get(self.site) != self.identity.public_key().public_bytes_raw():
            raise IdentityError(
                "swapped-key",
                f"{self.site}: the roster has no active member of this name and key. Was `site` in site.yaml changed, "
                "or the site suspended? Ask the coordinator.",
            )
        if objection := self.objection(plan):
            raise PlanError(f"{self.site}: {objection}")
        return plan

    def own(self, plan: RunPlan) -> tuple[Config, str | None]:
        """The plan's training on this hospital's images, and whose of the data's cases are meant.

        Raises:
            ConfigError: if the data set is not there.
        """
        if (told := self.settings.datasets.get(name := plan.content.dataset)) is None:
            raise ConfigError(f"{self.folder / 'site.yaml'}: there is no data set '{name}' under datasets.")
        tree = plan.content.training.model_dump(mode="json")
        tree |= {"data": told.data.model_dump(mode="json"), "sites": told.sites.model_dump(mode="json")}
        return configuration.from_tree(tree, self.folder / "site.yaml"), told.take

    def shown(self, model: str) -> Path:
        """The file that is there once this site's figures of a model (its SHA-256) have been published."""
        return self.folder / "published" / model

    def room(self, digest: str) -> Path:
        """What the site keeps of one run.

        Raises:
            PlanError: for what is no digest.
        """
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise PlanError(f"{digest[:70]!r}: expected a plan's digest, 64 hexadecimal digits.")
        return self.folder / "plans" / digest

    def _plan(self, path: Path) -> RunPlan:
        return RunPlan.admitted(path.read_bytes(), self.pins)


@lru_cache(maxsize=8)
def _settings(path: Path, text: bytes) -> Settings:
    """Read once: every message asks for them."""
    try:
        return Settings.model_validate(configuration.parse_yaml(text, path))
    except ValidationError as error:
        raise ConfigError(configuration.readable(path, error, Settings)) from None


def _identity(path: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text()))
    except (OSError, ValueError):
        raise ConfigError(f"{path}: no key of 64 hexadecimal digits. Make this site with `client init`.") from None
