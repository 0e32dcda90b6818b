"""The course of a run: which question comes next, given the sums so far. Coordinator and auditing sites both go by it.

    statistics     sums over the images: Σx and Σx² where the recipe asks for them, and how they look
                   (`common.metrics.out_of_distribution`); again while too few answer
    train          what `Algorithm.ask` asks in a round: training, or the SVM's second moments or losses
    slope          the round's second question, where the algorithm has one: the SVM's gradient
    evaluate       the new model, where the round moved it

A run is a walk over places, and `after` is a pure function: the same sums give the same questions, at whichever side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypeVar, get_args

import numpy as np

from common.algorithms import Algorithm, RoundTotal, State
from common.algorithms.averaging import Averaging
from common.algorithms.private_averaging import PrivateAveraging
from common.algorithms.private_head import PrivateHead
from common.algorithms.solver import PATIENCE, SvmSolver
from common.config import Federation, Svm, Training
from common.errors import WireError
from common.imaging import Pipeline
from common.messages.noised_layout import schedule_for
from common.messages.transport import Request
from common.metrics import noised_outcomes, out_of_distribution, performance, plugin_metric
from common.models import Model
from common.models.svm import LinearSvm
from common.models.unit_head import UnitHead
from common.plugins import Part
from common.privacy.price_list import Schedule
from common.secagg.key_period_plan import least_draw, threshold
from common.types import Tensors, prefixed, under

STATISTICS_ATTEMPTS = 5
"""How often the sites are asked for the sums behind mean and variance before the run gives up."""

LATER = {"slope": 1, "gradient": 1, "hessian": 1, "evaluate": 2, "noised-outcomes": 2}
"""Which question of its round it is; all others are the first."""

TrainingT = TypeVar("TrainingT", bound=Training)
Asks = Literal["statistics", "train", "slope", "evaluate"]
DISTANCES = "distances"
"""How far the validation images are from the training's, among the sums over how the images look, once it is known."""
VOID = RoundTotal({}, (), ())
"""What a question comes to that too few answered."""


