"""One hospital, as the round loop sees it: request and state in, numbers to be summed and the next state out.

All that it computes is a `Contribution`: vectors of a fixed length that mean nothing but as a part of a sum. It leaves
masked, through `client.training.secure_site.SecuredSite`; in the clear (`Site.answer`) only where a simulation asks so.

    statistics  Σx and Σx² of every pixel, how images look     before training, where the run asks for it
    train       model difference, to be weighted by examples   averaging
    evaluate    outcome counts on the site's validation cases  after a round
    classes, gram, loss, gradient, hessian                     the SVM's sums
    noised-…    `client.training.private_sums`                 under a budget of privacy

The state is plain arrays that the site keeps from round to round (SCAFFOLD's control variate, layers
that are its own); the caller stores it.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from client.training import private_sums
from common.config import Local
from common.errors import DataError, PolicyError, WireError
from common.image_stack import batches, slices, together
from common.imaging import Pipeline
from common.messages.transport import Reply, Request
from common.metrics import out_of_distribution, performance
from common.metrics.out_of_distribution import Floats, Reference
from common.models import Model, Work
from common.models.private_layers import PRIVATE, PRIVATE_MOMENTS, private_names
from common.models.svm import LinearSvm
from common.privacy.price_list import SampledSteps
from common.types import Cases, SiteCases, Tensors, prefixed, under

STATISTICS_TOGETHER = 256
"""Images held in double precision at a time."""


@dataclass(frozen=True)
class Contribution:
    """What one site adds to a round's sum."""

    sums: Tensors
    """Added as they are."""
    means: Tensors = field(default_factory=dict)
    """Multiplied by the weight, then added: the sum over the sites by the sum of the weights is their mean."""
    weight: float = 1.0
    """The site's number of examples."""

    def weighted(self) -> dict[str, np.ndarray]:
        """All of it, ready to be added."""
        n = np.float32(self.weight)
        return {name: n * value for name, value in self.means.items()} | dict(self.sums)


