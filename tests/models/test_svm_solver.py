"""The federated solver reaches the pooled optimum, whoever is silent, from wherever it is resumed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.svm import LinearSVC

from common.algorithms import RoundTotal, State, descent
from common.algorithms.solver import SvmSolver
from common.algorithms.solver_steps import preconditioned, solved_low
from common.config import Svm
from common.errors import ConfigError, WireError
from common.image_stack import join
from common.models.moments import cosines
from common.models.svm import LinearSvm
from common.storage import tensorfile
from common.types import Cases, Tensors, under

SOLVERS = ("gram-lbfgs", "newton", "lbfgs")


class Hospital:
    """Cases split over sites, and the round loop in four lines."""

    def __init__(
        self, cases: Cases, classes: int, config: Svm, sites: int = 5, seed: int = 0, frequencies: int = 4
    ) -> None:
        shares = np.random.default_rng(seed).dirichlet([0.5] * sites, classes)
        rng = np.random.default_rng(seed)
        site = np.array([rng.choice(sites, p=shares[label]) for label in cases.labels])
        self.model = LinearSvm(config, cases.images.shape[1:], classes, frequencies)
        self.parts = {f"s{i}": Cases(cases.images[site == i], cases.labels[site == i]) for i in range(sites)}
        self.solver = SvmSolver(config, self.model, tuple(self.parts))
        self.requests: list[str] = []

    def answer(self, state: State, here: set[str]) -> RoundTotal:
        request = self.solver.ask(state, len(self.requests))
        self.requests.append(request.kind)
        weights, sums = under("weights", request.tensors), {}
        for name in sorted(here):
            images, cases = self.parts[name].images, self.parts[name]
            own = (
                self.model.gram(images) if request.kind == "gram" else getattr(self.model, request.kind)(weights, cases)
            )
            sums = {key: sums.get(key, 0) + value for key, value in own.items()}
        return RoundTotal(sums, tuple(sorted(here)), tuple(sorted(set(self.parts) - here)))

    def train(self, state: State | None = None, silent: Callable[[int], set[str]] = lambda r: set()) -> State:
        state = state or self.solver.start()
        for round in range(1000):
            if self.solver.finished(state):
                break
            state = self.solver.tell(state, self.answer(state, set(self.parts) - silent(round)))
        assert self.solver.finished(state)
        return state

    def gap(self, state: State, names: set[str] | None = None) -> float:
        """Largest relative distance of a row's objective from LinearSVC's."""
        cases = join([part for name, part in self.parts.items() if names is None or name in names])
        return float(np.max(self.objective(self.solver.weights(state), cases) / self.pooled(cases) - 1))

    def objective(self, weights: Tensors, cases: Cases) -> np.ndarray:
        penalty = np.square(weights["alpha"]).sum(axis=1) + np.square(weights["intercept"])
        return np.asarray(penalty / 2 + self.model.config.C * self.model.gradient(weights, cases)["loss"])

    def pooled(self, cases: Cases) -> np.ndarray:
        z = self.model.features(cases.images.reshape(len(cases), -1)).astype(np.float64)
        targets = [cases.labels == row for row in ([1] if self.model.rows == 1 else range(self.model.rows))]
        fits = [LinearSVC(C=self.model.config.C, dual=False, tol=1e-9, max_iter=10**6).fit(z, t) for t in targets]
        weights = {
            "alpha": np.concatenate([f.coef_ for f in fits]),
            "intercept": np.array([f.intercept_[0] for f in fits]),
        }
        return self.objective(weights, cases)


def blobs(n: int = 300, d: int = 12, classes: int = 2, seed: int = 1) -> Cases:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    images = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=(classes, d))[labels]
    return Cases(images.astype(np.float32).reshape(n, d, 1, 1), labels)


def digits() -> Cases:
    data = load_digits()
    return Cases((data.images / 16).astype(np.float32)[..., None], data.target.astype(np.int64))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("C", [0.01, 1.0])
def test_every_solver_reaches_the_pooled_optimum(solver: str, C: float) -> None:
    hospital = Hospital(blobs(), 2, Svm(kind="svm", C=C, solver=solver))
    assert hospital.gap(hospital.train()) < 1e-6


def test_ten_classes_reach_the_pooled_optimum_together_and_answer_alike() -> None:
    cases = digits()
    hospital = Hospital(cases, 10, Svm(kind="svm", C=0.01))
    state = hospital.train()
    assert hospital.gap(state) < 1e-6
    assert len(hospital.requests) <= 80
    flat = cases.images.reshape(len(cases), -1)
    pooled = LinearSVC(C=0.01, dual=False, tol=1e-9, max_iter=10**6).fit(flat, cases.labels).predict(flat)
    np.testing.assert_array_equal(hospital.model.scores(hospital.solver.weights(state), cases.images).argmax(1), pooled)


def test_fourier_features_reach_the_pooled_optimum_too() -> None:
    config = Svm(kind="svm", features="fourier", dimension=101, gamma=0.02, C=1.0)
    hospital = Hospital(Cases(digits().images[:600], digits().labels[:600] % 2), 2, config)
    assert hospital.gap(hospital.train()) < 1e-6


@given(
    n=st.integers(1, 30),
    d=st.integers(1, 40),
    classes=st.integers(2, 4),
    solver=st.sampled_from(SOLVERS),
    C=st.sampled_from([0.001, 0.1, 10.0]),
    seed=st.integers(0, 9),
)
@settings(max_examples=40)
def test_no_shape_of_data_keeps_it_from_the_optimum(
    n: int, d: int, classes: int, solver: str, C: float, seed: int
) -> None:
    """Fewer cases than features, classes without cases, sites without cases, a constant feature."""
    drawn = blobs(n, d, classes, seed)
    drawn.images[:, 0] = 3.0
    hospital = Hospital(drawn, classes, Svm(kind="svm", C=C, solver=solver), seed=seed)
    state = hospital.train()
    fitted = {"alpha": state["point"][:, :-1], "intercept": state["point"][:, -1]}
    slope = state["point"] + C * hospital.model.gradient(fitted, drawn)["gradient"]
    hessian = hospital.model.hessian(fitted, drawn)["hessian"]
    for row in range(hospital.model.rows):
        h = np.zeros((d + 1, d + 1))
        h[np.triu_indices(d + 1)] = C * hessian[row]
        newton = np.linalg.solve(np.triu(h) + np.triu(h, 1).T + np.eye(d + 1), slope[row])
        # What is left to gain; C = 10 with fewer cases than features is the worst, 3e-5 in the largest of 90 tries.
        assert slope[row] @ newton / 2 <= 1e-4 * state["objective"][row]


@pytest.mark.parametrize("solver", ["gram-lbfgs", "newton"])
def test_silent_sites_cost_rounds_and_nothing_else(solver: str) -> None:
    hospital = Hospital(blobs(), 2, Svm(kind="svm", solver=solver))
    undisturbed = hospital.train()
    good, rng = len(hospital.requests), np.random.default_rng(1)
    state = hospital.train(silent=lambda r: {name for name in hospital.parts if rng.random() < 0.1})
    assert len(hospital.requests) - good > good
    np.testing.assert_array_equal(state["point"], undisturbed["point"])


def test_a_site_gone_for_good_leaves_the_optimum_of_the_others() -> None:
    hospital = Hospital(blobs(), 2, Svm(kind="svm"))
    state = hospital.train(silent=lambda r: {"s1"} if r > 3 else set())
    assert hospital.solver.counted_sites(state) == ("s0", "s2", "s3", "s4")
    assert hospital.gap(state, {"s0", "s2", "s3", "s4"}) < 1e-6
    assert hospital.requests.count("gram") == 1


def test_a_site_that_comes_back_counts_again() -> None:
    hospital = Hospital(blobs(), 2, Svm(kind="svm", tolerance=1e-9))
    state = hospital.train(silent=lambda r: {"s1"} if r < 9 else set())
    assert hospital.solver.counted_sites(state) == ("s0", "s1", "s2", "s3", "s4")
    assert hospital.gap(state) < 1e-6


def test_the_cohort_never_falls_below_the_quorum() -> None:
    hospital = Hospital(blobs(), 2, Svm(kind="svm"))
    state = hospital.solver.start()
    for _ in range(20):
        state = hospital.solver.tell(state, hospital.answer(state, {"s3"}))
    assert len(hospital.solver.counted_sites(state)) == 5
    np.testing.assert_array_equal(state["point"], 0.0)


def step_to_best(state: State, tried: tuple[np.ndarray, np.ndarray, np.ndarray]) -> State:
    """A round of release 0.1, in which the gradient was summed at all four points of a line."""
    here, rows = (state["point"], state["objective"], state["gradient"]), np.arange(len(state["point"]))
    best = np.argmin(tried[1], axis=0)
    point, value, slope = (array[best, rows] for array in tried)
    predicted = ((point - here[0]) * here[2]).sum(axis=1)
    good = (predicted < 0) & (value <= here[1] + 1e-4 * predicted)
    scale = np.where(good, 1.0, 0.2 * state["scale"])
    return state | {
        "point": np.where(good[:, None], point, here[0]),
        "objective": np.where(good, value, here[1]),
        "gradient": np.where(good[:, None], slope, here[2]),
        "moves": descent.push_memory(state["moves"], point - here[0], good),
        "changes": descent.push_memory(state["changes"], slope - here[2], good),
        "scale": scale,
        "done": state["done"] | (scale < 1e-8),
    }


@pytest.mark.parametrize(("classes", "C"), [(2, 0.01), (2, 1.0), (3, 0.1)])
def test_losses_first_and_one_gradient_are_the_same_descent_bit_for_bit(classes: int, C: float) -> None:
    hospital = Hospital(blobs(classes=classes), classes, Svm(kind="svm", C=C))
    solver, cases = hospital.solver, blobs(classes=classes)

    def sums(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loss and gradient at every point, each worked out alone: so that both descents get the same bits."""
        each = [hospital.model.gradient({"alpha": p[:, :-1], "intercept": p[:, -1]}, cases) for p in points]
        return np.stack([one["loss"] for one in each]), np.stack([one["gradient"] for one in each])

    def told(state: State) -> State:
        request = solver.ask(state, 0)
        if request.kind == "gram":
            return solver.tell(state, RoundTotal(hospital.model.gram(cases.images), tuple(solver.sites), ()))
        weights = under("weights", request.tensors)
        points = np.concatenate([weights["alpha"], weights["intercept"][..., None]], axis=-1)
        loss, gradient = sums(points if request.kind == "loss" else points[None])
        answer = {"loss": loss} if request.kind == "loss" else {"loss": loss[0], "gradient": gradient[0]}
        return solver.tell(state, RoundTotal(answer, tuple(solver.sites), ()))

    state = told(told(solver.start()))
    before, rounds, asked = state, 0, 0
    while not solver.finished(before):
        loss, gradient = sums(points := before["trials"])
        objectives = 0.5 * np.square(points).sum(axis=2) + C * loss
        stepped = step_to_best(before, (points, objectives, points + C * gradient))
        before, rounds = stepped | solver._aimed(stepped), rounds + 1
    while not solver.finished(state):
        asked += solver.ask(state, 0).kind == "loss"
        state = told(state)
    assert rounds == asked > 5
    for name in ("point", "objective", "gradient", "moves", "changes", "scale"):
        np.testing.assert_array_equal(state[name], before[name])


