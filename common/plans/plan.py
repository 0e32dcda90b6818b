"""A plan: what a consortium asks its sites to train, signed by the roots; and a site's signed decision on it.

A plan holds everything that decides what will happen: the training with all its numbers, the preprocessing, which data
and for what purpose, who is asked, until when, and the digest of the code that decides the numbers. Nothing in it is
executed: a site runs its own installed code, and refuses a plan that names another.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from common.config import Config, Frozen, Line, PlanTerms, Shape, Training, first_fault
from common.errors import ConfigError, PlanError, WireError
from common.imaging import Pipeline
from common.plans import floors
from common.plans.encoder_shape import refuse_other_shape
from common.plans.evaluated_model import EvaluatedModel
from common.plans.first_weights import refuse_unfit_beginning
from common.plugins import Part
from common.trust.documents import SignedDocument, read_document, sign_document
from common.trust.keys import digest
from common.trust.release import VERSION, code_digest
from common.trust.roster import MIN_COHORT, Pins, Roster

Moment = Annotated[float, Field(ge=0, le=1e11)]
"""Seconds since 1970, UTC."""
DAY_S = 86_400.0


class Carried(Frozen):
    """What a plan takes over from an earlier run, in the place of asking for it again over other sites."""

    name: Line
    """The earlier run's."""
    plan: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of its plan."""
    sha256: tuple[tuple[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]], ...]
    """Of each part of the arrays (`common.plans.carry`), which come with the approvals."""
    frequencies: Annotated[int, Field(ge=0)] = 0
    """Of the second moments among them; 0: there are none."""


class PlanContent(Frozen):
    """The content of a plan: what the consortium's roots sign."""

    consortium: Line
    dataset: Line
    purpose: Line
    labels: tuple[Line, ...]
    shape: Shape
    cohort: Annotated[tuple[Line, ...], Field(min_length=MIN_COHORT)]
    training: Training
    recipe: str
    """Fingerprint of the preprocessing."""
    release: Line
    code: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    made_s: Moment
    expires_s: Moment
    models: tuple[EvaluatedModel, ...]
    """Not empty: nothing is trained, and these are evaluated. `training` then is the first one's, for its name and
    for quorum, time-out and weight bound."""
    carried: Carried | None = None


