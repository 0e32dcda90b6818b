"""What is to be said of a run in plain words, from the content of result.json alone."""

import time
from collections.abc import Mapping
from typing import Any

from common import refusals
from common.metrics.noised_outcomes import LEAST_OF_RARER
from server.report import participation

FEW = 100
"""Cases of a class below this leave figures wide open."""
EXACT = (
    "The sums are exact: no noise was added (no differential privacy). A sum tells how many cases are in it and of "
    "each class; mean and variance, and how images look, can tell whether an image was in them; sums that differ by "
    "one site tell about that site; and what the finished model tells of its cases is not hidden."
)
MODELS = {
    "cnn": "a convolutional neural network", "layers": "a network described layer by layer",
    "plugin": "a plug-in's network", "svm": "a support vector machine",
}  # fmt: skip

Result = Mapping[str, Any]


def model_kind(result: Result) -> str:
    """The kind of model in words."""
    kind = result["config"]["model"]["kind"]
    return MODELS.get(kind, f"a model of kind {kind}")


def has_findings(result: Result) -> bool:
    """Whether the labels are findings, of which an image may have several, and not classes."""
    return bool(result["config"]["model"].get("multilabel"))


def is_simulated(result: Result) -> bool:
    """Whether one machine played all sites."""
    return "seeds" in result


def judging_counts(result: Result) -> dict[str, Any] | None:
    """The counts that the model is judged by: of test cases in a simulation, of the validation cases in a real run;
    None where nothing was counted, or under a budget so few that there are no figures."""
    counts = result.get("counts") or {}
    model_counts: dict[str, Any] | None = (
        counts["test"].get("federated") if "test" in counts else counts.get("validation")
    )
    return model_counts if model_counts and model_counts["n"] else None


def no_figures(result: Result) -> str:
    """Why there are none."""
    if result.get("privacy") and result.get("counts"):
        return (
            f"No figures: with the budget's noise, fewer than {LEAST_OF_RARER} validation cases are counted of the "
            "rarer class, and of so few they would be noise. Compare the model at each site with its own cases."
        )
    return "Nothing was evaluated, so nothing can be said."


def figures(result: Result) -> dict[str, Any]:
    """The federated model's figures that come first: the mean of the sites' own on test cases; of a real run those on
    the validation cases' sum, with the mean of the sites' own AUCs."""
    if is_simulated(result):
        model_figures = result["sites_mean" if result["config"]["sites"]["test_on"] == "own" else "test"]["federated"]
    else:
        counts = judging_counts(result) or {}
        within = {name: value for name, value in counts.get("within_sites", {}).items() if name != "sites"}
        model_figures = counts.get("figures", {}) | within
    return {"auc": None, "accuracy": None, "sensitivity": None, "specificity": None} | dict(model_figures)


def summary(result: Result) -> str:
    """What happened, in a sentence or two."""
    kind = model_kind(result)
    many, labels = len(trainers(result)), ", ".join(result["labels"])
    what = "to find" if has_findings(result) else "to tell apart"
    if is_simulated(result):
        return f"{many} sites trained {kind} together, {what}: {labels}. {result['origin']}."
    return (
        f"{many} sites of {result['consortium']} trained {kind} together on their own data sets "
        f"“{result['dataset']}”, {what}: {labels}. Purpose: {result['purpose']}. No image left a site."
    )


def trainers(result: Result) -> list[str]:
    """Names of the sites whose vectors are in the sums that made the model."""
    return participation.trainers(participation.of_result(result))


def without_part(result: Result) -> str:
    """Who was asked and is in no sum of the model, and why; empty where all are."""
    absences = participation.absences(participation.of_result(result))
    return f"Asked, and in no sum of the model: {', '.join(absences)}." if absences else ""


def lost_likeness(result: Result) -> str:
    """That the run was to gather how its images look and could not, and why; empty where nothing was lost."""
    if result.get("likeness") != "lost":
        return ""
    statistics = result.get("statistics") or {"refused": {}, "dropped": []}
    many = len(statistics["refused"]) + len(statistics["dropped"]) + len(statistics.get("sites", ()))
    silent = f"silent: {', '.join(statistics['dropped'])}" if statistics["dropped"] else ""
    why = "; ".join(filter(None, (refusals.sentence(statistics["refused"], many), silent)))
    return (
        "How the training images look was to be gathered and could not be"
        + (f" ({why})" if why else "")
        + ": the model gives no warning of images of another kind."
    )


def remarks(result: Result) -> list[str]:
    """What a person is to know at once of a run that has finished: its early end, who is not in it, what was lost."""
    early_end = f"It ended before its rounds: {result['ended']}." if result.get("ended") else ""
    return [text for text in (early_end, without_part(result), lost_likeness(result)) if text]


