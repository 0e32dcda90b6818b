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
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from client.access import commands as access
from client.access import gate, signed_entries
from client.backup import commands as backup
from client.catalogue import commands as catalogue
from client.comparison import commands
from client.custody import commands as custody
from client.home import Home
from client.plans import log_witness
from client.prediction import commands as prediction
from client.readers.source import File, Origin
from client.setup import enrol
from common import config as configuration
from common.audit import log_view
from common.cli import terminal
from common.cli.command import Command, confirmed, dispatch
from common.cli.terminal import Sheet
from common.config import Config, Encrypted
from common.errors import IdentityError, LinkError
from common.plans.plan import RunPlan, Verdict
from common.trust.joining import JoinRequest, Welcome

INIT = """Make this site's keys, here, and the request to send to the coordinator. The keys never leave; the
request holds no secret.

  python -m client init lisbon --contact "Ana Sousa, +351 …"

The coordinator will telephone and ask for the fingerprint that is shown."""

FINGERPRINT = """Show the fingerprint of this site's request, which the coordinator will ask for over the telephone.

  python -m client fingerprint"""

JOIN = """Pin what the coordinator sent back: its address and certificate authority, the roster, and whose
signatures count.

  python -m client join lisbon.welcome

Telephone the coordinator and compare the fingerprint of the consortium: from then on this site believes no
other roots. For scripts: --fingerprint "12345 …"."""

CHECK = """Without CONFIG: is this site ready to take part? Keys, roster, clock, disk, address and certificate,
release, images, labels, processor: a line each, ok or what to do. With CONFIG: is the data of a configuration
ready to train on?

  python -m client check
  python -m client check configs/demo.yaml
  python -m client check configs/ours.yaml data.path=/images/list.csv

For a configuration, the table shows each site's cases by class (12/34: 12 of the first class, 34 of the second)
and split, how many people they show, and sizes and intensities as read. Every line is ok, warn (look at it) or
ERROR (a run would stop). Exit status: 0 ready, 1 something is wrong, 2 a configuration or a data set that
cannot be used at all."""

PLANS = """What the consortium asks for, in full: data, purpose, model, preprocessing, rounds, who else, until
when, which code.

  python -m client plans
  python -m client plans pneumonia-1a2b3c4d     everything about one"""

APPROVE = """Let this site take part in a plan. Before that, no message of the run is answered, nor sent here.

  python -m client approve pneumonia-1a2b3c4d"""

REFUSE = """Say no to a plan, also to one that was approved: from then on no message of the run is answered.

  python -m client refuse pneumonia-1a2b3c4d --reason "no ethics vote for this purpose" """

RUN = """Take part: one process that keeps a connection to the coordinator, for ever, and answers what approved
plans ask. It can be stopped and started at any moment.

  python -m client run

Everything goes out over one TLS connection to the coordinator's address; nothing has to be opened to the
inside. For a service that starts with the machine, see docs/deploy.md."""

REKEY = """Put this site's keys aside and make new ones: after a theft, or when the machine is replaced. Then as
at the beginning: the coordinator admits the new request with --new-keys, and this site joins with the new
welcome.

  python -m client rekey"""

PREVIEW = """Write a PNG of one image as read and after every step of a configuration's preprocessing.

  python -m client preview chest.dcm --config configs/pneumonia.yaml --out chest.png

Each panel says the step, the size, and the range of values. Where a configuration normalises by federated statistics,
which one image does not have, the image's own stand in."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    return dispatch("python -m client", __doc__, COMMANDS, arguments)


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
        console.print(home.plan(options.plan).described(), highlight=False, markup=False)
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


def _run(options: argparse.Namespace) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from client import service

    return service.run(Home.at(options.home))


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="a YAML file; see configs/ and docs/data.md")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="laid over the file, e.g. data.path=list.csv")
    _home_argument(parser)


def _check(options: argparse.Namespace) -> int:
    if options.config is None:
        from client.setup import preflight

        return preflight.check(Home(options.home), terminal.console())
    from client.dataset import readiness

    report = readiness.examine(configuration.load(options.config, options.overrides))
    readiness.show(report, terminal.console())
    return 0 if report.ready else 1


def _preview_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="a DICOM, PNG, JPEG or TIFF file; NAME/17 of an encrypted set")
    parser.add_argument("--config", required=True, metavar="C", help="whose preprocessing to show")
    parser.add_argument(
        "--frame", type=int, metavar="N", help="of a file with several, from 0 (default: the middle one)"
    )
    parser.add_argument("--out", type=Path, metavar="P", help="the PNG to write (default: preview.png)")


def _image(name: str, config: Config) -> Origin:
    """A file, or what an encrypted data set calls an image."""
    if not isinstance(config.data, Encrypted) or Path(name).exists():
        return File(Path(name))
    from client.custody import encrypted_cases

    return encrypted_cases.origin(config.data, name)


def _preview(options: argparse.Namespace) -> int:
    from client.dataset.preview import preview
    from client.readers import Frames

    config = configuration.load(options.config)
    frame: Frames = "middle" if options.frame is None else options.frame
    out = preview(_image(options.image, config), config, options.out or Path("preview.png"), frame)
    print(f"Written to {out}.")
    return 0


def _audit() -> Command:
    """The log's commands; here `verify` looks at what people signed as well."""
    command = log_view.command("client", _home_argument, lambda options: Home.at(options.home).log)

    def run(options: argparse.Namespace) -> int:
        status = command.run(options)
        if options.action == "verify" and not options.file:
            home = Home.at(options.home)
            print(f"Signed by people, and theirs: {signed_entries.verify_all(home.log, home.access)} entries.")
        return status

    return replace(command, run=run)


PATIENCE_S = 60.0
KEPT = "images decoded so far are kept, and the same command goes on from them."

COMMANDS = {
    "init": Command("make this site's keys and its request", INIT, _init_arguments, _init),
    "fingerprint": Command("the request's, to read out", FINGERPRINT, _fingerprint_arguments, _fingerprint),
    "join": Command("pin the coordinator's welcome", JOIN, _join_arguments, _join),
    "check": Command("is this site, or the data of a configuration, ready?", CHECK, _check_arguments, _check, KEPT),
    "plans": Command("what the consortium asks for", PLANS, _plans_arguments, _plans),
    "approve": Command("take part in a plan", APPROVE, _decide_arguments, _approve),
    "refuse": Command("say no to a plan", REFUSE, _decide_arguments, _refuse),
    "run": Command("take part, for weeks", RUN, _home_argument, _run),
    "rekey": Command("move this site to new keys", REKEY, _rekey_arguments, _rekey),
    **commands.COMMANDS,
    **prediction.COMMANDS,
    "preview": Command("one image after every preprocessing step", PREVIEW, _preview_arguments, _preview, KEPT),
    **catalogue.COMMANDS,
    **custody.COMMANDS,
    **backup.COMMANDS,
    **access.COMMANDS,
    "audit": _audit(),
    **log_witness.COMMANDS,
}
COMMANDS = gate.guarded(COMMANDS)

if __name__ == "__main__":
    sys.exit(main())
