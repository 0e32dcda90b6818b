"""A hospital's commands.

    python -m client init NAME              make this site's keys and its request to join a consortium
    python -m client fingerprint            of that request, to read out
    python -m client join WELCOME           pin the welcome that comes back
    python -m client check                  is everything ready: keys, network, clock, disk, images
    python -m client plans                  what the consortium asks for, and what was decided
    python -m client approve · refuse PLAN
    python -m client run                    take part: one process that runs for weeks
    python -m client rekey                  move this site to new keys

    python -m client import SOURCE          take images into encrypted custody
    python -m client custody ACTION         the keys of what is in custody
    python -m client backup DEST            to another disk: encrypted, incremental; list, verify, drill, prune
    python -m client restore DEST           this site anew, from a backup

    python -m client access ACTION          people, roles, and the policy that two of them sign
    python -m client audit ACTION           what was done here, and by whom
    python -m client catalogue [ACTION]     what partners offer: data sets, models, plans
    python -m client witness                what was seen of the coordinator's log, here and at other sites

    python -m client check configs/demo.yaml          is the data of a configuration ready to train on?
    python -m client preview image.dcm --config C     one image after every step of the preprocessing
    python -m client predict MODEL IMAGE…             run a shared model on images of this site
    python -m client compare MODEL                    what a federated model is worth here, beside one trained alone

Commands of a site take --home DIR, the site's folder (default: site), and --as KEY, the key of who gives them; the help
of each ends with the roles that may. docs/deploy.md goes through everything in order.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from client.access import commands as access
from client.access import gate
from client.backup import commands as backup
from client.catalogue import commands as catalogue
from client.comparison import commands as comparison
from client.custody import commands as custody
from client.dataset import commands as dataset
from client.home import Home, home_option
from client.plans import commands as plans
from client.prediction import commands as prediction
from client.setup import commands as setup
from common.cli.command import Command, dispatch

RUN = """Take part: one process that keeps a connection to the coordinator, for ever, and answers what approved
plans ask. It can be stopped and started at any moment.

  python -m client run

Everything goes out over one TLS connection to the coordinator's address; nothing has to be opened to the
inside. For a service that starts with the machine, see docs/deploy.md."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    return dispatch("python -m client", __doc__, COMMANDS, arguments)


<<<<<<< HEAD
def _home_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--home", type=Path, default=Path("site"), metavar="DIR", help="the site's folder (site)")


# --- joining --------------------------------------------------------------------------------------------------------


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="this site's, without spaces: lisbon")
    parser.add_argument("--contact", default="", metavar="TEXT", help="whom the coordinator can telephone")
    parser.add_argument("--person", default="", metavar="NAME", help="who may do everything at first (the system user)")
    parser.add_argument("--rehearse", metavar="CONFIG", help="play the part of the simulated site of this name in it")
    _home_argument(parser)


def _init(options: argparse.Namespace) -> int:
    part = configuration.load(options.rehearse) if options.rehearse else None
    _show_request(options.home, enrol.begin(Home(options.home), options.name, options.contact, part, options.person))
    print(f"Then name this hospital's images in {options.home / 'site.yaml'}, and try: python -m client check")
    return 0


def _rekey_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contact", default="", metavar="TEXT", help="whom the coordinator can telephone")
    _home_argument(parser)


def _rekey(options: argparse.Namespace) -> int:
    _show_request(options.home, enrol.rekey(Home.at(options.home), options.contact))
    print("The old keys lie under old/; delete them when the new ones work.")
    return 0


def _show_request(folder: Path, request: JoinRequest) -> None:
    print(f"Keys of site {request.site} made in {folder}; they never leave it. The request's fingerprint:\n")
    print(f"    {request.fingerprint}\n")
    print(f"Send {folder / (request.site + '.request')} to the coordinator, who will telephone and compare it.")


def _fingerprint_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="the digits alone, for scripts")
    _home_argument(parser)


def _fingerprint(options: argparse.Namespace) -> int:
    home = Home(options.home)
    request = JoinRequest.read((home.folder / f"{home.site}.request").read_bytes())
    print(request.fingerprint if options.plain else f"Site {request.site}:\n\n    {request.fingerprint}")
    return 0


