"""Simulate a federation on one machine, and compare what each site reaches alone, together, and by pooling the images.

    python simulate.py configs/demo.yaml
    python simulate.py configs/pneumonia.yaml --out runs/mine seeds=[1] federation.rounds=10

For every seed: the cases fall to the sites, the sites train together (server/rounds/loop.py drives,
client/training/site.py answers), then each alone and all images pooled, by the same loop with a single member. Every
stage is written to disk after each round, so `--resume` goes on wherever a run was interrupted.
"""

import argparse
import hashlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml
from rich.console import Console
from rich.text import Text

from client.dataset import loading
from client.dataset.loading import Dataset
from client.training.auditing_site import Auditing
from client.training.personalise import Mix, choose_mix, fine_tune
from client.training.secure_site import Secured, machine
from client.training.site import Site
from common import config as configuration
from common.algorithms.course import Course, for_one
from common.cli import terminal
from common.cli.command import exit_status
from common.cli.progress import Watch
from common.config import Config, Local
from common.messages.answer_layout import exchanges
from common.messages.transport import Answer, InMemory, Misfortunes, Transport
from common.metrics import performance
from common.metrics.performance import Score
from common.models import Logits, Model, Work, build
from common.storage import tensorfile
from common.storage.run_folder import run_folder
from common.trust.enrolment import Consortium, Enrolment, made_up
from common.types import Cases, SiteCases, Tensors, join
from server import report
from server.results import outcome_counts, result_json
from server.results.result_json import SeedResult
from server.rounds import checkpoint, loop
from server.rounds.aggregation import Aggregator, PlainSum
from server.rounds.loop import RoundRecord
from server.rounds.secure_sum import SecureSum, make_secure
from server.rounds.transcripts import Transcripts

log = logging.getLogger("consilium")
Engine = Literal["memory", "flower"]
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Trained:
    """A model as the outcome of one way of training."""

    weights: Tensors
    recipe: Tensors
    """The mean and variance that its preprocessing uses."""
    threshold: float | None
    records: tuple[RoundRecord, ...]
    best_round: int
    counts: Tensors
    """Summed outcomes on its members' validation cases."""
    likeness: Tensors = field(default_factory=dict)
    """How the training images look, where the run gathers it."""


@dataclass(frozen=True)
class Personal:
    """What one site makes of the federated model for itself."""

    own: Trained
    common: Trained
    mix: Mix
    threshold: float | None


@dataclass
class Experiment:
    """One seed of a run: its data, its model, and where it writes."""

    config: Config
    seed: int
    data: Dataset
    model: Model
    folder: Path
    watch: Watch
    engine: Engine = "memory"
    """What carries the federation's messages; the bits are the same."""
    transcripts: bool = False
    """Keep every round's messages, for an audit."""

    @property
    def workers(self) -> int:
        """How many sites train at the same time: the CNN's graphs run on one core each, the SVM's algebra on all."""
        return 1 if self.config.model.kind == "svm" else os.cpu_count() or 1

    def site(self, cases: SiteCases, local: Local | None = None) -> Site:
        """The site that answers for these cases."""
        return Site(cases, self.data.pipeline, self.model, local or self.config.federation.local)

    def consortium(self) -> tuple[Consortium | None, dict[str, Enrolment]]:
        """Keys for this run, made up in memory; none where secure aggregation is switched off."""
        if not self.config.federation.secure:
            return None, {}
        return made_up([s.name for s in self.data.sites], self.config.federation, bytes.fromhex(self.digest()))

    def answer(self, cases: SiteCases, enrolment: Enrolment | None) -> Answer:
        """What answers for these cases: masked, or in the clear without an enrolment."""
        site = self.site(cases)
        if enrolment is None:
            return site.answer
        layouts = partial(exchanges, self.config, self.model, cases.train.images.shape[1:], len(self.data.labels))
        secured = Secured(site, layouts, machine(enrolment))
        if not enrolment.audit:
            return secured.answer
        return Auditing(secured, partial(Course.of, self.config, self.model, self.seed)).answer

    def aggregator(self, transport: Transport, consortium: Consortium | None) -> Aggregator:
        """What makes sums of the sites' answers."""
        if consortium is None:
            return PlainSum(transport)
        about = self.data.sites[0].train.images.shape[1:], len(self.data.labels)
        digest = bytes.fromhex(self.config.digest())
        secure = make_secure(self.config, self.model, about, transport, consortium, digest)
        if not self.transcripts and not self.config.federation.simulate.auditors:
            return secure
        return replace(secure, transcripts=Transcripts(self.folder / "transcripts", for_good=self.transcripts))

    def digest(self) -> str:
        """Of configuration and data: a checkpoint of anything else is refused."""
        told = self.config.model_dump(mode="json", exclude={"seeds": True, "data": {"path", "cache", "home"}})
        sha = hashlib.sha256(repr((told, self.seed)).encode())
        for cases in [part for s in self.data.sites for part in (s.train, s.validation, s.test)]:
            sha.update(np.ascontiguousarray(cases.images).data)
            sha.update(np.ascontiguousarray(cases.labels).data)
        return sha.hexdigest()


