"""A notice to people of the hospital that a plan waits for their decision: by mail, or to an address of the web.

It says which consortium asks, for which purpose, by which plan, and until when. Nothing of patients, images or the
data set is in it: it passes through servers that are not this site's.
"""

import time
from pathlib import Path

from client.home import Home
from client.plans.inbox import PlanInbox
from client.plans.plan_state import plan_state
from common.errors import ConsiliumError
from common.notices.notice_sending import Notice, send_by_all
from common.plans.plan import RunPlan


def send_notices(home: Home) -> str:
    """Tell of every plan that waits and was not told of yet; what went wrong, if something did: it is tried again."""
    try:
        notices = home.settings.notices
        plans = [*PlanInbox(home).plans()] if home.settings.policy.plans == "ask" and notices.ways else []
    except ConsiliumError as error:
        return str(error)

    def find(path: Path) -> Path:
        """A path of site.yaml: beside it, or where the program was started."""
        return next((place for place in home.places(path) if place.exists()), path)

    problems = []
    for plan in plans:
        before = PlanInbox(home).notices(plan)
        if notices.ways <= set(before) or plan_state(home, plan).state != "undecided":
            continue
        ways, whys = send_by_all(notices, find, notice_of(home, plan), before)
        problems += [f"{home.folder / 'site.yaml'}: {why}" for why in whys]
        if ways != before:
            PlanInbox(home).note_notices(plan, ways)
        for way in set(ways) - set(before):
            home.log.record("notice sent", plan=plan.name, facts={"by": way})
    return " ".join(problems)


def notice_of(home: Home, plan: RunPlan) -> Notice:
    """What is told of a plan that waits."""
    content = plan.content
    until = time.strftime("%Y-%m-%d", time.gmtime(content.expires_s))
    text = (
        f"{content.consortium} asks {home.site} for a decision.\n\n"
        f"    plan       {plan.name}\n    purpose    {content.purpose}\n    until      {until}\n\n"
        f"Nothing is answered before it is approved. To read and decide: python -m client page\n"
        f"or: python -m client plans {plan.name}\n"
    )
    facts = {"site": home.site, "consortium": content.consortium, "plan": plan.name, "purpose": content.purpose,
             "expires_s": content.expires_s}  # fmt: skip
    return Notice(f"{content.consortium}: plan {plan.name} waits for {home.site}", text, facts)