def when(result: Result) -> str:
    """From when to when a real run's rounds were; a simulation does not say."""
    ends = [r for r in result["rounds"] if "at_s" in r]
    if not ends:
        return ""
    began_at, ended_at = time.gmtime(ends[0]["at_s"] - ends[0]["seconds"]), time.gmtime(ends[-1]["at_s"])
    first, last = (time.strftime("%Y-%m-%d %H:%M", moment) for moment in (began_at, ended_at))
    if first == last:
        return f"{first} UTC"
    return f"{first} to {last.removeprefix(first[:11])} UTC"


def limits(result: Result) -> list[str]:
    """What the model is not good for, and what to doubt; first what was found in the data."""
    texts = [f"{doubt[:1].upper()}{doubt[1:]}." for doubt in result.get("doubts", ())]
    texts.append("It is research software, not a medical device: no decision about a patient may rest on it.")
    texts += _of_the_data(result) if is_simulated(result) else _of_a_real_run(result)
    texts += _small_numbers(result)
    labels = ", ".join(result["labels"])
    only = f"It knows these answers alone: {labels}. Whatever else an image shows gets one of them."
    if has_findings(result):
        only = f"It looks for these findings alone: {labels}. Of whatever else an image shows it says nothing."
    texts.append(
        f"{only} Of images unlike those that it was trained on (another device, view, age, part of the body) nothing "
        "is known."
    )
    model = result["config"]["model"]
    if model["kind"] == "svm" and model.get("loss") != "logistic":
        texts.append(
            "Its scores are distances from a boundary, not probabilities: read its calibration with that in mind."
        )
    texts += [loss] if (loss := lost_likeness(result)) else []
    return texts + _left_behind(result) + _hardly_there(result)


def _of_the_data(result: Result) -> list[str]:
    config = result["config"]
    if config["data"]["kind"] == "synthetic":
        return ["The images are synthetic: this program drew them. The figures say nothing of how it does on patients."]
    texts = ["This was a simulation: one machine played all sites."]
    if config["sites"]["split"] != "natural":
        texts.append(
            "The sites are simulated: one data set, of a single source, was divided among them. Real hospitals differ "
            "more (devices, patients, habits), and a model does worse at a hospital that it has not seen."
        )
    return texts


def _of_a_real_run(result: Result) -> list[str]:
    flatter = (
        "The figures are on validation cases, which also chose the best round and the operating point: they flatter "
        "the model. It was not tested on cases held apart."
    )
    return [
        flatter if judging_counts(result) else no_figures(result),
        "How it does at each single site is not known here, since only sums leave the sites: at some site, or for some "
        "group of patients, it may do much worse. Test it on your own cases before any use.",
        "What the sites' own checks found in their images (people who are not known, near-duplicates, few cases of a "
        "class) stays at the sites, and is not known here.",
    ]


def _small_numbers(result: Result) -> list[str]:
    if (counts := judging_counts(result)) is None or min(counts["by_class"]) >= FEW:
        return []
    parts = ", ".join(f"{n} of {name}" for name, n in zip(result["labels"], counts["by_class"], strict=True))
    return [f"Small numbers: the figures stand on {counts['n']} cases ({parts}). Read the intervals, not the figures."]


def _left_behind(result: Result) -> list[str]:
    """Sites that do better alone."""
    if not is_simulated(result) or "local" not in result["test"]:
        return []
    names = [
        name
        for name, site in result["sites"].items()
        if None not in (own_auc := site["local"]["auc"], site["federated"]["auc"])
        and own_auc > site["federated"]["auc"]
    ]
    return (
        [f"Not better for everybody: the site's own model has the higher AUC at {', '.join(names)}."] if names else []
    )


def _hardly_there(result: Result) -> list[str]:
    """Sites from whose answers the model can have learned little."""
    rounds = [r for r in result["rounds"] if not r["void"]]
    absences = {s: sum(s in r["dropped"] or s in r.get("refused", {}) for r in rounds) for s in trainers(result)}
    absent = [site for site, many in absences.items() if many * 2 > len(rounds)]
    hardly = "Silent or refusing in more than half of the rounds, so hardly in the model"
    texts = [f"{hardly}: {', '.join(absent)}."] if absent else []
    return texts + ([away] if (away := without_part(result)) else [])


def best_round(result: Result) -> int:
    """The round whose model was kept, from 0; of several seeds the first's."""
    return int(result["seeds"][0]["best_round"] if is_simulated(result) else result["best_round"])


