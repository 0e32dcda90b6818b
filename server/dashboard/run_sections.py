"""What the live page shows of one run: where it stands, its curves, who took part."""

from xml.etree.ElementTree import Element

from common.cli.progress import duration
from common.plans import plan_page
from common.web.markup import Child, el, figure
from server.dashboard.consortium_view import STAGES, ConsortiumView, Marks, has_report
from server.report import charts, rounds_table
from server.report.provenance import presence
from server.runs.run import Run
from server.runs.status import describe_refusals, describe_run, describe_waiting, typical_round_s


def summary(view: ConsortiumView) -> Marks:
    """Its name, stage, how far it is, what it waits for, its figures, its plan."""
    if view.run is None:
        return [el("h1", "No run yet"), el("p", "A plan that is signed and submitted shows here: ",
                                           el("code", "python -m server run PLAN"), class_="lead")]  # fmt: skip
    rounds_done, total = len(view.rounds), view.total
    badge = el("span", STAGES[view.stage], class_=f"badge {view.stage}")
    heading: Marks = [el("p", badge, class_="kind"), el("h1", view.run.name)]
    if view.stage == "running":
        bar = el("progress", value=str(rounds_done), max=str(total), aria_label="How far it is")
        what = "models" if view.run.plan.content.models else "rounds"
        heading.append(el("div", bar, el("p", el("b", f"{rounds_done} of {total} {what}"), _rest(view)), class_="way"))
    return [
        *heading,
        el("p", *_sentence(view.run, view.stage, view.best_round), class_=f"lead {view.stage}"),
        _tiles(view),
        _plan(view.run),
    ]


def _plan(run: Run) -> Element:
    """What the sites were asked to decide on, word for word."""
    files = el(
        "p", "Files of this run: ", el("code", f"runs/{run.name}"), " in the coordinator's folder.", class_="soft"
    )
    return el("details", el("summary", "The plan, as sites decide on it"), el("pre", plan_page.page(run.plan)), files)


def _sentence(run: Run, stage: str, best_round: int | None) -> Marks:
    """What there is to say of it beside its name and stage."""
    if stage == "running":
        return [describe_refusals(run), describe_waiting(run) or "Nobody is waited for."]
    if stage == "waiting":
        return [describe_run(run)]
    best = "" if best_round is None else f"The model kept is that of round {best_round + 1}. "
    report = el("a", "Read the report", href=f"/runs/{run.name}/report.html") if has_report(run.folder) else None
    return [run.state.why, best, report]


def _rest(view: ConsortiumView) -> str:
    rest_s = typical_round_s(view.rounds) * (view.total - len(view.rounds))
    return f", about {duration(rest_s)} left at most" if rest_s else ""


def _tiles(view: ConsortiumView) -> Element | None:
    if view.run is None or not view.rounds:
        return None
    areas = [area for r in view.rounds if (area := r["validation"].get("auc")) is not None]
    kept_areas = [r["validation"].get("auc") for r in view.rounds if r["round"] == view.best_round]
    state, void = view.run.state, sum(bool(r["void"]) for r in view.rounds)
    took_s = (state.ended_s or view.now) - state.started_s if state.started_s else None
    tiles: list[tuple[str, Child]] = [
        (
            "Validation AUC, kept model" if kept_areas else "Validation AUC, last",
            figure(next(iter(kept_areas or areas[::-1]), None)),
        ),
        ("Highest of a round", figure(max(areas, default=None))),
        ("Sites", str(len(view.cohort))),
        ("Seconds a round", f"{typical_round_s(view.rounds):.1f}"),
        ("Void rounds", str(void)),
        ("Took" if state.ended_s else "Since it began", duration(took_s) if took_s is not None else "–"),
    ]
    return el("dl", *(el("div", el("dt", name), el("dd", value)) for name, value in tiles), class_="tiles")


def curves(view: ConsortiumView) -> Marks:
    """Its rounds as curves and as numbers."""
    if view.run is not None and view.run.plan.content.models:
        return [el("p", "Models are evaluated in this run, and none is trained: there is no curve.", class_="soft")]
    void = [r["round"] for r in view.rounds if r["void"]]
    lines = [(charts.STYLES["federated"], "federated", view.rounds)]
    charts_element = rounds_table.curves(lines, [], void, view.best_round)
    if view.run is None or charts_element is None:
        return [el("p", "No round was evaluated yet, so there is no curve.", class_="soft")]
    return [charts_element, rounds_table.numbers(view.rounds, el("p", rounds_table.download(view.run.name, lines)))]


def rounds(view: ConsortiumView) -> Marks:
    """Who took part in which round of the run."""
    if not view.rounds:
        return [el("p", "No round has ended yet.", class_="soft")]
    return [*presence("Every round, from the left", view.cohort, view.rounds)]