@pytest.mark.parametrize(
    "told", [*({"solver": solver} for solver in SOLVERS), {"loss": "softmax", "C": (0.001, 0.01)}], ids=str
)
def test_a_resumed_run_gives_the_same_bits(told: dict[str, Any]) -> None:
    hospital = Hospital(blobs(classes=3), 3, Svm(kind="svm", **told))
    silent = {2: {"s1"}, 5: {"s0", "s4"}}
    state, undisturbed = hospital.solver.start(), hospital.train(silent=lambda r: silent.get(r, set()))
    for round in range(1000):
        if hospital.solver.finished(state):
            break
        content = tensorfile.pack(state, {})
        after = hospital.solver.tell(state, hospital.answer(state, set(hospital.parts) - silent.get(round, set())))
        assert tensorfile.pack(state, {}) == content, "a state was changed in place"
        state = tensorfile.unpack(tensorfile.pack(after, {}))[0]
    assert tensorfile.pack(dict(sorted(undisturbed.items())), {}) == tensorfile.pack(state, {})


def test_sums_of_sixteen_fraction_bits_lose_nothing_that_counts() -> None:
    hospital = Hospital(digits(), 10, Svm(kind="svm", C=0.01))
    state = hospital.solver.start()
    while not hospital.solver.finished(state):
        total = hospital.answer(state, set(hospital.parts))
        rounded = {name: np.round(value * 2**16) / 2**16 for name, value in total.sums.items()}
        state = hospital.solver.tell(state, RoundTotal(rounded, total.sites, ()))
    assert hospital.gap(state) < 1e-6


