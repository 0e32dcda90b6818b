"""The command that asks the sites to evaluate models that are there."""

import argparse
from functools import partial

from pydantic import ValidationError

from common.cli.command import Command, confirm_fingerprint
from common.config import PlanTerms, first_fault
from common.errors import ConfigError
from common.package import ModelPackage
from common.plans.plan import RunPlan
from common.trust.enrolment import PURPOSE
from server.consortium.arguments import add_root
from server.consortium.home import Home
from server.evaluation import model_store
from server.runs.commands import submit
from server.runs.evaluated_before import refuse_counted
from server.runs.site_releases import refuse_unable

EVALUATE = """Have every site run models on its validation cases. Nothing is trained.

  python -m server evaluate pneumonia-1a2b3c4d
  python -m server evaluate pneumonia-1a2b3c4d pneumonia-5e6f7a8b --cohort lisbon,osaka,nairobi
  python -m server evaluate others.consilium --dataset chest

Signs a plan that names each model by its SHA-256; every site approves it, as it does a training. What comes back are
counts, summed under secure aggregation, and of single sites what they publish (policy.publish in their site.yaml).
docs/evaluation.md explains the figures, and which cohorts are refused.

The counts are exact: no budget of privacy covers them, also where the models were trained under one, and hospitals that
require a budget (policy.privacy) refuse."""


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a finished run by its name, or a package's file")
    parser.add_argument("--fingerprint", metavar="DIGITS", help="of a package's publisher who is not this consortium")
    parser.add_argument("--name", default="evaluation", metavar="NAME", help="of the plan (evaluation)")
    parser.add_argument("--dataset", metavar="NAME", help="the sites' data set (the first model's)")
    parser.add_argument("--cohort", default="", metavar="SITE,SITE", help="who is asked (the first model's sites)")
    parser.add_argument("--purpose", metavar="P", help="one that the consortium allows (the first model's)")
    parser.add_argument("--days", type=float, default=30.0, metavar="N", help="when the plan ends (30)")
    parser.add_argument("--wait-hours", type=float, default=24.0, metavar="H", help="for undecided sites (24)")
    parser.add_argument("--no-follow", action="store_true", help="submit, and return at once")
    add_root(parser)


def draw_up(home: Home, options: argparse.Namespace) -> RunPlan:
    """The plan of an evaluation, which nobody has signed yet, from what the command line says.

    Raises:
        ConfigError: models of other classes or another seed than the first, or a model twice; and what a plan may not
            say.
        PlanError, RunError: a model that is not there.
    """
    trusts = partial(_trusts, options.fingerprint)
    stored_models = [model_store.load(home, name, trusts) for name in options.models]
    models, first = tuple(one.model for one in stored_models), stored_models[0]
    for one in stored_models[1:]:
        if one.labels != first.labels:
            raise ConfigError(
                f"{one.model.name} tells apart {', '.join(one.labels)}; {first.model.name} {', '.join(first.labels)}. "
                "Evaluate them in plans of their own."
            )
        (seed, *_), (other, *_) = first.model.training.seeds, one.model.training.seeds
        if seed != other:
            # An approval binds a site to its cases as one seed divides them, and so does what it has answered before.
            raise ConfigError(
                f"{one.model.name} was trained with seed {other}, {first.model.name} with {seed}: sites divide their "
                "cases by it, and a plan is over one division. Evaluate them in plans of their own."
            )
    if len({m.sha256 for m in models}) < len(models) or len({m.name for m in models}) < len(models):
        raise ConfigError(f"{', '.join(m.name for m in models)}: a model twice, expected each once.")
    dataset, purpose = options.dataset or first.dataset, options.purpose or first.purpose or PURPOSE
    if not dataset:
        raise ConfigError("--dataset: a package does not say on which; give the name that the sites have it under.")
    cohort = tuple(filter(None, options.cohort.split(","))) or first.cohort
    try:
        terms = PlanTerms(
            dataset=dataset, purpose=purpose, labels=first.labels, shape=first.model.shape, cohort=cohort,
            expires_days=options.days,
        )  # fmt: skip
        first_training = first.model.training
        training = first_training.model_validate(first_training.model_dump() | {"name": options.name})
    except ValidationError as error:
        raise ConfigError(f"--name, --dataset or --days: {first_fault(error)}.") from None
    return RunPlan.from_terms(terms, training, models, home.roster, ())


def _trusts(fingerprint: str | None, package: ModelPackage) -> bool:
    """Whether a publisher that is not this consortium is who it says, by its fingerprint."""
    print(f"{package.content.name} is published by '{package.content.publisher.name}':\n\n    {package.fingerprint}\n")
    return confirm_fingerprint(
        "Have you compared it with the publisher, and is it the same?", package.fingerprint, fingerprint
    )


def _evaluate(options: argparse.Namespace) -> int:
    home = Home.at(options.home)
    plan = draw_up(home, options)
    refuse_counted(home, plan.content)
    refuse_unable(home, plan.content)
    if any(model.training.budget for model in plan.content.models):
        print(
            "An evaluation counts exactly: the budget under which the models were trained does not cover it, and\n"
            "hospitals that require one (policy.privacy) will refuse."
        )
    options.act.plan, options.act.facts["digest"] = plan.name, plan.digest
    return submit(home, plan, options)


COMMANDS = {
    "evaluate": Command(EVALUATE, _arguments, _evaluate,
                        "the run goes on; follow it again with `python -m server follow`."),
}  # fmt: skip