# --- training -------------------------------------------------------------------------------------------------------


def train_together(experiment: Experiment) -> Trained:
    """All sites, by the federation's plan, over the chosen engine."""
    config, seed, sites = experiment.config, experiment.seed, experiment.data.sites
    misfortunes = Misfortunes(config.federation.simulate.drop, config.federation.simulate.slow, seed)
    consortium, enrolled = experiment.consortium()

    def drive(transport: Transport) -> Trained:
        return train(experiment, "federated", config, experiment.aggregator(transport, consortium))

    if experiment.engine == "memory":
        answers = {s.name: experiment.answer(s, enrolled.get(s.name)) for s in sites}
        return drive(InMemory(answers, workers=experiment.workers, misfortunes=misfortunes))
    from client import app as site_edge  # Flower takes a second to import
    from server import app_simulated

    cores = (os.cpu_count() or 1) // experiment.workers
    engine = app_simulated.Engine(len(sites), config.federation.timeout_s, cores, misfortunes)
    return app_simulated.simulate(site_edge.simulated(config, seed, enrolled), engine, drive)


def train_alone(experiment: Experiment, name: str, cases: SiteCases) -> Trained:
    """One member by itself: a site, or all images pooled, by the same recipe.

    The CNN runs the same loop with a single site. The SVM is solved by scikit-learn's LinearSVC, which the federated
    solver must equal.
    """
    if experiment.config.model.kind == "svm":
        return solve_alone(experiment, name, cases)
    config = for_one(experiment.config)
    alone = InMemory({cases.name: experiment.site(cases, config.federation.local).answer})
    return train(experiment, name, config, PlainSum(alone))  # one member in its own process: nothing leaves


def train_baselines(experiment: Experiment) -> tuple[Trained | None, dict[str, Trained]]:
    """What federated training is compared with: all images pooled, and each site alone; one a core at a time."""
    config, sites = experiment.config, experiment.data.sites
    members = [("pooled", pool(sites))] if "pooled" in config.baselines else []
    if "local" in config.baselines or config.personalise.mix:
        members += [(f"local-{s.name}", s) for s in sites]
    with ThreadPoolExecutor(experiment.workers) as threads:
        jobs = {name: threads.submit(train_alone, experiment, name, cases) for name, cases in members}
        try:
            trained = {name: job.result() for name, job in jobs.items()}
        except BaseException:
            experiment.watch.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return trained.pop("pooled", None), {name.removeprefix("local-"): t for name, t in trained.items()}


