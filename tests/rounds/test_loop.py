"""The round loop with real sites and the real CNN on small images: who stayed counts, nobody else does."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.training.site import Site
from common.algorithms.averaging import Averaging
from common.algorithms.course import Course
from common.config import Cnn, Federation, Local, Simulated
from common.errors import DataError, QuorumError, RunError, WireError
from common.imaging import Pipeline
from common.messages.transport import InMemory, Misfortunes, Request
from common.models import Model, Work, build
from common.types import Cases, SiteCases, Tensors, prefixed
from server.rounds import checkpoint, loop
from server.rounds.aggregation import PlainSum
from server.rounds.loop import LoopState

SHAPE = (12, 12, 1)
RECIPE = Pipeline(())


def cases(seed: int, n: int) -> Cases:
    """Bright upper halves are class 1."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    images = random.normal(0.4, 0.2, (n, *SHAPE))
    images[:, :6] += 0.25 * labels[:, None, None, None]
    return Cases(images.astype(np.float32), labels)


@pytest.fixture(scope="module")
def model() -> Model:
    return build(Cnn(kind="cnn", width=4), SHAPE, 2)


def site(name: str, model: Model, local: Local, n: int = 40) -> Site:
    seed = sum(map(ord, name))
    return Site(SiteCases(name, cases(seed, n), cases(seed + 1, 20), cases(seed + 2, 20)), RECIPE, model, local)


def transport(model: Model, local: Local, sizes: Mapping[str, int], **misfortune: float) -> InMemory:
    answers = {n: site(n, model, local, k).answer for n, k in sizes.items()}
    return InMemory(answers, misfortunes=Misfortunes(**misfortune))  # type: ignore[arg-type]


def course(federation_: Federation, model: Model, way: InMemory, normalises: bool = False) -> Course:
    sites = way.sites()
    return Course(federation_, Averaging(federation_, model, 1, len(sites)), sites, 1, RECIPE.fingerprint(), normalises)


def finish(federation_: Federation, model: Model, way: InMemory, standing: LoopState | None = None) -> LoopState:
    *_, last = loop.run(course(federation_, model, way), PlainSum(way), standing)
    return last


def same_bits(one: Tensors, two: Tensors) -> bool:
    return set(one) == set(two) and all(np.array_equal(one[n], two[n]) for n in one)


LOCAL = Local(batch=16)
THREE = {"a": 40, "b": 24, "c": 64}


def test_the_new_model_is_the_example_weighted_mean_of_what_the_sites_made(model: Model) -> None:
    way = transport(model, LOCAL, THREE)
    going = course(Federation(rounds=1), model, way)
    algorithm, begin = going.algorithm, going.start()
    request = going.request(begin)
    total = PlainSum(way).total(request, way.sites(), 1.0)
    after = algorithm.weights(going.after(begin, total).state)
    singles = {n: dict(way.exchange({n: request}, 1.0))[n].sums for n in THREE}
    for name, start in algorithm.weights(begin.state).items():
        moved = sum(singles[n][f"delta/{name}"].astype(np.float64) for n in THREE) / sum(THREE.values())
        np.testing.assert_allclose(after[name], start + moved, atol=1e-6)
    assert total.sums["weight"] == sum(THREE.values())


def test_federated_training_learns(model: Model) -> None:
    local = Local(batch=16, learning_rate=0.01)
    last = finish(Federation(rounds=8, local=local), model, transport(model, local, THREE))
    assert last.records[-1].validation["auc"] > 0.9  # type: ignore[operator]
    assert last.records[-1].train_loss < last.records[0].train_loss  # type: ignore[operator]


def test_one_site_alone_with_moments_carried_on_trains_as_one_uninterrupted_fit(model: Model) -> None:
    local = Local(batch=16, moments="averaged", steps=3)
    way = transport(model, local, {"a": 48})
    after = finish(Federation(rounds=2, local=local, quorum=1, select="last"), model, way)
    assert [r.void for r in after.records] == [False, False]
    state = after.state
    assert float(state["moments/steps"][0]) == 6.0


@settings(max_examples=10)
@given(st.permutations(["a", "b", "c"]))
def test_the_order_in_which_sites_are_listed_changes_no_bit(model: Model, order: list[str]) -> None:
    one = finish(Federation(rounds=1, local=LOCAL), model, transport(model, LOCAL, THREE))
    two = finish(Federation(rounds=1, local=LOCAL), model, transport(model, LOCAL, {n: THREE[n] for n in order}))
    assert same_bits(one.state, two.state)


def test_the_total_is_over_whoever_stayed(model: Model) -> None:
    way = transport(model, LOCAL, THREE, drop=0.4, seed=3)
    last = finish(Federation(rounds=6, local=LOCAL, quorum=2), model, way)
    for record in last.records:
        assert set(record.sites) | set(record.dropped) == set(THREE)
        assert not set(record.sites) & set(record.dropped)
        assert record.void == (len(record.sites) < 2)
    assert any(r.dropped for r in last.records)


