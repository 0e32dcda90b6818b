"""What the record of a run says, fact by fact, each with the file and the keys that it is read from.

A fact that nobody recorded is None, and the dossier says so; nothing here is taken from anywhere but the run's folder.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter

from common.imaging.step_order import Steps
from server.export import recorded_figures
from server.export.recorded_fact import RecordedFact, fact_of, in_words
from server.report import sentences
from server.report.sentences import Result

Reader = Callable[[Result], RecordedFact | None]


def facts_of(result: Result) -> dict[str, RecordedFact]:
    """All that a result.json has, by the names of `checklists.csv`."""
    facts = {name: reader(result) for name, reader in READERS.items()}
    return {name: fact for name, fact in facts.items() if fact is not None and fact.text}


def _sites(result: Result) -> RecordedFact | None:
    """Who is in the model; a site that gave nothing is named as such, and not counted."""
    trainers = sentences.trainers(result)
    text = f"{len(trainers)} sites trained: {', '.join(trainers)}." if trainers else "No site is in the model."
    return fact_of("participation", f"{text} {sentences.without_part(result)}".strip())


def _privacy(result: Result) -> RecordedFact | None:
    keys = "secure_aggregation" + (", privacy" if "privacy" in result else "")
    return fact_of(keys, "\n".join(sentences.privacy(result)))


def _partition(result: Result) -> RecordedFact | None:
    sites = result["config"].get("sites")
    return fact_of("config.sites", in_words(sites)) if sites else None


def _preprocessing(result: Result) -> RecordedFact | None:
    steps = TypeAdapter[Any](Steps).validate_python(result["config"]["preprocess"])
    return fact_of("config.preprocess", "; ".join(step.label() for step in steps))


def _missing(result: Result) -> RecordedFact | None:
    if "problems" not in result:
        return None
    rule = result["config"]["data"].get("on_error")
    keys, way = ("problems, config.data.on_error", f" (on_error: {rule})") if rule else ("problems", "")
    return fact_of(keys, f"{len(result['problems'])} cases left out{way}.")


def _rounds(result: Result) -> RecordedFact | None:
    cost = result["cost"]
    text = f"{cost['rounds']} rounds, {cost['void']} of them void, {cost['seconds']:.0f} s"
    text += f", {cost['bytes_up'] + cost['bytes_down']:.1e} bytes. {sentences.when(result)}"
    return fact_of("cost", text.strip())


def _selection(result: Result) -> RecordedFact | None:
    figure, round_kept = result["config"]["federation"]["select"], sentences.best_round(result) + 1
    how = "the last" if figure == "last" else f"chosen by validation {figure} of all sites together"
    is_simulated = sentences.is_simulated(result)
    return fact_of(
        f"config.federation.select, {'seeds' if is_simulated else 'best_round'}", f"Round {round_kept} was kept, {how}."
    )


def _encoder(result: Result) -> RecordedFact | None:
    steps = [step for step in result["config"]["preprocess"] if step["step"] == "embed"]
    return fact_of("config.preprocess", "; ".join(f"encoder {s['encoder']}, SHA-256 {s['sha256']}" for s in steps))


def _plugins(result: Result) -> RecordedFact | None:
    config = result["config"]
    trees = [config["model"], config["federation"], *config["preprocess"]]
    parts = [*filter(None, (tree.get("part") for tree in trees)), *config.get("metrics", ())]
    texts = dict.fromkeys(f"{part['plugin']} {part['version']}, SHA-256 {part['sha256']}" for part in parts)
    return fact_of("config", "; ".join(texts))


def _beginning(result: Result) -> RecordedFact | None:
    config = result["config"]
    if config.get("initial"):
        return fact_of("config.initial", f"From the weights of package {config['initial']}.")
    return fact_of("config.seeds", f"Drawn from seed {', '.join(map(str, config['seeds']))}.")


def _shape(result: Result) -> RecordedFact | None:
    plan = result["config"].get("plan")
    text = f"Images of {'×'.join(map(str, plan['shape']))} after preprocessing." if plan else ""
    return fact_of("config.plan.shape", text)


def _plan(result: Result) -> RecordedFact | None:
    if "plan" not in result:
        return None
    text = f"Plan {result['plan']} of {result['consortium']}, signed by its roots."
    return RecordedFact(text, "plan.json; result.json: plan")


def _origin(result: Result) -> RecordedFact | None:
    if sentences.is_simulated(result):
        return fact_of("origin", f"{result['origin']}.")
    return fact_of("dataset", f"Each site's own data set “{result['dataset']}”.")


def _operating_point(result: Result) -> RecordedFact | None:
    keys = "config.operating_point" if sentences.is_simulated(result) else "config.operating_point, threshold"
    return fact_of(keys, sentences.operating_point(result))


def _beside(result: Result) -> RecordedFact | None:
    if not sentences.is_simulated(result):
        return None
    ways = ", ".join(way for way in result["test"] if way != "federated")
    return fact_of("test", f"Beside it were trained: {ways}." if ways else "")


def _configuration(result: Result) -> RecordedFact | None:
    text = "All settings, with every default filled in."
    return RecordedFact(text, "config.yaml" if sentences.is_simulated(result) else "plan.json")


def _weights(result: Result) -> RecordedFact | None:
    is_simulated = sentences.is_simulated(result)
    sha256 = result["seeds"][0]["weights_sha256"] if is_simulated else result["weights_sha256"]
    source = f"model.safetensors; result.json: {'seeds' if is_simulated else 'weights_sha256'}"
    return RecordedFact(f"Weights with SHA-256 {sha256}.", source)


def _data_settings(result: Result) -> RecordedFact | None:
    """Without where the images lie on somebody's disk."""
    data = result["config"].get("data") or {}
    places = {"path", "home", "cache", "cache_gb", "in_memory_mb", "download"}
    return fact_of("config.data", in_words({key: value for key, value in data.items() if key not in places}))