@dataclass(frozen=True)
class RunPlan:
    """A plan with the signed document that it stands in."""

    content: PlanContent
    document: SignedDocument

    @property
    def digest(self) -> str:
        """The plan's name for itself: 64 hexadecimal digits."""
        return self.document.digest.hex()

    @property
    def name(self) -> str:
        """The run's name, and eight digits that tell it from others of that name."""
        return f"{self.content.training.name}-{self.digest[:8]}"

    @property
    def seed(self) -> int:
        """What the course of the run is drawn from. A plan that carries draws another one than the run that it carries
        from: else its first questions would be the same again, over other sites."""
        if self.content.carried:
            return int.from_bytes(digest("seed", self.document.digest)[:4], "little") >> 1
        return self.content.training.seeds[0]

    @property
    def looks(self) -> bool:
        """Whether the sites of an evaluation count how far their images are from a model's training images."""
        return any(model.looks for model in self.content.models)

    @property
    def rounds(self) -> int:
        """How many rounds at most; in an evaluation one a model."""
        return len(self.content.models) or self.content.training.federation.rounds

    def parts(self) -> tuple[Part, ...]:
        """Every part of a plug-in that it names, in training or in a model that it has evaluated."""
        models = self.content.models
        pairs = [pair for model in models for pair in model.training.parts()] or self.content.training.parts()
        return tuple(part for kind, part in pairs if kind in ("steps", "models") or not models)

    @classmethod
    def from_config(
        cls, config: Config, roster: Roster, roots: Sequence[Ed25519PrivateKey], source: Carried | None = None
    ) -> Self:
        """A new plan from a configuration that has a section `plan`.

        Raises:
            ConfigError: a configuration without terms, without secure aggregation, or for members that are not active.
        """
        if config.plan is None:
            raise ConfigError("no section `plan`; expected dataset, labels and shape there. See docs/deploy.md.")
        if not config.federation.secure:
            raise ConfigError("federation.secure: false, expected true: it can be switched off in a simulation alone.")
        training = config.model_dump(mode="json", include=set(Training.model_fields))
        return cls.from_terms(config.plan, Training.model_validate(training), (), roster, roots, source)

    @classmethod
    def from_terms(
        cls, terms: PlanTerms, training: Training, models: tuple[EvaluatedModel, ...], roster: Roster,
        roots: Sequence[Ed25519PrivateKey], source: Carried | None = None,
    ) -> Self:  # fmt: skip
        """A new plan: to train, or where models are given to evaluate these.

        Raises:
            ConfigError: terms that the consortium does not allow, or for members that are not active.
            EncoderError: an encoder that makes another shape of an image, or is not here.
            PackageError: the package that it begins from is not here, or does not fit.
            PolicyError: a solver whose sums tell too much, a point of somebody's choice, or rounds that ask too few.
        """
        if training.model.multilabel:
            raise ConfigError(
                "model.multilabel: a plan for several findings an image is not possible yet, a simulation is."
            )
        now_s, cohort = time.time(), tuple(sorted(set(terms.cohort or roster.active)))
        if strangers := sorted(set(cohort) - set(roster.active)):
            raise ConfigError(f"plan.cohort: {', '.join(strangers)}: not an active member of the consortium.")
        if len(cohort) < roster.policy.n_min:
            raise ConfigError(
                f"plan.cohort: {len(cohort)} sites, expected {roster.policy.n_min} at least: a sum over fewer would "
                "tell the sites each other's numbers. Admit more."
            )
        if terms.purpose not in roster.policy.purposes:
            purposes = ", ".join(roster.policy.purposes)
            raise ConfigError(f"plan.purpose: {terms.purpose!r}, the consortium allows {purposes}.")
        if not models:
            refuse_other_shape(training.preprocess, terms.shape)
            floors.refuse_chosen_point(training)
            floors.refuse_dense_on_pixels(training)
            refuse_unfit_beginning(training, terms.shape, terms.labels)
            floors.refuse_newton(training)
            floors.refuse_small_draw(len(cohort), training.federation)
        content = PlanContent(
            consortium=roster.federation, dataset=terms.dataset, purpose=terms.purpose, labels=terms.labels,
            shape=terms.shape, cohort=cohort, training=training, recipe=Pipeline(training.preprocess).fingerprint(),
            release=VERSION, code=code_digest(), made_s=now_s, expires_s=now_s + terms.expires_days * DAY_S,
            models=models, carried=source,
        )  # fmt: skip
        return cls(content, sign_document("plan", content.model_dump(mode="json"), roots))

    @staticmethod
    def load_verified(file: bytes, pins: Pins) -> "RunPlan":
        """A plan that all roots have signed, of this consortium.

        Raises:
            WireError: if it is no plan of this release.
            IdentityError: if a root has not signed it.
            PlanError: if it is another consortium's.
        """
        return _load_verified(file, pins)

    @staticmethod
    def load(file: bytes) -> "RunPlan":
        """A plan of a simulation, which nobody has signed.

        Raises:
            WireError: if it is no plan of this release.
        """
        document = read_document(file, "plan")
        return RunPlan(_content(document.content), document)

    def refuse_unfit(self, now_s: float) -> None:
        """What makes a plan impossible here, whatever its operator thinks of it.

        Raises:
            PlanError: for code that decides numbers otherwise than what is installed, another fingerprint than its
                preprocessing has, or expired.
        """
        content = self.content
        if content.code != code_digest():
            raise PlanError(
                f"plan {self.name} is for release {content.release}, code {content.code[:12]}…; installed is "
                f"{VERSION}, {code_digest()[:12]}…, which decides numbers otherwise. Install a release that works with "
                f"{content.release}, or ask the coordinator for a plan of this one: docs/upgrade.md."
            )
        fits = content.recipe == Pipeline(content.training.preprocess).fingerprint()
        if not fits or not all(model.preprocessing_fits for model in content.models):
            raise PlanError(f"plan {self.name} names another preprocessing than it describes. Tell the coordinator.")
        if now_s >= content.expires_s:
            raise PlanError(
                f"plan {self.name} expired {(now_s - content.expires_s) / 3600:.1f} h ago. Ask the coordinator for a "
                "new one, and check this machine's clock."
            )


@lru_cache(maxsize=256)
def _load_verified(file: bytes, pins: Pins) -> RunPlan:
    """Bytes that were checked against the same roots before are not checked again: who looks on asks often."""
    document = read_document(file, "plan")
    content = _content(document.verify(pins.roots, "the consortium's root"))
    if content.consortium != pins.federation:
        raise PlanError(f"a plan of '{content.consortium}', and this is '{pins.federation}'.")
    return RunPlan(content, document)


def _content(fields: dict[str, Any]) -> PlanContent:
    try:
        return PlanContent.model_validate(fields)
    except ValidationError as error:
        raise WireError(f"a plan of another release ({first_fault(error)}). Bring both sides to one.") from None