def test_a_round_below_the_quorum_leaves_the_model_as_it_was(model: Model) -> None:
    way = transport(model, LOCAL, THREE, drop=0.999)
    going = course(Federation(quorum=3), model, way)
    start = loop.begin(going, PlainSum(way))
    after = loop.run_round(going, PlainSum(way), start)
    assert after.records[0].void
    assert same_bits(after.state, start.state)


def test_a_run_in_which_no_site_trained_has_failed(model: Model) -> None:
    with pytest.raises(QuorumError, match=r"nothing was trained"):
        finish(Federation(rounds=2), model, transport(model, LOCAL, THREE, drop=1.0))


def test_a_slow_site_does_its_work_and_is_not_counted(model: Model) -> None:
    way = transport(model, LOCAL, THREE, slow=1.0)
    request = Request("evaluate", 0, prefixed("weights", model.init(1)), {"recipe": RECIPE.fingerprint()})
    assert not list(way.exchange(dict.fromkeys(way.sites(), request), 1.0))


def test_only_a_drawn_share_of_the_sites_is_asked(model: Model) -> None:
    sizes = dict.fromkeys("abcdefgh", 16)
    federation_ = Federation(rounds=4, local=Local(steps=1), fraction=0.6)
    last = finish(federation_, model, transport(model, federation_.local, sizes))
    assert {len(r.sites) for r in last.records} == {5}
    assert len({r.sites for r in last.records}) > 1


def test_training_stops_when_patience_ends_and_the_best_model_is_kept(model: Model) -> None:
    local = Local(batch=16, learning_rate=0.05)
    last = finish(Federation(rounds=30, local=local, patience=3), model, transport(model, local, THREE))
    assert len(last.records) < 30
    losses = [r.validation["loss"] for r in last.records]
    assert losses[last.best_round] == min(losses)  # type: ignore[type-var]
    assert len(last.records) == last.best_round + 4


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedavgm", "fedadam", "fedyogi", "fedprox"])
def test_a_run_resumed_from_any_checkpoint_ends_in_the_same_bits(model: Model, strategy: str, tmp_path: Path) -> None:
    sgd = strategy == "scaffold"
    local = Local(batch=16, steps=2, optimizer="sgd" if sgd else "adam", learning_rate=0.01, proximal=0.1)
    settings_ = Federation(rounds=4, local=local, strategy=strategy, simulate=Simulated(drop=0.2))  # type: ignore[arg-type]
    whole = finish(settings_, model, transport(model, local, THREE, drop=0.2))
    standing = None
    for _ in range(4):  # a new process, as it were, for every round
        way = transport(model, local, THREE, drop=0.2)
        if found := checkpoint.load(tmp_path / "c", way.sites(), "digest"):
            standing = found[0]
            way.states.update(found[1])
        standing = next(loop.run(course(settings_, model, way), PlainSum(way), standing))
        checkpoint.save(tmp_path / "c", standing, way.states, "digest")
    assert standing is not None
    assert same_bits(standing.state, whole.state)
    assert same_bits(standing.best, whole.best)


def test_scaffold_keeps_control_variates_at_the_sites_that_sum_to_the_servers(model: Model) -> None:
    local = Local(batch=16, steps=2, optimizer="sgd", learning_rate=0.05)
    way = transport(model, local, THREE)
    last = finish(Federation(rounds=3, local=local, strategy="scaffold"), model, way)
    for name, control in {k: v for k, v in last.state.items() if k.startswith("control/")}.items():
        mean = np.mean([way.states[s][name] for s in THREE], axis=0)
        np.testing.assert_allclose(control, mean, atol=1e-5)


def test_fedprox_stays_closer_to_the_common_model(model: Model) -> None:
    moved = {}
    for strength in (0.0, 10.0):
        local = Local(batch=16, epochs=4, optimizer="sgd", learning_rate=0.02, proximal=strength)
        fitted = model.fit(model.init(1), cases(1, 64), Work(local, 0.02, 1), anchor=model.init(1))
        moved[strength] = sum(float(np.square(fitted.weights[n] - w).sum()) for n, w in model.init(1).items())
    assert moved[10.0] < 0.8 * moved[0.0]


def test_the_first_step_of_fedadam_follows_its_formula(model: Model) -> None:
    federation_ = Federation(rounds=1, local=LOCAL, strategy="fedadam", server_learning_rate=0.1)
    way = transport(model, LOCAL, THREE)
    mean = finish(Federation(rounds=1, local=LOCAL), model, way).state
    got = finish(federation_, model, transport(model, LOCAL, THREE)).state
    for name, start in prefixed("weights", model.init(1)).items():
        delta = mean[name].astype(np.float64) - start
        expected = start + 0.1 * (0.1 * delta) / (np.sqrt(0.01 * delta**2) + 1e-3)
        np.testing.assert_allclose(got[name], expected, atol=1e-5)