def train(experiment: Experiment, name: str, config: Config, aggregator: Aggregator) -> Trained:
    """All rounds of one run, with a checkpoint after each; goes on from the checkpoint there is."""
    path, transport = experiment.folder / f"{name}.checkpoint", aggregator.transport
    course, digest = Course.of(config, experiment.model, experiment.seed, transport.sites()), experiment.digest()
    found = checkpoint.load(path, transport.sites(), digest)
    if (
        isinstance(aggregator, SecureSum) and aggregator.transcripts
    ):  # the sites are as the checkpoint has them, and so is this
        aggregator.transcripts.discard(since=found[0].place.number if found else 0)
    if found:
        standing = found[0]
        transport.states.update(found[1])
    else:
        standing = loop.begin(course, aggregator)
    units = training_cases(experiment, transport.sites()) / config.federation.rounds
    experiment.watch.skip(units * standing.round)
    for standing in loop.run(course, aggregator, standing):  # noqa: B020 each goes on from the last
        checkpoint.save(path, standing, transport.states, digest)
        record = standing.records[-1]
        log.info("seed %d %s %s", experiment.seed, name, asdict(record))
        first = bool(record.validation) and not any(r.validation for r in standing.records[:-1])
        experiment.watch.advance(units, describe(name, record, config.federation.rounds), milestone=first)
    experiment.watch.skip(units * (config.federation.rounds - standing.round))  # stopped early
    threshold = performance.operating_point(standing.best_counts, config.operating_point)
    return Trained(standing.best, standing.recipe, threshold, standing.records, standing.best_round,
                   standing.best_counts, standing.place.likeness)  # fmt: skip


def solve_alone(experiment: Experiment, name: str, cases: SiteCases) -> Trained:
    """The SVM of one member: the exact optimum on its own cases."""
    site = experiment.site(cases)
    transport = InMemory({cases.name: site.answer})
    course = Course.of(experiment.config, experiment.model, experiment.seed, transport.sites())
    recipe = loop.begin(course, PlainSum(transport)).recipe
    work = Work(experiment.config.federation.local, 0.0, experiment.seed)
    weights = experiment.model.fit({}, site.ready("train", recipe), work).weights
    validation = site.ready("validation", recipe)
    counted = performance.count(experiment.model.scores(weights, validation.images), validation.labels)
    experiment.watch.advance(training_cases(experiment, (cases.name,)), name)
    return Trained(
        weights, recipe, performance.operating_point(counted, experiment.config.operating_point), (), -1, counted
    )


# --- comparing ------------------------------------------------------------------------------------------------------


def compare(experiment: Experiment) -> SeedResult:
    """Train in every way that the configuration asks for, and score everything on the test cases."""
    config, data = experiment.config, experiment.data
    federated = train_together(experiment)
    save_model(experiment, "federated", federated)
    pooled, local = train_baselines(experiment)
    personal = {s.name: personalise(experiment, s, local.get(s.name), federated) for s in data.sites}

    def scores(cases: Cases, members: Sequence[str]) -> dict[str, list[Score]]:
        by = {"federated": [score(experiment, federated, cases)]}
        if "local" in config.baselines:
            by["local"] = [score(experiment, local[name], cases) for name in members]
        by["personalised"] = [score_personal(experiment, personal[name], cases) for name in members]
        if pooled:
            by["pooled"] = [score(experiment, pooled, cases)]
        return by

    sites = {s.name: {a: by[0] for a, by in scores(s.test, [s.name]).items()} for s in data.sites}
    test = scores(data.test, [s.name for s in data.sites])
    alone = {f"local/{name}": t for name, t in local.items()} | ({"pooled": pooled} if pooled else {})
    common = {"federated": federated} | ({"pooled": pooled} if pooled else {})
    models = {"federated": federated} | alone
    return SeedResult(
        seed=experiment.seed,
        sites=sites,
        test=test,
        by_class={
            s.name: {p: np.bincount(getattr(s, p).labels, minlength=len(data.labels)).tolist() for p in PARTS}
            for s in data.sites
        },
        counts={
            "validation": outcome_counts.of_sum(federated.counts, federated.threshold),
            "test": {a: outcomes(experiment, t, data.test) for a, t in common.items()},
        },
        mix={name: p.mix.own_share for name, p in personal.items()},
        rounds=[asdict(r) for r in federated.records],
        curves={name: [asdict(r) for r in t.records] for name, t in alone.items()},
        best_round=federated.best_round,
        weights_sha256=hashlib.sha256(tensorfile.pack(federated.weights, {})).hexdigest(),
        cross_site=cross(experiment, models) if config.cross_site else None,
        operating_points={name: trained.threshold for name, trained in models.items()},
    )