def operating_point(result: Result) -> str:
    """What it is and how it was chosen."""
    if has_findings(result):
        return (
            "The operating point of each finding, the score from which it is said to be there, was chosen on the "
            f"validation cases that know it: {aim(result['config']['operating_point'])}."
        )
    if len(result["labels"]) > 2:
        return "The class of the largest score is the answer."
    return (
        f"The operating point, the score from which a case is called {result['labels'][1]}, was chosen on validation "
        f"cases: {aim(result['config']['operating_point'])}."
    )


def aim(rule: str | float) -> str:
    """What `operating_point` of a configuration asks for."""
    ways = {"youden": "greatest sum of sensitivity and specificity (Youden's index)", "accuracy": "greatest accuracy"}
    return ways[rule] if isinstance(rule, str) else f"sensitivity of {rule:g} at least"


def choice_of_model(result: Result) -> str:
    """Which round's model it is, and why that one."""
    best = best_round(result)
    select = result["config"]["federation"]["select"]
    why = "the last one trained" if select == "last" else f"the best by {select} on validation cases"
    early_end = f" The run ended before its rounds: {result['ended']}." if result.get("ended") else ""
    return f"Kept was the model of round {best + 1}, {why}.{_choice_of_strength(result, best)}{early_end}"


def _choice_of_strength(result: Result, best: int) -> str:
    """Of several C, which one was kept; and that nothing chose, where validation could not."""
    figures = next((r["validation"] for r in result["rounds"] if r["round"] == best and r["validation"].get("C")), None)
    if figures is None:
        return ""
    candidates = ", ".join(f"{C:g}" for C in result["config"]["model"]["C"])
    if figures["auc"] is None:
        return (
            f" WARNING: a class has no validation case, so nothing could choose among the C ({candidates}): kept was "
            f"the last, {figures['C']:g}, the weakest reached. Name one C, or give validation cases of each class."
        )
    return f" Of the C {candidates} it is that of {figures['C']:g}."


def privacy(result: Result) -> list[str]:
    """What the coordinator saw, and what hid the rest."""
    secure = result["secure_aggregation"]
    if not secure["on"]:
        return [
            *promise(result),
            "Secure aggregation was OFF: the coordinator saw what each site sent, in the clear. Images were not sent.",
        ]
    return [
        *promise(result),
        "Images and single cases never left a site; vectors to be added did.",
        f"Secure aggregation was on: every vector was masked, and the coordinator saw sums over at least "
        f"{secure['least_in_a_sum']} of {secure['sites']} sites, and no site's own numbers.",
        _auditors(secure.get("auditors")),
        *([] if result.get("privacy") else [EXACT]),
    ]


def promise(result: Result) -> list[str]:
    """What bounds what the run tells about one patient; first of all where its author chose that nothing is."""
    if budget_figures := result.get("privacy"):
        return [*budget(budget_figures), price(budget_figures)]
    if result["config"].get("privacy") == "none":
        return ["No bound is given on what this run tells about one patient: its author chose privacy: none."]
    return []


def budget(figures: Mapping[str, Any]) -> list[str]:
    """The budget of privacy: for whom, against whom, how, and what was spent."""
    epsilon, delta, costs = figures["epsilon"], figures["delta"], figures["spent"]
    whom = (
        "patient: all images of one at one hospital"
        if figures["of"] == "patient"
        else "image (of a patient with several images, more)"
    )
    account = {
        "memory": "The sites of this simulation kept their accounts in memory: they end with it.",
        "sites": "Every site wrote each answer down in its ledger before it left.",
    }
    return [
        f"Differential privacy: ε {epsilon:g} at δ {delta:g} for every {whom}, against {figures['against']}. A patient "
        "in two hospitals counts in each.",
        f"By {figures['mechanism']}: {len(figures['questions'])} questions, each answered once.",
        f"Spent: ε {costs['training']:.3g} of training patients, {costs['validation']:.3g} of validation patients (an "
        f"account of their own). {account[figures['account']]}",
    ]


def price(figures: Mapping[str, Any]) -> str:
    """What the budget cost in AUC, where a simulation could tell."""
    with_noise, without = figures.get("auc"), figures.get("auc_without_noise")
    if with_noise is None or without is None:
        return "What the noise cost in AUC is not known here: only a simulation can ask the same without it."
    return f"It cost {without - with_noise:.3f} of AUC on test cases: {with_noise:.3f}, without noise {without:.3f}."


def _auditors(many: int | None) -> str:
    if many is None:
        return (
            "Every site recomputed each model from the sums before it answered for it; so every site, too, has seen "
            "every sum."
        )
    if not many:
        return "No site audited the run: none recomputed the models from the sums."
    return f"{many} of the sites audited: they recomputed every model from the sums."