@dataclass
class Site:
    """Answers the coordinator's requests from the site's own cases.

    Args:
        cases: images as they are before the recipe's federated normalisation, if it has one.
        recipe: the preprocessing that all sites must share.
        local: the work of one round.
    """

    cases: SiteCases
    preprocessing: Pipeline
    model: Model
    local: Local
    least_active: int = 5
    """Cases of a row and sign inside the margin at the point of a gradient: none, or this many. A simulation asks 1."""
    steps: SampledSteps | None = None
    """Of a network under a budget: how it trains between two sums."""
    _ready: dict[str, Cases] = field(default_factory=dict, repr=False)
    _ready_for: str = field(default="", repr=False)
    _distances: dict[bytes, Floats] = field(default_factory=dict, repr=False)

    def answer(self, request: Request, state: Tensors) -> tuple[Reply, Tensors]:
        """Do what is asked and say it in the clear: for one member in its own process, and to compare with."""
        contribution, state = self.contribute(request, state)
        return Reply(contribution.weighted()), state

    def contribute(self, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
        """Do what is asked.

        Raises:
            WireError: for a kind of request that no site answers.
            DataError: where the coordinator's preprocessing is not the site's own.
            PolicyError: for more than the kind of request takes.
        """
        handler = HANDLERS.get(request.kind)
        if handler is None:
            raise WireError(f"a request of kind {request.kind!r}, expected one of {', '.join(sorted(HANDLERS))}.")
        fingerprint_asked, own_fingerprint = request.settings.get("recipe"), self.preprocessing.fingerprint()
        if fingerprint_asked != own_fingerprint:
            raise DataError(
                f"{self.cases.name}: the coordinator's preprocessing ({str(fingerprint_asked)[:12]}…) is not this "
                f"site's ({own_fingerprint[:12]}…). Bring `preprocess` and the release to the same state on both sides."
            )
        _refuse_more(self.cases.name, request)
        return handler(self, request, state)

    def ready(self, part: str, recipe: Tensors) -> Cases:
        """The cases of one part (train, validation, test) after the whole recipe; kept for the next request."""
        whole = self.preprocessing.with_statistics(recipe["mean"], recipe["variance"]) if recipe else self.preprocessing
        if self._ready_for != whole.fingerprint():
            self._ready, self._ready_for = {}, whole.fingerprint()
        if part not in self._ready:
            raw: Cases = getattr(self.cases, part)
            self._ready[part] = replace(raw, images=whole.after(raw.images))
        return self._ready[part]

    def distances(self, looks: Tensors) -> Floats:
        """How far the validation images are from the training's of all sites, counted; kept for the next request."""
        name = b"".join(looks[part].tobytes() for part in sorted(looks))
        if name not in self._distances:
            reference, images = Reference.of(looks), self.cases.validation.images
            self._distances = {
                name: out_of_distribution.histogram(reference.distances(images) if reference else np.zeros(0))
            }
        return self._distances[name]


def _refuse_more(name: str, request: Request) -> None:
    """Refuse what is not of the question: a word beside it that nobody reads would make it another question.

    A site answers the same question with the same sites alone (`common.messages.answer_layout.question`); asked twice
    in two spellings, with and without one site, it would tell that site's own figures.
    """
    settings, groups = ASKED[request.kind]
    flags = [request.settings.get(flag) for flag in FLAGS if flag in settings]
    odd = {*request.settings, "recipe"} ^ {"recipe", *settings}
    for array in request.tensors:
        group, _, rest = array.partition("/")
        if group not in groups or rest not in PARTS.get(group, (rest,)):
            odd.add(array)
    if odd or not all(type(flag) is int and flag in (0, 1) for flag in flags):
        what = ", ".join(sorted(odd)) or "flags that are not 0 or 1"
        raise PolicyError(
            "changed-question", f"{name}: asked for '{request.kind}' with {what[:200]}, more or less than it takes."
        )


def _statistics(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    images = site.cases.train.images
    sums = {"n": np.array([float(len(images))])}
    if request.settings.get("likeness"):
        sums |= prefixed("likeness", out_of_distribution.sums(images))
    if not request.settings.get("pixels"):
        return Contribution(sums), state
    sums |= {"x": np.zeros(images.shape[1:]), "xx": np.zeros(images.shape[1:])}
    for stack in batches(images, slices(len(images), min(STATISTICS_TOGETHER, together(images)))):
        pixels = stack.astype(np.float64)
        sums["x"] += pixels.sum(axis=0)
        sums["xx"] += np.square(pixels).sum(axis=0)
    return Contribution(sums), state


def _train(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    cases = site.ready("train", under("recipe", request.tensors))
    global_weights, control = under("weights", request.tensors), under("control", request.tensors)
    stays = private_names(global_weights, site.local.private)
    weights = global_weights | under(PRIVATE, state)
    rate = float(request.settings["learning_rate"])
    own_control = under("control", state) or {name: np.zeros_like(c) for name, c in control.items()}
    fitted = site.model.fit(
        weights,
        cases,
        Work(site.local, rate, _seed(int(request.settings["seed"]), request.round, site.cases.name)),
        moments=_moments(weights, under("moments", request.tensors), under(PRIVATE_MOMENTS, state)),
        anchor=weights if site.local.proximal else None,
        correction={name: c - own_control[name] for name, c in control.items()} or None,
    )
    delta = {name: new - weights[name] for name, new in fitted.weights.items()}
    _refuse_if_not_finite(site, delta)
    if stays:
        delta = {name: moved for name, moved in delta.items() if name not in stays}
        state = dict(state) | prefixed(PRIVATE, {name: fitted.weights[name] for name in sorted(stays)})
    n = np.float32(len(cases))
    sums = {"weight": np.array([float(n)]), "loss_sum": np.array([fitted.loss_sum])}
    if site.local.moments == "averaged":
        own_moments = {name for name in fitted.moments if name.partition("/")[2] in stays}
        sums |= prefixed("moments", {name: n * m for name, m in fitted.moments.items() if name not in own_moments})
        if own_moments:
            state = dict(state) | prefixed(
                PRIVATE_MOMENTS, {name: fitted.moments[name] for name in sorted(own_moments)}
            )
    sums |= {"examples": np.array([float(fitted.examples)]), "correct": np.array([float(fitted.correct)])}
    if control:
        scale = np.float32(1 / (max(fitted.steps, 1) * rate))
        new = {name: own_control[name] - c - scale * delta[name] for name, c in control.items()}
        sums |= prefixed("control", {name: new[name] - own_control[name] for name in new})
        state = dict(state) | prefixed("control", new)
    return Contribution(sums, prefixed("delta", delta), float(n)), state


def _moments(weights: Tensors, moments: Tensors, own_moments: Tensors) -> Tensors | None:
    """Adam's moments to start from: those of private layers the site's own, from zero in its first round."""
    if not moments:
        return None
    zeros = {f"{which}/{name}": np.zeros_like(w) for which in ("first", "second") for name, w in weights.items()}
    return zeros | dict(own_moments) | dict(moments)


def _evaluate(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    cases = site.ready("validation", under("recipe", request.tensors))
    scores = site.model.scores(under("weights", request.tensors) | under(PRIVATE, state), cases.images)
    counts = performance.count(scores, cases.labels)
    if looks := under("likeness", request.tensors):
        counts["distances"] = site.distances(looks)
    return Contribution(counts), state


def _classes(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    svm = svm_of(site)
    if svm.config.class_weight is None:
        raise PolicyError(
            "changed-question", f"{site.cases.name}: asked how many cases it has of each class, and none are balanced."
        )
    return Contribution(svm.count(site.cases.train)), state


def _gram(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    svm, frequencies = svm_of(site), request.settings["frequencies"]
    if frequencies != svm.frequencies or type(frequencies) is not int:
        raise PolicyError(
            "changed-question",
            f"{site.cases.name}: asked for second moments of {frequencies} frequencies, expected {svm.frequencies}.",
        )
    return Contribution(svm.gram(site.ready("train", under("recipe", request.tensors)).images)), state


def _loss(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    cases = site.ready("train", under("recipe", request.tensors))
    return Contribution(svm_of(site).loss(under("weights", request.tensors), cases, _shares(site, request))), state


def _derivatives(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    cases, svm = site.ready("train", under("recipe", request.tensors)), svm_of(site)
    weights, shares = under("weights", request.tensors), _shares(site, request)
    _refuse_few_active(site, is_of_few=svm.is_of_few(weights, cases, site.least_active, shares))
    derivatives = svm.gradient if request.kind == "gradient" else svm.hessian
    return Contribution(derivatives(weights, cases, shares)), state


def _private_sum(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    cases = site.ready("validation" if request.kind == "noised-outcomes" else "train", {})
    return Contribution(private_sums.private_sum(site.model, cases, request)), state


def _train_privately(site: Site, request: Request, state: Tensors) -> tuple[Contribution, Tensors]:
    delta = private_sums.weight_change(site.model, site.ready("train", {}), request, site.local, site.steps)
    return Contribution(delta), state


def _shares(site: Site, request: Request) -> NDArray[np.float64] | None:
    """What a case of each class counts in a sum, where classes are balanced: at most 1, as without."""
    shares, svm = request.tensors.get("classes/share"), svm_of(site)
    if (shares is None) != (svm.config.class_weight is None):
        raise PolicyError("changed-question", f"{site.cases.name}: asked for sums over classes weighted otherwise.")
    if shares is not None and not (shares.shape == (svm.classes,) and ((shares > 0) & (shares <= 1)).all()):
        raise WireError(f"{site.cases.name}: weights of classes that are not {svm.classes} numbers up to 1.")
    return shares


def _refuse_few_active(site: Site, *, is_of_few: bool) -> None:
    """A gradient is a sum over the cases inside the margin alone, or nearly: over one or two it shows these."""
    if is_of_few:
        raise PolicyError(
            "too-few-active",
            f"{site.cases.name}: at the point asked, the gradient would be nearly that of a few of this site's cases "
            f"of one class alone, fewer than policy.least.active, {site.least_active}. Give more cases, or a smaller "
            "model.C.",
        )


FLAGS = ("pixels", "likeness")
"""Settings that are 0 or 1."""
WEIGHTS = ("weights", "recipe")
ASKED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "statistics": (FLAGS, ()),
    "train": (("learning_rate", "seed"), (*WEIGHTS, "moments", "control")),
    "evaluate": ((), (*WEIGHTS, "likeness")),
    "gram": (("frequencies",), ("recipe",)),
    "classes": ((), ("recipe",)),
    "loss": ((), (*WEIGHTS, "classes")),
    "gradient": ((), (*WEIGHTS, "classes")),
    "hessian": ((), (*WEIGHTS, "classes")),
    "noised-mean": ((), ()),
    "noised-gram": ((), ("weights",)),
    "noised-gradient": ((), ("weights",)),
    "noised-count": ((), ()),
    "noised-train": (("learning_rate", "patients"), ("weights",)),
    "noised-outcomes": ((), ("weights",)),
}
"""Settings of a kind of request, beside the recipe, and groups of arrays."""
PARTS = {"recipe": ("mean", "variance"), "classes": ("share",), "likeness": tuple(out_of_distribution.of_nobody())}
"""Arrays of a group, where they are not the model's."""

Handler = Callable[[Site, Request, Tensors], tuple[Contribution, Tensors]]

HANDLERS: dict[str, Handler] = {
    "statistics": _statistics,
    "train": _train,
    "evaluate": _evaluate,
    "classes": _classes,
    "gram": _gram,
    "loss": _loss,
    "gradient": _derivatives,
    "hessian": _derivatives,
    **dict.fromkeys(private_sums.SUMS, _private_sum),
    "noised-train": _train_privately,
}


def svm_of(site: Site) -> LinearSvm:
    """The site's model, for sums that no other model has.

    Raises:
        WireError: if it is another.
    """
    if not isinstance(site.model, LinearSvm):
        raise WireError(
            f"{site.cases.name}: asked for the SVM's sums, but the configured model is a {site.model.kind}."
        )
    return site.model


def _seed(run: int, round: int, site: str) -> int:
    """One seed for each run, round and site."""
    return int(np.random.SeedSequence([run, round, zlib.crc32(site.encode())]).generate_state(1)[0] >> 1)


def _refuse_if_not_finite(site: Site, delta: Tensors) -> None:
    for name, value in delta.items():
        if not np.isfinite(value).all():
            raise DataError(
                f"{site.cases.name}: training gave infinite or undefined values in '{name}', so nothing was sent. "
                "Lower federation.local.learning_rate, or check the images' intensities with `client check`."
            )