def cross(experiment: Experiment, models: Mapping[str, Trained]) -> dict[str, dict[str, Tensors]]:
    """Every model's outcomes on every site's validation cases, as counts."""
    return {
        name: {s.name: performance.count(logits(experiment, trained, s.validation), s.validation.labels)
               for s in experiment.data.sites}
        for name, trained in models.items()
    }  # fmt: skip


def logits(experiment: Experiment, trained: Trained, cases: Cases) -> Logits:
    """A trained model's logits on cases as they are before the federated normalisation."""
    pipeline, recipe = experiment.data.pipeline, trained.recipe
    resolved = pipeline.resolved(recipe["mean"], recipe["variance"]) if recipe else pipeline
    return experiment.model.scores(trained.weights, resolved.after(cases.images))


def score(experiment: Experiment, trained: Trained, cases: Cases) -> Score:
    """A trained model's figures on test cases, at the operating point chosen on its validation counts."""
    return performance.score(logits(experiment, trained, cases), cases.labels, trained.threshold)


def outcomes(experiment: Experiment, trained: Trained, cases: Cases) -> dict[str, Any]:
    """A trained model's outcomes on test cases, as counts."""
    return outcome_counts.of_cases(logits(experiment, trained, cases), cases.labels, trained.threshold)


def personalise(experiment: Experiment, cases: SiteCases, own: Trained | None, federated: Trained) -> Personal:
    """What one site makes of the federated model: fine-tuned, mixed with its own, as far as the configuration asks."""
    common = tune(experiment, cases, federated)
    own = own or common
    labels = cases.validation.labels
    alone, together = (logits(experiment, model, cases.validation) for model in (own, common))
    mix = choose_mix(alone, together, labels) if experiment.config.personalise.mix else Mix(0.0)
    if not mix.own_share and common is federated:
        return Personal(own, common, mix, federated.threshold)
    counted = performance.count(mix(alone, together), labels)
    return Personal(own, common, mix, performance.operating_point(counted, experiment.config.operating_point))


def score_personal(experiment: Experiment, personal: Personal, cases: Cases) -> Score:
    """A personalised model's figures on test cases."""
    pair = [logits(experiment, model, cases) for model in (personal.own, personal.common)]
    return performance.score(personal.mix(*pair), cases.labels, personal.threshold)


def tune(experiment: Experiment, cases: SiteCases, federated: Trained) -> Trained:
    """The federated model, fine-tuned at one site where the configuration asks for it."""
    plan, local = experiment.config.personalise, experiment.config.federation.local
    if not plan.fine_tune_epochs or experiment.config.model.kind == "svm":
        return federated
    site = experiment.site(cases)
    train, validation = (site.ready(part, federated.recipe) for part in ("train", "validation"))
    weights = fine_tune(experiment.model, federated.weights, train, validation, plan, local, experiment.seed)
    return replace(federated, weights=weights)


def pool(sites: Sequence[SiteCases]) -> SiteCases:
    """All sites' cases in one place, which only a simulation can have."""
    return SiteCases("pooled", *(join([getattr(s, part) for s in sites]) for part in PARTS))


# --- writing and showing --------------------------------------------------------------------------------------------


def save_model(experiment: Experiment, name: str, trained: Trained) -> None:
    """Write a model with what is needed to use it: labels, recipe, operating point."""
    about = {
        "model": experiment.config.model_for(experiment.seed).model_dump_json(),
        "preprocess": experiment.data.pipeline.fingerprint(),
        "labels": "\n".join(experiment.data.labels),
        "shape": "×".join(map(str, experiment.data.sites[0].train.images.shape[1:])),
        "threshold": repr(trained.threshold),
        "origin": experiment.data.origin,
    }
    path = experiment.folder / f"{name}.safetensors"
    result_json.save_model(path, trained.weights, trained.recipe, trained.likeness, trained.counts, about)


