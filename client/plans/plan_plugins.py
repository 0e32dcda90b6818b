"""The plug-ins that a plan names: whether this site has these very wheels, and its policy allows them.

Nothing of a plug-in is imported before both hold, and no wheel is ever taken from the coordinator.
"""

from collections.abc import Iterable

from client.access.policy_store import policy_store
from client.home import Home
from client.plans.inbox import PlanInbox
from common.errors import PluginError
from common.plans.plan import RunPlan
from common.plugins import Part, find_plugin
from common.refusals import code_of


def refuse_unfit(home: Home, plan: RunPlan) -> None:
    """Refuse a plan, of training or evaluation, that names a plug-in which this site does not have or allow.

    Raises:
        PluginError: plugin-absent, plugin-differs or plugin-not-allowed, with what to do.
    """
    refuse_parts(home, plan.parts())


def refuse_parts(home: Home, parts: Iterable[Part]) -> None:
    """Refuse the first of the parts whose wheel this site does not have, or its policy does not allow.

    Raises:
        PluginError: as `refuse_unfit`.
    """
    wheels = sorted({(part.plugin, part.sha256 or "") for part in parts})
    wheels_of_policy = policy_store(home).newest().content.plugins if wheels else ()
    for name, sha256 in wheels:
        plugin = find_plugin(name)
        plugin.refuse_other(sha256)
        if f"{name}@{sha256}" not in wheels_of_policy:
            raise PluginError(
                "plugin-not-allowed",
                f"the site's policy does not allow plug-in {name} {plugin.version}, {plugin.sha256[:16]}…. Read its "
                f"code; then two data officers may allow it: python -m client access propose --plugins {name}",
            )


def first_refusal(home: Home) -> tuple[str, str]:
    """Of a plan that waits for a decision and names a plug-in that is refused here: name and code; else empty."""
    inbox = PlanInbox(home)
    for plan in inbox.plans():
        if not plan.parts() or inbox.decision(plan) or inbox.stage(plan) not in (None, "waiting"):
            continue
        try:
            refuse_unfit(home, plan)
        except PluginError as error:
            return plan.name, code_of(error)
    return "", ""
