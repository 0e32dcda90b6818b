"""A coordinator's commands.

    python -m server init NAME --address HOST:PORT    make a consortium
    python -m server admit REQUEST                    put a hospital on the roster, and write its welcome
    python -m server start                            keep the coordinator's processes alive
    python -m server run PLAN                         ask the sites for a training, and follow it
    python -m server evaluate MODEL…                  finished models on every site's validation cases
    python -m server status                           who is connected, doing what, and who is waited for
    python -m server dashboard                        the same as a page that keeps itself up to date
    python -m server compare RUN RUN…                 runs beside each other, simulated or real
    python -m server export RUN                       a finished run as one signed package to share
    python -m server catalogue [ACTION]               what partners offer: data sets, models, plans
    python -m server history · stop · revoke · renew
    python -m server audit show · verify · export     what was done here, and by whom

All take --home DIR, the coordinator's folder (default: consortium). docs/deploy.md goes through everything in order.
"""

from common.cli import interrupt

if __name__ == "__main__":
    interrupt.arm()  # before the rest is imported, which takes seconds

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from common import config as configuration
from common.audit import acts, log_view
from common.audit.log import Log
from common.cli import terminal
from common.cli.command import Command, confirm_fingerprint, dispatch
from common.errors import ConfigError, IdentityError
from common.plans.plan import RunPlan
from common.storage import tensorfile
from common.trust.joining import JoinRequest, consortium_fingerprint
from server.catalogue.catalogue import Catalogue
from server.catalogue.commands import COMMANDS as OFFERING
from server.consortium import membership
from server.consortium.home import Home, Settings
from server.consortium.log_proofs import vouched
from server.evaluation.commands import COMMANDS as EVALUATING
from server.export.commands import COMMANDS as SHARING
from server.export.commands import finished
from server.runs import run_display
from server.runs.run import Run

INIT = """Make a consortium: the root key that signs rosters and plans, a TLS authority of its own, the policy,
roster version 1.

  python -m server init chest-consortium --address train.hospital.example:8443

--address is what hospitals connect to. Keep root.key safe: whoever has it can admit sites. It is needed by
admit, revoke, renew and run, not by the running processes: it may lie on a medium that is put away (--root
FILE)."""

ADMIT = """Put a hospital on the roster, and write the welcome file to send back to it. No secret is in either file.

  python -m server admit lisbon.request

Telephone the hospital and compare the fingerprint that is shown with the one that `client init` showed there:
that, and nothing else, tells that the request is theirs. For scripts: --fingerprint "12345 …". With --new-keys,
a member moves to new keys."""

FINGERPRINT = """Show the consortium's fingerprint, which a hospital that joins will ask for over the telephone.

  python -m server fingerprint"""

START = """Keep the coordinator's processes alive: Flower's SuperLink and SuperExec on loopback, and the
gateway, the only one that is reachable from outside. Runs that were going on go on. Ctrl-C ends all of them.

  python -m server start"""

RUN = """Sign a plan, ask the sites for it, and follow the run. Ctrl-C ends the following, not the run.

  python -m server run configs/plan-template.yaml
  python -m server run configs/plan-template.yaml federation.rounds=10 --wait-hours 48

The configuration needs a section `plan`: dataset, labels, shape (docs/configuration.md). The run begins when
every site of the cohort has decided, or after --wait-hours with those who approved. `data` and `sites` stay at
home: they are for a rehearsal with simulate.py."""

STATUS = """One line a site: connected or not, since when, what it is doing; and what the run is waiting for.

  python -m server status"""

DASHBOARD = """A page for the browser: rounds as they happen, each site, what is waited for. It changes nothing.

  python -m server dashboard                     prints a link that works once
  python -m server dashboard --set-password      asks for a password, for those who come back

It listens on this machine alone; from another, come through ssh: docs/dashboard.md."""

HISTORY = """All runs, with how they ended.

  python -m server history"""

COMPARE = """Compare runs that have finished: settings that differ, curves over each other, figures with intervals,
cost. A table here, and one page, compare.html.

  python -m server compare runs/demo runs/demo-svm
  python -m server compare pneumonia-1a2b3c4d pneumonia-5e6f7a8b"""

STOP = """End a run; its checkpoint and its rounds stay. Without a name, the latest one.

  python -m server stop pneumonia-1a2b3c4d"""

FOLLOW = """Follow a run that was submitted before. Ctrl-C ends the following, not the run.

  python -m server follow"""

REVOKE = """Suspend a site: the gateway lets it in no more, and the next roster tells all the others.

  python -m server revoke lisbon"""

