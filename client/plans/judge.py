"""Whether a plan may run at this site: what stands against it, and whether it is approved.

Every message of a run passes `approved` before anything is computed. `objection` is asked again each time, and not only
when a person decides: the site's rules, its roster and its installation may have changed since.

    restored    since when this folder goes on from a backup: no plan from before is answered
"""

import time

from client.access.policy_store import policy_store
from client.home import Home
from client.plans import near, plan_encoders, plan_plugins
from client.plans.inbox import PlanInbox
from client.privacy.plan_account import refuse_unbounded
from common.errors import (
    AuditError,
    ConfigError,
    EncoderError,
    IdentityError,
    PackageError,
    PlanError,
    PluginError,
    PolicyError,
)
from common.plans import floors
from common.plans.first_weights import refuse_unfit_beginning
from common.plans.plan import RunPlan
from common.storage.files import replace

CLOCKS_S = 600.0
"""How much the clocks of the coordinator and of this site may differ, where a plan is from before a restoration."""


def approved_plan(home: Home, digest: str) -> RunPlan:
    """A plan that this site takes part in.

    Raises:
        AuditError: the coordinator's log is not the one that was seen before.
        PlanError: not known, not approved, or there is an objection to it. Nothing is answered then.
        PluginError: it names a plug-in that is not here, is another wheel, or is not allowed; nor then.
        IdentityError: the roster has not this site under this key; nor then.
    """
    inbox = PlanInbox(home)
    if home.witness_refused.exists():
        raise AuditError(
            f"{home.site}: the coordinator showed two histories, so nothing is answered: python -m client witness"
        )
    if not (path := inbox.room(digest) / "plan.json").exists():
        raise PlanError(f"{home.site}: plan {digest[:8]} is not known here; its messages are not answered.")
    plan = inbox.read(path)
    decision = inbox.decision(plan)
    if decision is None or decision.verdict != "approve" or plan.digest != digest:
        raise PlanError(f"{home.site}: plan {plan.name} is not approved here; its messages are not answered.")
    if home.roster.active.get(home.site) != home.identity.public_key().public_bytes_raw():
        raise IdentityError(
            "swapped-key",
            f"{home.site}: the roster has no active member of this name and key. Was `site` in site.yaml changed, "
            "or the site suspended? Ask the coordinator.",
        )
    plan_plugins.refuse_unfit(home, plan)  # before all else, and with a code of its own for the coordinator
    if reason := objection(home, plan):
        raise PlanError(f"{home.site}: {reason}")
    return plan


def objection(home: Home, plan: RunPlan) -> str:
    """What this site's rules or its installation have against a plan; empty if nothing."""
    content, settings = plan.content, home.settings
    try:
        if not content.made_s > (since_s := restored_s(home) + CLOCKS_S):
            # What was answered since the backup is not known here: the same could be answered again, differently.
            is_date = 0 <= since_s < 1e11  # whatever the note says
            minute = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(since_s + 60)) if is_date else "the restoration"
            raise PlanError(
                "was made before this site was restored from a backup, so it is over here. Ask the coordinator for a "
                f"new plan, made after {minute}: clocks may differ by {CLOCKS_S / 60:g} minutes."
            )
        plan_plugins.refuse_unfit(home, plan)
        plan.refuse_unfit(time.time())
        if content.purpose not in settings.policy.purposes:
            raise PlanError(f"purpose '{content.purpose}' is not in policy.purposes of site.yaml.")
        if content.purpose not in policy_store(home).newest().content.purposes:
            raise PlanError(f"purpose '{content.purpose}' is not in the site's policy: python -m client access show")
        if settings.policy.plans == "refuse":
            raise PlanError("policy.plans of site.yaml is refuse.")
        if content.dataset not in settings.datasets:
            raise PlanError(f"there is no data set '{content.dataset}' under datasets in site.yaml.")
        if content.training.model.multilabel or any(model.training.model.multilabel for model in content.models):
            raise PlanError("model.multilabel: several findings an image are for simulations alone in this release.")
        refuse_unbounded(home, plan)
        plan_encoders.refuse_unfit(home, plan)
        if not content.models:
            floors.refuse_chosen_point(content.training)
            floors.refuse_dense_on_pixels(content.training)
            refuse_unfit_beginning(content.training, content.shape, content.labels)
            floors.refuse_newton(content.training)
            _refuse_small_share(content.training.federation.fraction, settings.policy.fraction)
            floors.refuse_small_draw(len(content.cohort), content.training.federation)
        near.refuse_planned(PlanInbox(home), plan, dict.fromkeys(content.cohort))
        near.refuse_beginning(PlanInbox(home), plan, dict.fromkeys(content.cohort))
    except (PlanError, PolicyError, EncoderError, PackageError, PluginError) as error:
        return str(error)
    return ""


def _refuse_small_share(fraction: float, least: float) -> None:
    if fraction < least:
        raise PolicyError(
            "fraction-too-small",
            f"federation.fraction: {fraction:g} of the sites are asked in a round, and policy.fraction of site.yaml "
            f"expects {least:g} at least: of a share, fewer than two thirds of the plan's sites stand behind a sum. "
            "The data officer may lower it.",
        )


def restored_s(home: Home) -> float:
    """When this site was restored from a backup, in seconds since 1970; long ago if it never was.

    Raises:
        ConfigError: the note of it is damaged.
    """
    path = home.folder / "restored"
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return float("-inf")
    except ValueError:
        raise ConfigError(
            f"{path}: damaged, expected seconds since 1970. Write those of now into it: `date +%s`. Plans that "
            "were made before then are over here."
        ) from None


def note_restored(home: Home, at_s: float) -> None:
    """From now on no plan that was made before is answered; nothing sets that back."""
    replace(home.folder / "restored", f"{max(at_s, restored_s(home))}\n".encode())