def _join_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("welcome", type=Path, metavar="WELCOME", help="the file that the coordinator sent")
    parser.add_argument("--fingerprint", metavar="DIGITS", help="as the coordinator read it out; else you are asked")
    _home_argument(parser)


def _join(options: argparse.Namespace) -> int:
    welcome = Welcome.read(options.welcome.read_bytes())
    print(f"Consortium {welcome.pins.federation} at {welcome.address}. Its fingerprint:\n\n    {welcome.fingerprint}\n")
    question = "Have you compared it over the telephone, and is it the same?"
    if not confirmed(question, welcome.fingerprint, options.fingerprint):
        raise IdentityError(
            "fingerprint", "the fingerprint was not confirmed, so nothing was pinned. Compare it with what the "
            'coordinator reads out, and answer yes, or give --fingerprint "…".',
        )  # fmt: skip
    enrol.join(Home.at(options.home), welcome)
    print("Joined. Next: python -m client check, then python -m client run")
    return 0


# --- plans ----------------------------------------------------------------------------------------------------------


def _plans_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", nargs="?", metavar="PLAN", help="its name, or the beginning: everything about it")
    _home_argument(parser)


def _plans(options: argparse.Namespace) -> int:
    from client.plans import sync

    home, console = Home.at(options.home), terminal.console()
    if problem := sync.refresh(home):
        console.print(Text.assemble(("As far as known here", "yellow"), f": {problem}"))
    if options.plan:
        console.print(home.plan(options.plan).describe(), highlight=False, markup=False)
        return 0
    table = Sheet("plan", "data set", "purpose", "until", "decision", prose=("decision",))
    for plan in home.plans():
        told, decision = plan.content, home.decision(plan)
        until = time.strftime("%Y-%m-%d", time.gmtime(told.expires_s))
        said = Text(f"{decision.verdict}d") if decision else Text("undecided", "bold")
        if objection := home.objection(plan):
            said = Text.assemble(said, (f" cannot run here: {objection}", "red"))
        table.add(plan.name, told.dataset, told.purpose, until, said)
    console.print(table)
    console.print("Everything about one: python -m client plans PLAN. Then: approve PLAN, or refuse PLAN.")
    return 0


def _decide_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN", help="its name, or the beginning")
    parser.add_argument("--reason", default="", metavar="TEXT", help="for the coordinator to read")
    _home_argument(parser)


def _approve(options: argparse.Namespace) -> int:
    return _decide(options, "approve")


def _refuse(options: argparse.Namespace) -> int:
    return _decide(options, "refuse")


def _decide(options: argparse.Namespace, verdict: Verdict) -> int:
    from client.plans import sync

    home = Home.at(options.home)
    _ask_for(home, options.plan)
    plan: RunPlan = home.plan(options.plan)
    if verdict == "approve" and (objection := home.objection(plan)):
        print(f"Plan {plan.name} cannot be approved here: {objection}", file=sys.stderr)
        return 1
    options.act.plan, options.act.dataset = plan.name, plan.content.dataset
    options.act.facts |= {"digest": plan.digest, "purpose": plan.content.purpose}
    decision = home.decide(plan, verdict, options.reason)
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
    while (problem := sync.refresh(home)) and not home.knows(name):
        if time.monotonic() > until_s:
            raise LinkError(f"plan {name!r} is not known here, and the coordinator cannot be asked: {problem}")
        if not said:
            print(f"{problem} Trying for a minute.", file=sys.stderr)
            said = True
        time.sleep(1.0)


# --- taking part ----------------------------------------------------------------------------------------------------


=======
>>>>>>> main
def _run(options: argparse.Namespace) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from client import service  # Flower and TensorFlow with it: seconds that no other command should wait for

    return service.run(Home.at(options.home))


COMMANDS = gate.guarded(
    {
        **setup.COMMANDS,
        **plans.COMMANDS,
        "run": Command("take part, for weeks", RUN, home_option, _run),
        **comparison.COMMANDS,
        **prediction.COMMANDS,
        **dataset.COMMANDS,
        **catalogue.COMMANDS,
        **custody.COMMANDS,
        **backup.COMMANDS,
        **access.COMMANDS,
    }
)

if __name__ == "__main__":
    sys.exit(main())