RENEW = """Sign the roster anew, valid for another year, and make the gateway's certificate anew.

  python -m server renew --days 365"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    return dispatch("python -m server", __doc__, COMMANDS, arguments)


def _home_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home", type=Path, default=Path("consortium"), metavar="DIR", help="the coordinator's folder (consortium)"
    )


def _root_argument(parser: argparse.ArgumentParser) -> None:
    _home_argument(parser)
    parser.add_argument("--root", type=Path, metavar="FILE", help="the root key, where it is not in the folder")


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the consortium's")
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="what hospitals connect to")
    parser.add_argument("--port", type=int, metavar="N", help="the gateway's port here, where it is another (NAT)")
    parser.add_argument("--purpose", action="append", default=[], metavar="P", help="what plans may be for (training)")
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long the roster is valid (365)")
    _home_argument(parser)


def _init(options: argparse.Namespace) -> int:
    home, port = Home(options.home), options.address.rpartition(":")[2]
    if not port.isdigit():
        raise ConfigError(f"--address {options.address}: expected HOST:PORT, for example train.hospital.example:8443.")
    told = {"consortium": options.name, "address": options.address, "port": options.port or int(port)}
    settings = Settings.checked(told)
    membership.begin(home, settings, tuple(options.purpose) or ("training",), options.days)
    print(f"Consortium {options.name} made in {home.folder}. Its fingerprint, for the hospitals to compare:\n")
    print(f"    {consortium_fingerprint(home.pins)}\n")
    print(f"Keep {home.folder / 'root.key'} safe and back it up. Next: hospitals run `python -m client init`, and send")
    print("you their request; `python -m server admit REQUEST` answers it.")
    return 0


def _fingerprint_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain", action="store_true", help="the digits alone, for scripts")
    _home_argument(parser)


def _fingerprint(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    digits = consortium_fingerprint(home.pins)
    told = home.settings
    print(digits if options.plain else f"Consortium {told.consortium} at {told.address}:\n\n    {digits}")
    return 0


def _admit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request", type=Path, metavar="REQUEST", help="the file that `client init` wrote")
    parser.add_argument("--fingerprint", metavar="DIGITS", help="as the hospital read it out; else you are asked")
    parser.add_argument("--new-keys", action="store_true", help="a member moves to the keys of this request")
    _root_argument(parser)


def _admit(options: argparse.Namespace) -> int:
    home, request = Home.at(options.home), JoinRequest.read(options.request.read_bytes())
    options.act.facts["site"] = request.site
    print(f"Site {request.site}, contact {request.contact or 'not given'}. Fingerprint:\n\n    {request.fingerprint}\n")
    question = "Have you compared it over the telephone, and is it the same?"
    if not confirm_fingerprint(question, request.fingerprint, options.fingerprint):
        raise IdentityError(
            "fingerprint", "the fingerprint was not confirmed, so nobody was admitted. Compare it with what the "
            'hospital reads out, and answer yes, or give --fingerprint "…".',
        )  # fmt: skip
    path = membership.admit(home, request, home.root_keys(options.root), new_keys=options.new_keys)
    options.act.facts["roster"] = home.roster.version
    print(f"Admitted: roster version {home.roster.version}, {len(home.roster.active)} active members.")
    print(f"Send {path} to the hospital; it holds no secret. There: python -m client join {terminal.word(path.name)}")
    return 0


def _start(options: argparse.Namespace) -> int:
    from server.processes import start  # Flower takes a second to import

    home, options.act.outcome = Home.at(options.home), "done"  # by Ctrl-C, which is how it is stopped
    return start.start(home)


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="PLAN", help="a configuration with a section `plan`")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="laid over the file")
    parser.add_argument(
        "--wait-hours", type=float, default=24.0, metavar="H", help="how long undecided sites are waited for (24)"
    )
    parser.add_argument("--no-follow", action="store_true", help="submit, and return at once")
    _root_argument(parser)


def _run(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    config = configuration.load(options.config, options.overrides)
    plan = RunPlan.from_config(config, home.roster, roots := home.root_keys(options.root))
    vouched(home, roots)
    for doubt in Catalogue(home).doubts(plan.content):
        print(f"Look again: {doubt}")
    options.act.plan, options.act.facts["digest"] = plan.name, plan.digest
    run = Run.begin(home, plan, options.wait_hours * 3600)
    print(f"Run {run.name}: asking {', '.join(plan.content.cohort)}. Each decides: python -m client approve {run.name}")
    return 0 if options.no_follow else run_display.follow(run, terminal.console())


def _name_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", metavar="RUN", help="its name, or the beginning (the latest)")
    _home_argument(parser)


def _follow(options: argparse.Namespace) -> int:
    return run_display.follow(Run.find(Home.at(options.home), options.name), terminal.console())


def _status(options: argparse.Namespace) -> int:
    run_display.status(Home.at(options.home), terminal.console())
    return 0


def _dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="where the page is (8765)")
    parser.add_argument("--listen", default="127.0.0.1", metavar="IP", help="address of this machine (127.0.0.1)")
    parser.add_argument("--set-password", action="store_true", help="ask for a password for the page, and set it")
    _home_argument(parser)


def _dashboard(options: argparse.Namespace) -> int:
    from server import dashboard

    home = Home.at(options.home)
    return dashboard.ask_password(home) if options.set_password else dashboard.serve(home, options.listen, options.port)


def _history(options: argparse.Namespace) -> int:
    run_display.history(Home.at(options.home), terminal.console())
    return 0


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a folder with a result.json, or a run's name here")
    parser.add_argument(
        "--out", type=Path, default=Path("compare.html"), metavar="FILE", help="the page (compare.html)"
    )
    _home_argument(parser)


def _compare(options: argparse.Namespace) -> int:
    from server.report import comparison_page

    if len(options.runs) < 2:
        raise ConfigError("one run, expected two at least to compare: python -m server compare RUN RUN…")
    found = [comparison_page.read(finished(options.home, name)) for name in options.runs]
    terminal.console().print(comparison_page.shown(found))
    for doubt in comparison_page.doubts(found):
        print(doubt)
    tensorfile.write_atomically(options.out, comparison_page.page(found))
    print(f"Written to {options.out}. Research software, not a medical device.")
    return 0


def _stop(options: argparse.Namespace) -> int:
    run = Run.find(Home.at(options.home), options.name)
    options.act.plan = run.name
    run.ask_to_stop()
    for _ in range(100):
        if run.state.stage in ("finished", "failed", "stopped"):
            print(f"Run {run.name}: {run.state.stage}.")
            return 0
        time.sleep(0.1)
    print(f"Run {run.name} will be stopped as soon as `python -m server start` is running.")
    return 0


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("site", metavar="SITE")
    _root_argument(parser)


def _revoke(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    options.act.facts["site"] = options.site
    roster = membership.revoke(home, options.site, home.root_keys(options.root))
    options.act.facts["roster"] = roster.version
    print(f"Site {options.site} suspended: roster version {roster.version}, {len(roster.active)} active members.")
    return 0


def _renew_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=int, default=365, metavar="N", help="how long the roster is valid (365)")
    _root_argument(parser)


def _renew(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    roster = membership.renew(home, options.days, home.root_keys(options.root))
    options.act.facts["roster"] = roster.version
    print("The new certificate is used from the next `python -m server start` on.")
    print(f"Roster version {roster.version}, valid until {time.strftime('%Y-%m-%d', time.gmtime(roster.expires_s))}.")
    return 0


def _log(options: argparse.Namespace) -> Log | None:
    return Home(options.home).log if (options.home / "consortium.yaml").exists() else None


RECORDED = {"init": "init", "admit": "admit", "start": "start", "run": "sign plan",
            "evaluate": "sign plan", "stop": "stop run", "revoke": "revoke", "renew": "renew",
            "export": "export model"}  # fmt: skip
"""Commands that are written down, and as what."""

COMMANDS = {
    "init": Command("make a consortium", INIT, _init_arguments, _init),
    "admit": Command("put a hospital on the roster", ADMIT, _admit_arguments, _admit),
    "fingerprint": Command("the consortium's, to read out", FINGERPRINT, _fingerprint_arguments, _fingerprint),
    "start": Command("keep the coordinator's processes alive", START, _home_argument, _start,
                     "all processes have ended; runs go on at the next start."),
    "run": Command("sign a plan, ask the sites, follow the run", RUN, _run_arguments, _run,
                   "the run goes on; follow it again with `python -m server follow`."),
    "follow": Command("follow a run", FOLLOW, _name_argument, _follow,
                      "the run goes on; follow it again with the same command."),
    "status": Command("who is connected, doing what, and who is waited for", STATUS, _home_argument, _status),
    "dashboard": Command("a page that shows all of it, live", DASHBOARD, _dashboard_arguments, _dashboard,
                         "the page is closed; runs go on."),
    "history": Command("all runs, and how they ended", HISTORY, _home_argument, _history),
    "compare": Command("runs beside each other, simulated or real", COMPARE, _compare_arguments, _compare),
    **SHARING,
    **EVALUATING,
    **OFFERING,
    "stop": Command("end a run", STOP, _name_argument, _stop),
    "revoke": Command("suspend a site", REVOKE, _revoke_arguments, _revoke),
    "renew": Command("sign the roster anew before it expires", RENEW, _renew_arguments, _renew),
    "audit": log_view.command("server", _home_argument, lambda options: Home.at(options.home).log),
}  # fmt: skip
COMMANDS |= {name: acts.recorded(COMMANDS[name], what, _log) for name, what in RECORDED.items()}

if __name__ == "__main__":
    interrupt.program(main)
