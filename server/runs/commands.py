"""The command `run` of `python -m server`: sign a plan, ask the sites, follow the run."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common import config as configuration
from common.cli import terminal
from common.cli.command import Command
from common.config import Config
from common.errors import ConfigError
from common.plans.plan import RunPlan
from common.trust.cosigning import RootPaper, SigningRequest
from server.catalogue.catalogue import Catalogue
from server.consortium.arguments import add_root
from server.consortium.home import Home
from server.consortium.log_proofs import keep_voucher, vouchers
from server.consortium.signing import Finish, Rest, request_of, sign
from server.runs import run_display
from server.runs.begun_before import refuse_beside
from server.runs.carrying import Foresight, arrays_of, foresee, foresee_anew
from server.runs.run import Run
from server.runs.site_releases import refuse_unable
from server.runs.status import describe_run

RUN = """Sign a plan, ask the sites for it, and follow the run. Ctrl-C ends the following, not the run.

  python -m server run configs/plan-template.yaml
  python -m server run configs/plan-template.yaml privacy.epsilon=1 --wait-hours 48
  python -m server run configs/plan-template.yaml --without osaka --start-now
  python -m server run pneumonia-1a2b3c4d --start-now          a run that waits begins, once enough approved

The configuration needs a section `plan`: dataset, labels, shape (docs/configuration.md). The run begins when
every site of the cohort has decided, or after --wait-hours with those who approved, if they are enough: more than two
thirds of the plan's sites. Several go on at once, at each site as many as it takes (policy.runs_at_once). `data` and
`sites` stay at home: they are for a rehearsal with simulate.py.

What an earlier run on the same images has summed (mean and variance, how they look, second moments) is carried into
the new plan and not asked again, since sums over other sites or other images would tell what the odd ones have."""


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="PLAN", help="a configuration with a section `plan`; or a run that waits")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="laid over the file")
    parser.add_argument(
        "--wait-hours", type=float, default=24.0, metavar="H", help="how long undecided sites are waited for (24)"
    )
    parser.add_argument(
        "--start-now", action="store_true", help="begin as soon as enough have approved, and wait for nobody else"
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="SITE", help="a site that is not asked (again for each)"
    )
    parser.add_argument(
        "--ask-anew", action="store_true",
        help="carry nothing from an earlier run: sites refuse where other sites or images answered the same",
    )  # fmt: skip
    parser.add_argument("--no-follow", action="store_true", help="submit, and return at once")
    add_root(parser)


def _run(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    if options.start_now and not Path(options.config).exists():
        return _start_now(home, options)
    config = _without(configuration.load(options.config, options.overrides), home, options.without)
    if config.privacy is None:
        raise ConfigError(
            f"{options.config}: no section privacy. What exact sums and a model tell of one patient, nothing bounds. "
            "Write a budget, as `privacy: {epsilon: 3, delta: 1.0e-5}`, or `privacy: none`: then every hospital reads "
            "first that there is no bound. docs/privacy.md"
        )
    look_ahead = foresee_anew if options.ask_anew else foresee
    # Under a budget every answer has noise of its own, and is paid for: nothing is carried.
    ahead = Foresight() if config.budget else look_ahead(home, config)
    plan = RunPlan.from_config(config, home.roster, (), ahead.source)
    refuse_beside(home, plan.content)
    refuse_unable(home, plan.content)
    if ahead.words:
        print(ahead.words)
    for doubt in Catalogue(home).doubts(plan.content):
        print(f"Look again: {doubt}")
    options.act.plan, options.act.facts["digest"] = plan.name, plan.digest
    return submit(home, plan, options)


def _without(config: Config, home: Home, sites: Sequence[str]) -> Config:
    """The configuration, with these sites not asked."""
    if not sites or config.plan is None:
        return config
    cohort = config.plan.cohort or tuple(home.roster.active)
    if strangers := sorted(set(sites) - set(cohort)):
        raise ConfigError(f"--without {', '.join(strangers)}: expected one of {', '.join(sorted(cohort))}.")
    rest = tuple(site for site in sorted(cohort) if site not in sites)
    return config.model_copy(update={"plan": config.plan.model_copy(update={"cohort": rest})})


def _start_now(home: Home, options: argparse.Namespace) -> int:
    run = Run.find(home, options.config)
    options.act.plan = run.name
    if run.state.stage != "waiting":
        raise ConfigError(f"run {run.name} is {run.state.stage}: expected one that waits for decisions.")
    run.request_start()
    print(describe_run(run))
    return 0 if options.no_follow else run_display.follow(run, terminal.console())


def submit(home: Home, plan: RunPlan, options: argparse.Namespace) -> int:
    """Have a plan signed, begin its run, and follow it; where a root is missing, say whose signature it waits for."""
    papers = [RootPaper.of(plan.document), *vouchers(home)]
    request = request_of(home, "plan", f"plan-{plan.name}"[:63], papers)
    outcome = sign(
        home,
        request,
        {"wait_s": 0.0 if getattr(options, "start_now", False) else options.wait_hours * 3600},
        home.root_keys(*options.root),
        _finish_plan,
    )
    print(outcome.words)
    if options.no_follow or outcome.request.missing:
        return 0
    return run_display.follow(Run.find(home, plan.digest), terminal.console())


def _finish_plan(home: Home, request: SigningRequest, rest: Rest) -> str:
    keep_voucher(home, request)
    (paper,) = (paper for paper in request.papers if paper.kind == "plan")
    plan = RunPlan.load_verified(paper.file, home.pins)
    run = Run.begin(home, plan, float(rest["wait_s"]), arrays_of(home, plan))
    models = f" to evaluate {', '.join(model.name for model in plan.content.models)}" if plan.content.models else ""
    sites = ", ".join(plan.content.cohort)
    return f"Run {run.name}: asking {sites}{models}. Each decides: python -m client approve {run.name}"


FINISH: dict[str, Finish] = {"plan": _finish_plan}


COMMANDS = {
    "run": Command(RUN, _run_arguments, _run, "the run goes on; follow it again with `python -m server follow`."),
}
