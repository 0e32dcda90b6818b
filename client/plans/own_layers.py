"""A shared model at this hospital: with the layers that it kept for itself when it trained the model
(`federation.local.private`), and without code that its policy does not allow."""

from client.home import Home
from client.plans import kept_state, plan_plugins
from client.plans.inbox import PlanInbox
from common.models.private_layers import PRIVATE
from common.package import ModelPackage
from common.types import under


def completed(package: ModelPackage, home: Home | None) -> ModelPackage:
    """A package with this hospital's own layers, where some of its layers were private; else as it is.

    Args:
        home: None: where there is no site.

    Raises:
        PackageError: this hospital trained none of them.
        IdentityError: what it kept is damaged.
        PluginError: the model needs a plug-in that is not here, or that the hospital's policy does not allow.
    """
    parts = package.content.parts
    if parts and home is not None and (home.folder / "pins.json").exists():
        plan_plugins.refuse_parts(home, parts)
    plan = package.content.provenance.plan
    if not package.content.private or plan is None or home is None or not (home.folder / "pins.json").exists():
        return package.completed({})
    return package.completed(under(PRIVATE, kept_state.read(PlanInbox(home).room(plan), home.enrolment.sealing_key)))
