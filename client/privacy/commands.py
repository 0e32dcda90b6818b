"""The command `privacy` of `python -m client`: what the patients of this hospital have paid, and what is left."""

import argparse
import json
import time

from rich.text import Text

from client.home import home_option
from client.privacy.account_summary import AccountSummary, summary
from common.cli import terminal
from common.cli.command import Command
from common.cli.terminal import Sheet

PRIVACY = """What all answers under a budget have cost the patients of this hospital, and what is left.

  python -m client privacy show
  python -m client privacy show --json

An answer is written down before it leaves: here, in the site's log, and with the coordinator. One that would pass the
plan's budget, or this hospital's own (policy.privacy of site.yaml), is refused. docs/access.md has the rest."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="accounts, what each plan has cost, what is left")
    show.add_argument("--json", action="store_true", help="for programs")
    home_option(show)


def _show(options: argparse.Namespace) -> int:
    accounts = summary(options.here)
    if options.json:
        print(json.dumps(accounts.to_json(), indent=1, ensure_ascii=False))
        return 0
    _print(accounts)
    return 0


def _print(accounts: AccountSummary) -> None:
    console, rule = terminal.console(), accounts.budget
    if accounts.closed:
        console.print(Text.assemble(("CLOSED", "red"), f": {accounts.closed}. Nothing is answered under a budget."))
    if rule is None:
        console.print("This hospital has no budget of its own (policy.privacy of site.yaml): each plan has its own.")
    else:
        required = " Plans without a budget are refused." if rule["required"] else ""
        console.print(f"Budget of each patient: ε {rule['epsilon']:g} at δ {rule['delta']:g}.{required}")
    if not accounts.plans:
        console.print("Nothing was answered under a budget yet.")
        return
    table = Sheet("data set", "part", "patients", "new", "ε spent", "ε left", right=("patients", "new"))
    for row in accounts.accounts:
        rest = "" if row.rest is None else f"{row.rest:.3f}"
        table.add(row.dataset, row.part, f"{row.patients:,}", f"{row.new:,}", f"{row.epsilon:.3f}", rest)
    console.print(table)
    plans = Sheet("plan", "data set", "part", "answers", "ε", "last, UTC", right=("answers",))
    for each in accounts.plans:
        last = time.strftime("%Y-%m-%d %H:%M", time.gmtime(each.at_s))
        plans.add(each.plan, each.dataset, each.part, f"{each.answers:,}", f"{each.epsilon:.3f}", last)
    console.print(plans)
    console.print(
        f"ε is of the patient who has paid most, at δ {accounts.delta:g}. New: of the last plan, who began at 0."
    )


COMMANDS = {"privacy": Command(PRIVACY, _arguments, _show)}
