"""The commands `plans`, `approve`, `refuse` and `witness` of `python -m client`: what this site is asked to do."""

import argparse
import json
import sys
import time

from rich.text import Text

from client.home import Home, home_option
from client.plans.inbox import PlanInbox
from client.plans.log_witness import Witness
from client.plans.plan_state import plan_state
from common.cli import terminal
from common.cli.command import Command
from common.cli.terminal import Sheet
from common.errors import LinkError
from common.plans.decision import Decision, Verdict
from common.storage.files import read_json

PLANS = """What the consortium asks for, in full: data, purpose, model, preprocessing, rounds, who else, until
when, which code.

  python -m client plans
  python -m client plans pneumonia-1a2b3c4d     everything about one"""

APPROVE = """Let this site take part in a plan. Before that, no message of the run is answered, nor sent here.

  python -m client approve pneumonia-1a2b3c4d"""

REFUSE = """Say no to a plan, also to one that was approved: from then on no message of the run is answered.

  python -m client refuse pneumonia-1a2b3c4d --reason "no ethics vote for this purpose" """

WITNESS = """What this site has seen of the coordinator's log, and who else saw the same.

  python -m client witness
  python -m client witness --accept 1a2b3c4d5e6f7a8b     after the coordinator was restored from a backup

Every few seconds the resident process asks for the newest signed head, and for proof that it extends all that this site
and the others have seen. If it does not, the site answers no plan until a data officer has found out why, by telephone,
and accepts the root that the coordinator's people read out. docs/audit.md has the rest."""

SUMS = {"statistics": "mean and variance", "likeness": "how images look", "validation": "evaluations"}
"""The kinds of sums that an approval says there are cases enough for; all others are second moments."""
PATIENCE_S = 60.0
"""How long a plan that is not here yet is asked for."""


def _plans_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", nargs="?", metavar="PLAN", help="its name, or the beginning: everything about it")
    parser.add_argument("--json", action="store_true", help="for programs")
    home_option(parser)


def _plans(options: argparse.Namespace) -> int:
    from client.plans import sync  # and Flower with it, for which `refuse` and the help should not wait

    home, console = options.here, terminal.console()
    inbox = PlanInbox(home)
    problem = sync.refresh(home)
    if problem and not options.json:
        console.print(Text.assemble(("As far as known here", "yellow"), f": {problem}"))
    if options.plan:
        from client.plans.plan_report import PlanReport

        report = PlanReport.of(home, inbox.plan(options.plan), problem)
        if options.json:
            print(json.dumps(report.as_json(), indent=1))
        else:
            console.print(report.text(), highlight=False, markup=False)
        return 0
    states = [plan_state(home, plan) for plan in inbox.plans()]
    if options.json:
        print(json.dumps({"problem": problem, "plans": [state.as_json() for state in states]}, indent=1))
        return 0
    table = Sheet("plan", "data set", "purpose", "until", "state", prose=("state",))
    for state in sorted(states, key=lambda state: not state.is_open):
        until = time.strftime("%Y-%m-%d", time.gmtime(state.until_s))
        style = "bold" if state.state == "undecided" else "" if state.is_open else "dim"
        text = Text(state.words, "red" if state.objection or state.unfit else style)
        table.add(state.name, state.dataset, state.purpose, until, text)
    console.print(table)
    console.print("Everything about one: python -m client plans PLAN. Then: approve PLAN, or refuse PLAN.")
    return 0


def _decide_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN", help="its name, or the beginning")
    parser.add_argument("--reason", default="", metavar="TEXT", help="for the coordinator to read")
    home_option(parser)


def _approve(options: argparse.Namespace) -> int:
    return _decide(options, "approve")


def _refuse(options: argparse.Namespace) -> int:
    return _decide(options, "refuse")