def test_sums_that_were_not_asked_for_are_refused() -> None:
    hospital = Hospital(blobs(), 2, Svm(kind="svm"))
    state = hospital.solver.start()
    good = hospital.answer(state, set(hospital.parts))
    for sums, said in [
        ({"n": good.sums["n"]}, "missing"),
        ({"gram": good.sums["gram"][1:]}, "shape"),
        ({"gram": good.sums["gram"] * np.nan}, "not finite"),
        ({"gram": good.sums["gram"]}, "'rest' is missing"),
        ({"gram": -1e6 * good.sums["gram"], "rest": good.sums["rest"]}, "not positive"),
    ]:
        with pytest.raises(WireError, match=said):
            hospital.solver.tell(state, RoundTotal(sums, good.sites, ()))


def test_matrices_too_large_to_send_are_refused() -> None:
    config = Svm(kind="svm", solver="newton")
    with pytest.raises(ConfigError, match="Use lbfgs"):
        SvmSolver(config, LinearSvm(config, (60, 60, 1), 2), ("a", "b"))


@pytest.mark.parametrize("frequencies", [0, 4, 8])
@pytest.mark.parametrize("C", [0.01, 1.0])
def test_the_optimum_is_the_same_with_any_number_of_frequencies(frequencies: int, C: float) -> None:
    cases = Cases(digits().images[:600], digits().labels[:600] % 2)
    hospital = Hospital(cases, 2, Svm(kind="svm", C=C), frequencies=frequencies)
    assert hospital.gap(hospital.train()) < 1e-6
    assert hospital.requests.count("gram") == (frequencies > 0)