def training_cases(experiment: Experiment, members: Sequence[str]) -> int:
    """Training cases of these members, the measure of how long their rounds take."""
    sizes = {s.name: len(s.train) for s in experiment.data.sites}
    return sum(sizes.get(name, sum(sizes.values())) for name in members)


def describe(name: str, record: RoundRecord, rounds: int) -> str:
    """One line on a round."""
    text = f"{name}: round {record.round + 1} of {rounds}"
    if record.void:
        return f"{text}, void ({len(record.dropped)} silent)"
    if (auc := record.validation.get("auc")) is not None:
        text += f", validation AUC {auc:.3f}"
    return text + (f", {len(record.dropped)} silent" if record.dropped else "")


def simulate(
    config: Config, folder: Path, console: Console, engine: Engine = "memory", transcripts: bool = False
) -> dict[str, Any]:
    """All seeds of a run; writes the folder's files and returns the content of result.json."""
    written = yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False)
    tensorfile.write_atomically(folder / "config.yaml", written.encode())
    outcomes: list[SeedResult] = []
    problems: dict[str, None] = {}
    warnings: dict[str, None] = {}
    ways = 1 + len(config.baselines) + (config.personalise.mix and "local" not in config.baselines)
    watch: Watch | None = None
    for seed in config.seeds:
        data = loading.load(config, seed)
        if watch is None:
            console.print(Text.assemble((config.name, "bold"), f": {data.origin}."))
            everyone = sum(len(s.train) for s in data.sites)
            watch = Watch(everyone * ways * len(config.seeds), console)
        for remark in dict.fromkeys(map(str, (*data.problems, *data.warnings))):
            if remark not in problems:
                console.print(Text("warning", "yellow"), f"seed {seed}: {remark}")
        problems |= dict.fromkeys(map(str, data.problems))
        warnings |= dict.fromkeys(f"seed {seed}: {w}" for w in data.warnings)
        shape = data.sites[0].train.images.shape[1:]
        model = build(config.model_for(seed), shape, len(data.labels), config.augment)
        with watch:
            experiment = Experiment(config, seed, data, model, folder / f"seed-{seed}", watch, engine, transcripts)
            outcomes.append(compare(experiment))
    remarks = result_json.Remarks(data.origin, data.labels, tuple(problems), tuple(warnings))
    result = result_json.as_json(config.model_dump(mode="json"), remarks, outcomes)
    first = folder / f"seed-{config.seeds[0]}" / "federated.safetensors"
    tensorfile.write_atomically(folder / "model.safetensors", first.read_bytes())
    report.write(folder / "report.html", result)
    result_json.write(folder / "result.json", result)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit status 0, 2 for an error that the user can mend, 130 when interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG", help="a YAML file; see configs/ and docs/configuration.md")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="laid over the file, e.g. federation.rounds=5"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument(
        "--engine", choices=get_args(Engine), default="memory",
        help="what carries the messages of the federation: this process, or Flower's simulation engine (needs ray)",
    )  # fmt: skip
    parser.add_argument(
        "--transcripts", action="store_true", help="keep the messages of every secure sum, for common.secagg.audit"
    )
    options = parser.parse_intermixed_args(arguments)
    return exit_status(lambda: run(options), "the same command with --resume goes on from the last round.")


def run(options: argparse.Namespace) -> int:
    """Simulate as the command line says, and show what came out."""
    console = terminal.console()
    config = configuration.load(options.config, options.overrides)
    with run_folder(options.out, config.name, options.resume) as folder:
        handler = logging.FileHandler(folder / "log.txt")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        result = simulate(config, folder, console, options.engine, options.transcripts)
        result_json.show(result, console)
        from common.cli import curves_picture

        curves_picture.curves(result, folder / "curves.png")
        console.print(
            f"Written to {folder}: report.html, result.json, curves.png, model.safetensors, log.txt", highlight=False
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