def test_federated_mean_and_variance_are_those_of_all_images_together(model: Model) -> None:
    way = transport(model, LOCAL, THREE)
    found = loop.begin(course(Federation(), model, way, normalises=True), PlainSum(way)).normalisation
    pooled = np.concatenate([site(n, model, LOCAL, k).cases.train.images for n, k in THREE.items()]).astype(np.float64)
    np.testing.assert_allclose(found["mean"], pooled.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(found["variance"], pooled.var(axis=0), atol=1e-9)


def test_statistics_are_asked_for_again_where_too_few_answered(model: Model) -> None:
    later = next(seed for seed in range(99) if answering(seed, 0) < 3 <= answering(seed, 1))
    way = transport(model, LOCAL, THREE, drop=0.5, seed=later)
    begun = loop.begin(course(Federation(quorum=3), model, way, normalises=True), PlainSum(way))
    assert begun.normalisation["mean"].shape == SHAPE
    assert begun.round == 0


def test_the_mean_and_variance_are_in_the_checkpoint_and_not_asked_for_again(model: Model, tmp_path: Path) -> None:
    way = transport(model, LOCAL, THREE)
    begun = loop.begin(course(Federation(), model, way, normalises=True), PlainSum(way))
    checkpoint.save(tmp_path / "c", begun, {}, "digest")
    found = checkpoint.load(tmp_path / "c", way.sites(), "digest")
    assert found is not None
    assert same_bits(found[0].normalisation, begun.normalisation)
    assert found[0].place.asks == "train"


def answering(seed: int, number: int) -> int:
    return sum(not Misfortunes(0.5, 0.0, seed).away(name, number) for name in THREE)


def test_a_site_with_another_recipe_refuses(model: Model) -> None:
    request = Request("train", 0, prefixed("weights", model.init(1)), {"recipe": "0" * 64})
    with pytest.raises(DataError, match="preprocessing"):
        site("a", model, LOCAL).answer(request, {})


def test_a_site_answers_only_what_it_knows(model: Model) -> None:
    with pytest.raises(WireError, match="expected one of"):
        site("a", model, LOCAL).answer(Request("images", 0, {}, {"recipe": RECIPE.fingerprint()}), {})


def test_a_checkpoint_of_another_run_is_refused(model: Model, tmp_path: Path) -> None:
    way = transport(model, LOCAL, THREE)
    checkpoint.save(tmp_path / "c", finish(Federation(rounds=1, local=LOCAL), model, way), {}, "mine")
    with pytest.raises(RunError, match="another configuration"):
        checkpoint.load(tmp_path / "c", way.sites(), "yours")
    assert checkpoint.load(tmp_path / "none", way.sites(), "mine") is None


@given(spoilt=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255), both=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_or_flipped_checkpoint_costs_nothing_as_long_as_its_copy_is_whole(
    model: Model, spoilt: float, flip: int, both: bool, tmp_path: Path
) -> None:
    way = transport(model, LOCAL, THREE)
    standing = loop.begin(course(Federation(), model, way), PlainSum(way))
    checkpoint.save(tmp_path / "c", standing, {}, "mine")
    content = bytearray((tmp_path / "c").read_bytes())
    at = int(spoilt * len(content))
    changed = content[:at] + bytes([content[at] ^ flip]) * bool(flip) + content[at + 1 :] * bool(flip)
    for name in ("c", "c.copy") if both else ("c",):
        (tmp_path / name).write_bytes(changed)
    try:
        found = checkpoint.load(tmp_path / "c", way.sites(), "mine")
    except RunError:
        assert both
    else:
        assert found is not None
        assert same_bits(found[0].state, standing.state)


def test_the_newer_of_two_good_copies_counts(model: Model, tmp_path: Path) -> None:
    way = transport(model, LOCAL, THREE)
    standings = list(loop.run(course(Federation(rounds=2, local=LOCAL), model, way), PlainSum(way)))
    for newer, name in ((standings[1], "c"), (standings[0], "d")):
        checkpoint.save(tmp_path / name, newer, {}, "mine")
    for one, other in (("c", "d.copy"), ("d", "c.copy")):  # killed between the two
        (tmp_path / "e").write_bytes((tmp_path / one).read_bytes())
        (tmp_path / "e.copy").write_bytes((tmp_path / other).read_bytes())
        found = checkpoint.load(tmp_path / "e", way.sites(), "mine")
        assert found is not None
        assert found[0].round == 2