READERS: Mapping[str, Reader] = {
    "name": lambda r: fact_of("name", r["name"]),
    "kind": lambda r: fact_of("config.model.kind", f"By federated learning: {sentences.model_kind(r)}."),
    "release": lambda r: fact_of("release, code", f"Consilium {r['release']}, code {r['code']}."),
    "purpose": lambda r: fact_of("purpose", r.get("purpose", "")),
    "origin": _origin,
    "labels": lambda r: fact_of("labels", f"Its answers: {', '.join(r['labels'])}."),
    "sites": _sites,
    "cases": recorded_figures.cases,
    "by_class": recorded_figures.by_class,
    "test_cases": recorded_figures.judged_cases,
    "data_settings": _data_settings,
    "preprocessing": _preprocessing,
    "missing": _missing,
    "partition": _partition,
    "model": lambda r: fact_of("config.model", in_words(r["config"]["model"])),
    "training": lambda r: fact_of("config.federation", in_words(r["config"]["federation"])),
    "augmentation": lambda r: fact_of("config.augment", in_words(r["config"].get("augment") or {})),
    "rounds": _rounds,
    "beginning": _beginning,
    "selection": _selection,
    "operating_point": _operating_point,
    "measures": recorded_figures.measures,
    "uncertainty": recorded_figures.uncertainty,
    "compared": _beside,
    "external": recorded_figures.external,
    "figures": recorded_figures.figures,
    "site_figures": recorded_figures.site_figures,
    "confusion": recorded_figures.confusion,
    "balance": lambda r: fact_of("config.model.class_weight", str(r["config"]["model"].get("class_weight") or "")),
    "privacy": _privacy,
    "doubts": lambda r: fact_of("config, counts", "\n".join(sentences.limits(r))),
    "versions": lambda r: fact_of("versions", in_words(r["versions"])),
    "weights": _weights,
    "encoder": _encoder,
    "plugins": _plugins,
    "shape": _shape,
    "plan": _plan,
    "configuration": _configuration,
    "sbom": lambda r: RecordedFact("Every distribution that is installed where this was written.", "sbom.cdx.json"),
}
"""By the names that `checklists.csv` has."""
