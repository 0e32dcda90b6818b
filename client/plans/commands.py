"""The commands `plans`, `approve`, `refuse` and `witness` of `python -m client`: what this site is asked to do."""

import argparse
import sys
import time

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from client.home import Home, home_option
from client.plans import judge
from client.plans.inbox import PlanInbox
from client.plans.log_witness import Witness
from common.cli.command import Command
from common.errors import LinkError
from common.plans.plan import Verdict
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

PATIENCE_S = 60.0
"""How long a plan that is not here yet is asked for."""


def _plans_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", nargs="?", metavar="PLAN", help="its name, or the beginning: everything about it")
    home_option(parser)


def _plans(options: argparse.Namespace) -> int:
    from client.plans import sync

    home, console = Home.at(options.home), Console(soft_wrap=True)
    if problem := sync.refresh(home):
        console.print(f"[yellow]As far as known here[/]: {problem}", highlight=False)
    if options.plan:
        console.print(PlanInbox(home).plan(options.plan).described(), highlight=False, markup=False)
        return 0
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("plan", "data set", "purpose", "until", "decision"):
        table.add_column(column, no_wrap=column == "plan")
    for plan in PlanInbox(home).plans():
        told, decision = plan.content, PlanInbox(home).decision(plan)
        until = time.strftime("%Y-%m-%d", time.gmtime(told.expires_s))
        said = f"{decision.verdict}d" if decision else "[bold]undecided[/]"
        if objection := judge.objection(home, plan):
            said += f" [red]cannot run here: {objection}[/]"
        table.add_row(plan.name, told.dataset, told.purpose, until, said)
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
    from client.plans import sync

    home = Home.at(options.home)
    _ask_for(home, options.plan)
    plan = PlanInbox(home).plan(options.plan)
    if verdict == "approve" and (objection := judge.objection(home, plan)):
        print(f"Plan {plan.name} cannot be approved here: {objection}", file=sys.stderr)
        return 1
    options.act.plan, options.act.dataset = plan.name, plan.content.dataset
    options.act.facts |= {"digest": plan.digest, "purpose": plan.content.purpose}
    decision = PlanInbox(home).decide(plan, verdict, options.reason)
    problem = sync.send_decision(home, decision)
    later = f" The coordinator will be told as soon as it is reached ({problem})." if problem else ""
    published = decision.publishes and verdict == "approve"
    shown = " This site's own figures will be published in it (policy.publish in site.yaml)." if published else ""
    print(f"Plan {plan.name}: {verdict}d.{shown}{later}")
    return 0


def _ask_for(home: Home, name: str) -> None:
    """Get a plan from the coordinator; one that cannot be reached yet is tried again for a minute."""
    from client.plans import sync

    until_s, said = time.monotonic() + PATIENCE_S, False
    while (problem := sync.refresh(home)) and not PlanInbox(home).knows(name):
        if time.monotonic() > until_s:
            raise LinkError(f"plan {name!r} is not known here, and the coordinator cannot be asked: {problem}")
        if not said:
            print(f"{problem} Trying for a minute.", file=sys.stderr)
            said = True
        time.sleep(1.0)


def _witness_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--accept", metavar="ROOT", help="go on from the head of this root, which was refused")
    home_option(parser)


def _witness(options: argparse.Namespace) -> int:
    witness = Witness(Home.at(options.home))
    if options.accept is not None:
        accepted = witness.accept(options.accept)
        options.act.facts |= {"entries": accepted.size, "root": accepted.root.hex()}
        print(f"This site goes on from {accepted.size:,} entries, root {accepted.root.hex()}.")
        return 0
    if witness.home.witness_refused.exists():
        told = read_json(witness.home.witness_refused)
        print(
            f"REFUSED: {told['why']}\nThis site answers no plan. Both heads: {witness.home.witness_refused}. Telephone."
        )
    if not (head := witness.head):
        print("Nothing was seen of the coordinator's log yet.")
        return 0
    print(f"Seen: {head.size:,} entries of the log of {head.origin}, until {_when(head.at_s)} UTC\n  {head.root.hex()}")
    for site in sorted(set(witness.home.roster.active) - {witness.home.site}):
        seen = witness.others.get(site)
        print(
            f"  {site}: " + (f"{int(seen['size']):,} entries, {_when(seen['at_s'])} UTC" if seen else "no word from it")
        )
    return 1 if witness.home.witness_refused.exists() else 0


def _when(at_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))


COMMANDS = {
    "plans": Command("what the consortium asks for", PLANS, _plans_arguments, _plans),
    "approve": Command("take part in a plan", APPROVE, _decide_arguments, _approve),
    "refuse": Command("say no to a plan", REFUSE, _decide_arguments, _refuse),
    "witness": Command("what was seen of the coordinator's log", WITNESS, _witness_arguments, _witness),
}