@dataclass(frozen=True)
class Place:
    """Where a run stands between two questions: what comes next, and all that is known by then."""

    asks: Asks
    """What is asked next."""
    round: int
    """Whose question it is; for statistics, the attempt."""
    state: State
    """The algorithm's own."""
    normalisation: Tensors
    """Federated mean and variance, float64[h, w, c] each, once they are known and where the recipe has them."""
    appearance: Tensors = field(default_factory=dict)
    """Sums of `common.metrics.out_of_distribution`, once they are known and where the run gathers them."""
    selection: Tensors = field(default_factory=dict)
    """`best`, the best figure of all evaluations so far, and `since`, how many of them have come after its round; empty
    before the first."""

    @property
    def since(self) -> int:
        """Evaluations since the best one; 0 after one that is the best."""
        return int(self.selection.get("since", 0))

    @property
    def number(self) -> int:
        """The question's number in the run: it rises from question to question, with gaps."""
        return number(self.asks, self.round)

    def tensors(self) -> Tensors:
        """As arrays, for a file or a message; nothing is copied."""
        arrays = {"asks": np.array(get_args(Asks).index(self.asks), np.int64), "round": np.array(self.round, np.int64)}
        arrays |= prefixed("state", self.state) | prefixed("recipe", self.normalisation)
        return arrays | prefixed("likeness", self.appearance) | prefixed("judged", self.selection)

    @classmethod
    def of(cls, tensors: Tensors) -> Self:
        """A place from the arrays that `tensors` made of it.

        Raises:
            WireError: if they are none of a place.
        """
        try:
            asks, round = get_args(Asks)[int(tensors["asks"])], int(tensors["round"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise WireError("arrays that do not say where in a run they belong.") from None
        return cls(asks, round, *(under(part, tensors) for part in ("state", "recipe", "likeness", "judged")))


def number(kind: str, round: int) -> int:
    """The number of a question, by its request's kind or by what a place asks: a round has up to three."""
    return round if kind == "statistics" else STATISTICS_ATTEMPTS + 3 * round + LATER.get(kind, 0)


def for_one(config: TrainingT) -> TrainingT:
    """The same training by one member alone; Adam's moments go on from round to round, as if it were one training."""
    plan = config.federation
    moments = "averaged" if plan.local.optimizer == "adam" else "fresh"
    local = plan.local.model_copy(update={"moments": moments, "proximal": 0.0, "private": ()})
    changes = {
        "local": local,
        "strategy": "fedavg",
        "part": None,
        "fraction": 1.0,
        "quorum": 1,
        "server_learning_rate": None,
    }
    return config.model_copy(update={"federation": plan.model_copy(update=changes)})


@dataclass(frozen=True)
class Course:
    """What stays the same over all questions of one run."""

    plan: Federation
    algorithm: Algorithm
    sites: tuple[str, ...]
    """Names of all sites of the run, sorted."""
    seed: int
    fingerprint: str
    """Of the preprocessing recipe; sites with another one refuse."""
    normalises: bool = False
    """Whether the recipe needs the federated mean and variance."""
    likeness: bool = False
    """Whether the run gathers how the images look."""
    plan_sites: int = 0
    """Sites of the plan, of which more than two thirds stand behind every sum; 0: as many as `sites`."""
    carried_sums: Tensors | None = None
    """What an earlier run has summed, as `to_carry` gives it: none of it is asked, and the run begins where none of its
    questions was asked before. None: it carries nothing."""
    initial: Tensors | None = None
    """Weights to begin from; none: fresh ones."""
    metrics: tuple[Part, ...] = ()
    """Of plug-ins, read off the same sums."""

    @classmethod
    def of(cls, config: Training, model: Model, seed: int, sites: Sequence[str], plan_sites: int = 0) -> Self:
        """The course that a configuration lays down: averaging for the CNN, summed derivatives for the SVM."""
        plan, pipeline = config.federation, Pipeline(config.preprocess)
        algorithm: Algorithm | None = None
        if config.budget:
            schedule = schedule_for(config, model, plan_sites or len(sites))
            mean = Averaging(plan, model, seed, len(sites))
            algorithm = (
                PrivateHead(model, schedule) if isinstance(model, UnitHead) else PrivateAveraging(mean, schedule)
            )
        elif isinstance(config.model, Svm) and isinstance(model, LinearSvm):
            # The sums with and without a site at one point differ by that site's own: none is counted out under masks.
            patience = plan.rounds + 1 if plan.secure else PATIENCE
            algorithm = SvmSolver(config.model, model, sites, plan.quorum, patience)
        return cls(
            plan, algorithm or Averaging(plan, model, seed, len(sites)), tuple(sites), seed, pipeline.fingerprint(),
            pipeline.needs_statistics, config.likeness, plan_sites, metrics=config.metrics,
        )  # fmt: skip

    def start(self) -> Place:
        """The place before the first question of a run."""
        state = self.algorithm.start()
        if self.initial is not None:
            state = self.algorithm.begin_at(state, self.initial)
        if self.carried_sums is not None:
            sums = under("gram", self.carried_sums) | under("classes", self.carried_sums)
            state = self.algorithm.carry(state, sums, self.seed)
            looks = under("likeness", self.carried_sums) | under("distances", self.carried_sums)
            return Place(self.algorithm.asks(state), 0, state, under("recipe", self.carried_sums), looks)
        asks: Asks = "statistics" if self.normalises or self.likeness else self.algorithm.asks(state)
        return Place(asks, 0, state, {})

    def to_carry(self, place: Place) -> Tensors:
        """What a later run over other sites may go on from: all sums of the images so far that depend on no model."""
        moments = {"gram": place.state["gram"], "rest": place.state["gram_rest"]} if "gram" in place.state else {}
        balance: Tensors = {name: place.state[name] for name in ("share", "heaviest") if name in place.state}
        arrays = prefixed("recipe", place.normalisation) | prefixed("gram", moments) | prefixed("classes", balance)
        if not place.appearance or not place.appearance["n"].any():
            return arrays
        looks = {name: value for name, value in place.appearance.items() if name != DISTANCES}
        distances = {name: value for name, value in place.appearance.items() if name == DISTANCES}
        return arrays | prefixed("likeness", looks) | prefixed("distances", distances)

    def request(self, place: Place) -> Request:
        """The question that comes next."""
        if place.asks == "statistics":
            settings = {"pixels": int(self.normalises), "likeness": int(self.likeness)}
            request = Request("statistics", place.round, settings=settings)
        elif place.asks == "evaluate" and self.algorithm.asks_once:
            weights = prefixed("weights", self.algorithm.weights(place.state))
            request = Request("noised-outcomes", place.round, weights)
        elif place.asks == "evaluate":
            tensors = prefixed("weights", self.algorithm.weights(place.state))
            # How far the validation images are from the training's is the same whatever the model: it is asked once.
            looks = {} if DISTANCES in place.appearance else prefixed("likeness", place.appearance)
            request = Request("evaluate", place.round, tensors | looks)
        else:
            request = self.algorithm.ask(place.state, place.round)
        tensors = dict(request.tensors) | prefixed("recipe", place.normalisation)
        return replace(request, tensors=tensors, settings=dict(request.settings) | {"recipe": self.fingerprint})

    def cohort(self, place: Place) -> tuple[str, ...]:
        """The sites that are asked: all, or for training a share drawn from the seed."""
        if place.asks != "train" or self.algorithm.cohort_must_be_whole:
            return self.sites
        least = least_draw(self.plan_sites or len(self.sites)) if self.plan.secure else 1
        return self.plan.draw(self.sites, self.seed, place.round, least)

    def after(self, place: Place, total: RoundTotal) -> Place:
        """Where the sum leads; a void total leaves the model as it is."""
        if place.asks == "statistics":
            return self._after_statistics(place, total)
        if place.asks == "evaluate":
            after = replace(place, selection=self.select(place.selection, self.counts(total)))
            if place.appearance and DISTANCES not in place.appearance and DISTANCES in total.sums:
                after = replace(after, appearance={**place.appearance, DISTANCES: total.sums[DISTANCES]})
            return self._next_round(after)
        state = place.state
        if self._enough(total, self.plan.quorum) or (total.sites and self.algorithm.cohort_must_be_whole):
            state = self.algorithm.tell(state, total)
        elif self.algorithm.asks_once:
            state = self.algorithm.tell(state, VOID)
        trained_place = replace(place, state=state)
        if place.asks == "train" and self.algorithm.asks(state) == "slope":
            return replace(trained_place, asks="slope")
        if self._is_judged(place, trained_place):
            return replace(trained_place, asks="evaluate")
        return self._next_round(trained_place)

    def setting(self, place: Place) -> dict[str, float | None]:
        """What validation chooses among, as the model at a place has it; empty where there is nothing to choose."""
        return self.algorithm.setting(place.state) if isinstance(self.algorithm, SvmSolver) else {}

    def _is_judged(self, before: Place, after: Place) -> bool:
        if self.algorithm.asks_once:
            return self.algorithm.finished(after.state)
        if self.algorithm.chooses:
            return self.algorithm.settled(after.state) or after.round == self.plan.rounds - 1
        # A descent may find its end in a round that moves nothing; then the model before it was not always evaluated.
        ends = self.algorithm.finished(after.state) and self.plan.evaluate_every > 1
        return (ends or self.moved(before, after)) and self._evaluates(after)

    def _next_round(self, place: Place) -> Place:
        return replace(place, asks=self.algorithm.asks(place.state), round=place.round + 1)

    def _after_statistics(self, place: Place, total: RoundTotal) -> Place:
        if self._enough(total, min(self.plan.quorum, len(self.sites))):
            recipe = _normalisation(total) if self.normalises else {}
            asks, looks = self.algorithm.asks(place.state), under("likeness", total.sums) if self.likeness else {}
            return Place(asks, 0, place.state, recipe, looks)
        if place.round + 1 < STATISTICS_ATTEMPTS:
            return replace(place, round=place.round + 1)
        return self.without_statistics(place)

    def without_statistics(self, place: Place) -> Place:
        """Where the run stands once the sites are asked for statistics no more: over, where it needs mean and variance;
        else it goes on, and how the images look is not known."""
        if self.normalises:
            return replace(place, round=STATISTICS_ATTEMPTS)
        return Place(self.algorithm.asks(place.state), 0, place.state, {}, out_of_distribution.of_nobody())

    def counts(self, total: RoundTotal) -> Tensors:
        """A model's outcomes as `common.metrics.performance` counts them; empty where nobody answered. Under a budget
        they are read off noised histograms, and where these say nothing, all are zero."""
        if total.sums and isinstance(self.algorithm, PrivateHead | PrivateAveraging):
            return noised_outcomes.read(total.sums, self.algorithm.schedule.classes)
        return total.sums

    def moved(self, before: Place, after: Place) -> bool:
        """Whether a step changed the model's weights."""
        one, other = self.algorithm.weights(before.state), self.algorithm.weights(after.state)
        return any(not np.array_equal(one[name], other[name]) for name in one)

    @property
    def schedule(self) -> Schedule | None:
        """The questions with their prices; None where nothing is paid for."""
        return self.algorithm.schedule if isinstance(self.algorithm, PrivateHead | PrivateAveraging) else None

    @property
    def least(self) -> int:
        """How many of all sites a sum over all of them needs."""
        quorum, many = min(self.plan.quorum, len(self.sites)), len(self.sites)
        plan_sites = self.plan_sites or many
        if not self.plan.secure:  # in the clear, the SVM's solver counts out who is missing
            return quorum
        return many if self.algorithm.cohort_must_be_whole else max(quorum, threshold(plan_sites))

    def over(self, place: Place) -> bool:
        """All rounds are done, nothing is left to gain, or no evaluation was better for as long as patience says; or
        nobody answers with mean and variance."""
        if place.asks == "statistics":
            return place.round >= STATISTICS_ATTEMPTS
        out_of_patience = self.patience is not None and place.since >= self.patience
        is_done = out_of_patience or place.round >= self.plan.rounds or self.algorithm.finished(place.state)
        return place.asks != "evaluate" and is_done

    @property
    def patience(self) -> int | None:
        """Evaluations without a better one after which the run ends; of settings in a row, the first that is worse."""
        return self.plan.patience or (1 if self.algorithm.chooses else None)

    def reached(self, place: Place, number: int) -> Place | None:
        """The place of a later question, if all before it came to nothing; none where the run does not ask it so."""
        while place.number < number and not self.over(place):
            place = self.after(place, VOID)
        return place if place.number == number and not self.over(place) else None

    def figures(self, counts: Tensors) -> dict[str, float | None]:
        """What a round's record says of summed outcomes."""
        return performance.summary_of_counts(counts) | plugin_metric.figures(self.metrics, counts)

    def select(self, selection: Tensors, counts: Tensors) -> Tensors:
        """Whether this evaluation is the best, by the figure that the plan selects by, read off the sum.

        Of the AUC it is the mean of the sites' own: over all cases together a model that recognises the site wins.
        """
        if not counts:
            return selection
        figures, select = performance.summary_of_counts(counts), self.plan.select
        sign, figure = -1.0 if select == "loss" else 1.0, None if select == "last" else figures[select]
        if select == "auc" and figures["auc_within"] is not None:
            figure = figures["auc_within"]
        best, since = float(selection.get("best", -np.inf)), int(selection.get("since", 0)) + 1
        worth = -np.inf if figure is None else sign * figure
        unjudged = select == "last" or figures["auc"] is None  # a class has no validation case to judge by
        since = 0 if unjudged or worth > best else since
        return {"best": np.array(max(best, worth)), "since": np.array(since)}

    def _evaluates(self, place: Place) -> bool:
        last = place.round == self.plan.rounds - 1 or self.algorithm.finished(place.state)
        return last or (place.round + 1) % self.plan.evaluate_every == 0

    def _enough(self, total: RoundTotal, quorum: int) -> bool:
        return bool(total.sums) and len(total.sites) >= quorum


def _normalisation(total: RoundTotal) -> Tensors:
    n = float(total.sums["n"][0])
    mean = total.sums["x"] / n
    return {"mean": mean, "variance": np.maximum(total.sums["xx"] / n - mean**2, 0.0)}