def test_frequencies_save_rounds() -> None:
    cases = Cases(digits().images[:600], digits().labels[:600] % 2)
    asked = {}
    for frequencies in (0, 4, 8):
        hospital = Hospital(cases, 2, Svm(kind="svm", C=0.01), frequencies=frequencies)
        hospital.train()
        asked[frequencies] = hospital.requests.count("loss")
    assert asked[8] < asked[4] < asked[0]


def test_all_frequencies_of_an_image_are_the_whole_matrix() -> None:
    """Where q is the image's side nothing is left out: I + scale Σ z zᵀ, solved."""
    cases, config = Cases(digits().images[:100], digits().labels[:100] % 2), Svm(kind="svm")
    model = LinearSvm(config, (8, 8, 1), 2, 8)
    assert model.moments is not None
    sums = model.gram(cases.images)
    assert sums["rest"][0] < 1e-3
    z = np.concatenate([cases.images.reshape(100, -1), np.ones((100, 1))], axis=1).astype(np.float64)
    vector, found = np.random.default_rng(1).normal(size=65), preconditioned(model, 0.3, sums)
    solved = solved_low(model.moments, found["factor"][0], float(found["rest"][0]), vector)
    np.testing.assert_allclose(solved, np.linalg.solve(np.eye(65) + 0.3 * z.T @ z, vector), rtol=1e-5, atol=1e-6)


def test_of_an_encoders_numbers_no_second_moments_are_asked() -> None:
    """They would be a list of members where there are fewer cases than numbers."""
    drawn = blobs(d=30)
    numbers = Cases(drawn.images.reshape(len(drawn), 1, 1, 30), drawn.labels)
    hospital = Hospital(numbers, 2, Svm(kind="svm", loss="logistic", tolerance=1e-3), frequencies=16)
    hospital.train()
    assert set(hospital.requests) == {"loss", "gradient"}


def test_frequencies_are_orthonormal_and_fourier_features_have_none() -> None:
    for shape, q, k in (((12, 9, 1), 4, 16), ((5, 6, 3), 8, 30)):
        basis = cosines(shape, q)
        assert basis.shape == (int(np.prod(shape)), k)
        np.testing.assert_allclose(basis.T @ basis, np.eye(k), atol=1e-7)
    fourier = LinearSvm(Svm(kind="svm", features="fourier", dimension=9), (3, 2, 1), 2, 8)
    assert fourier.moments is None
    assert (
        SvmSolver(fourier.config, fourier, ("a", "b")).ask(SvmSolver(fourier.config, fourier, ("a",)).start(), 0).kind
        == "gradient"
    )
