"""A whole simulation: every seed by itself, then one result with their means, and the files of the run's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

from client.dataset.loading import PreparedData
from client.home import Home
from common.cli.progress import Watch
from common.config import Config
from common.privacy.price_list import Schedule
from common.storage import tensorfile
from server.report import participation, report_file
from server.results import privacy_figures, result_json
from server.results.result_json import SeedResult
from simulation import Engine, without_noise
from simulation.compare import compare
from simulation.experiment import Experiment, work_of
from simulation.shared_parts import SharedParts, repetitions


def simulate(
    config: Config,
    folder: Path,
    console: Console,
    engine: Engine = "memory",
    transcripts: bool = False,
    home: Home | None = None,
    parts: SharedParts | None = None,
) -> dict[str, Any]:
    """All repetitions of a run; writes the folder's files and returns the content of result.json.

    Args:
        home: the site that somebody was let in at, for an encrypted data set.
        parts: what runs of a sweep have in common, so that it is made once.
    """
    parts, turns = parts or SharedParts(), repetitions(config)
    names = [turn.label for turn in turns]
    settings = yaml.safe_dump(config.model_dump(mode="json", exclude_none=True), sort_keys=False)
    tensorfile.write_atomically(folder / "config.yaml", settings.encode())
    outcomes: list[SeedResult] = []
    remarks: dict[str, list[int | str]] = {}
    doubts: dict[str, list[int | str]] = {}
    problems: dict[str, None] = {}
    watch: Watch | None = None
    schedule: Schedule | None = None
    for turn in turns:
        seed, data = turn.label, parts.data(config, turn, home)
        if watch is None:
            console.print(Text.assemble((config.name, "bold"), f": {data.origin}."))
            watch = Watch(_units(config, data), console)
        texts = {finding.text(): finding.doubt() for finding in data.warnings}
        for remark in dict.fromkeys((*map(str, data.problems), *texts)):
            if remark not in problems and remark not in remarks:
                console.print(Text("warning", "yellow"), f"seed {seed}: {remark}")
        problems |= dict.fromkeys(map(str, data.problems))
        for text, doubt in texts.items():
            remarks.setdefault(text, []).append(seed)
            doubts.setdefault(doubt, []).append(seed)
        into = folder / f"seed-{seed}"
        experiment = Experiment.with_model(config, turn.seed, data, into, watch, engine, transcripts)
        experiment.label, experiment.parts = turn.label, parts
        schedule = without_noise.schedule_of_experiment(experiment)
        if schedule is not None and (doubt := without_noise.doubt_of_budget(experiment, schedule)):
            console.print(Text("warning", "yellow"), f"seed {seed}: {doubt}")
            remarks.setdefault(doubt, []).append(seed)
        with watch:
            outcomes.append(compare(experiment))
    content = result_json.Remarks(
        data.origin, data.labels, tuple(problems), _of_seeds(remarks, names), _of_seeds(doubts, names)
    )
    result = result_json.as_json(config.model_dump(mode="json"), content, outcomes)
    result["participation"] = participation.of_result(result)
    if schedule is not None:
        rounds = [record for record in result["rounds"] if record["seed"] == names[0]]
        result["privacy"] = privacy_figures.of_run(schedule, rounds, "memory") | privacy_figures.cost(outcomes)
    _write(folder, result, names)
    return result


def _of_seeds(texts: Mapping[str, Sequence[int | str]], seeds: Sequence[int | str]) -> tuple[str, ...]:
    """Each text once, with the seeds whose division it is of where it is not of all."""
    return tuple(
        text if len(of) == len(seeds) else f"seed{'s' * (len(of) > 1)} {', '.join(map(str, of))}: {text}"
        for text, of in texts.items()
    )


def _units(config: Config, data: PreparedData) -> int:
    """The whole work, for the progress line: of each way of training and seed."""
    sites = [site.name for site in data.sites]
    alone = sites if "local" in config.baselines or config.personalise.mix else []
    others = [s for site in sites for s in sites if s != site] if "left_out" in config.baselines else []
    pooled_unit = ["pooled"] if "pooled" in config.baselines else []
    budget = config.budget
    budgets = set(budget.sweep) - {budget.epsilon} if budget else set()
    members = [*sites, *alone, *others, *pooled_unit, *sites * len(budgets)]
    return work_of(config, data, members) * len(repetitions(config))


def _write(folder: Path, result: dict[str, Any], seeds: Sequence[int | str]) -> None:
    """The files of the whole run; its model is the first seed's."""
    model = folder / f"seed-{seeds[0]}" / "federated.safetensors"
    tensorfile.write_atomically(folder / "model.safetensors", model.read_bytes())
    report_file.write(folder / "report.html", result)
    result_json.write(folder / "result.json", result)