def _decide(options: argparse.Namespace, verdict: Verdict) -> int:
    from client.dataset.for_plan import refuse_unready
    from client.plans import sync
    from client.plans.decide import decide  # and all that reads images with it
    from client.plans.obstacles import obstacle

    home = options.here
    _fetch_plan(home, options.plan)
    inbox = PlanInbox(home)
    plan = inbox.plan(options.plan)
    if verdict == "approve" and (why := obstacle(home, plan)):
        print(f"Plan {plan.name} cannot be approved here: {why}", file=sys.stderr)
        return 1
    options.act.plan, options.act.dataset = plan.name, plan.content.dataset
    options.act.facts |= {"digest": plan.digest, "purpose": plan.content.purpose}
    if verdict == "approve":
        refuse_unready(home, plan)
    decision = decide(home, plan, verdict, options.reason)
    problem = sync.send_decision(home, decision)
    delay = f" The coordinator will be told as soon as it is reached ({problem})." if problem else ""
    publishes = decision.commitment.publishes and verdict == "approve"
    note = " This site's own figures will be published in it (policy.publish in site.yaml)." if publishes else ""
    print(f"Plan {plan.name}: {verdict}d.{note}{delay}")
    if verdict == "approve":
        print(f"Signed, in {inbox.room(plan.digest) / 'decision.json'}: {_summary(decision)}")
    return 0


def _summary(decision: Decision) -> str:
    """What an approval binds the site to, for people."""
    commitment = decision.commitment
    kinds = ", ".join(dict.fromkeys(SUMS.get(kind, "second moments") for kind in commitment.fits))
    remark = " It has itself seen what the plan carries." if commitment.knows else ""
    return (
        f"the plan's digest {decision.plan[:16]}…, the keys of all its sites as this site knows them (their digest "
        f"{commitment.members[:16]}…), and this site's images as they are now ({commitment.data[:16]}…), version "
        f"{commitment.version[:16]} of the data set. They are enough for: {kinds}.{remark}"
    )


def _fetch_plan(home: Home, name: str) -> None:
    """Get a plan from the coordinator; one that cannot be reached yet is tried again for a minute."""
    from client.plans import sync

    deadline_s, has_warned = time.monotonic() + PATIENCE_S, False
    while (problem := sync.refresh(home)) and not PlanInbox(home).knows(name):
        if time.monotonic() > deadline_s:
            raise LinkError(f"plan {name!r} is not known here, and the coordinator cannot be asked: {problem}")
        if not has_warned:
            print(f"{problem} Trying for a minute.", file=sys.stderr)
            has_warned = True
        time.sleep(1.0)


def _witness_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accept", metavar="ROOT", help="go on from the head of this root, which was refused")
    parser.add_argument("--json", action="store_true", help="for programs")
    home_option(parser)


def _witness(options: argparse.Namespace) -> int:
    witness = Witness(options.here)
    if options.json:
        print(json.dumps(witness.as_json(), indent=1))
        return 1 if witness.home.witness_refused.exists() else 0
    if options.accept is not None:
        new_head = witness.accept(options.accept)
        options.act.facts |= {"entries": new_head.size, "root": new_head.root.hex()}
        print(f"This site goes on from {new_head.size:,} entries, root {new_head.root.hex()}.")
        return 0
    refusal = witness.home.witness_refused
    if refusal.exists():
        print(f"REFUSED: {read_json(refusal)['why']}\nThis site answers no plan. Both heads: {refusal}. Telephone.")
        print(witness.how_to_accept())
    if not (head := witness.head):
        print("Nothing was seen of the coordinator's log yet.")
        return 0
    print(f"Seen: {head.size:,} entries of the log of {head.origin}, until {_when(head.at_s)} UTC\n  {head.root.hex()}")
    for site in sorted(set(witness.home.roster.active) - {witness.home.site}):
        other = witness.others.get(site)
        text = f"{int(other['size']):,} entries, {_when(other['at_s'])} UTC" if other else "no word from it"
        print(f"  {site}: {text}")
    return 1 if refusal.exists() else 0


def _when(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))


COMMANDS = {
    "plans": Command(PLANS, _plans_arguments, _plans),
    "approve": Command(APPROVE, _decide_arguments, _approve),
    "refuse": Command(REFUSE, _decide_arguments, _refuse),
    "witness": Command(WITNESS, _witness_arguments, _witness),
}
