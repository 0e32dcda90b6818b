"""The federation over secure aggregation: the plain sum's results, and nothing of one site on the way."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.training.secure_site import SecuredSite
from client.training.sent_vector import VectorFile
from client.training.site_storage import SealedStateFile
from common.algorithms import RoundTotal, solver
from common.config import Config, Federation, Local
from common.errors import ConfigError, IdentityError, PolicyError
from common.messages.answer_layout import TRIALS, exchanges, question
from common.messages.transport import Answer, Reply, Request
from common.models import build
from common.secagg.audit import audit
from common.secagg.fixedpoint import Layout
from common.secagg.state import ParticipantState
from common.secagg.transcript import read_frames
from common.trust.enrolment import simulated_consortium
from common.trust.keys import seal_state
from common.types import Cases, SiteCases, Tensors, prefixed
from server.rounds import checkpoint, loop
from server.rounds.transcripts import Transcripts
from tests.rounds.world import ABOUT, FIVE, SGD, SHAPE, World, config, same_bits

# --- the same result ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold"])
def test_the_masked_sum_is_the_plain_one_to_the_last_fixed_point_digit(strategy: str) -> None:
    world = World(config(strategy=strategy, local=SGD))
    masked, plain = world.training(world.secure()), world.training(world.plain())
    layout = exchanges(world.config, world.model, *ABOUT, len(FIVE))["train"].layout
    assert masked.sites == plain.sites == tuple(FIVE)
    assert set(masked.sums) == set(plain.sums)
    for segment in layout.segments:
        off = np.abs(masked.sums[segment.name] - plain.sums[segment.name]).max()
        assert off <= len(FIVE) * 2.0**-segment.fraction_bits + 1e-5
    assert layout.bits == 32
    assert masked.sums["weight"] == sum(FIVE.values())


def test_a_whole_run_ends_where_the_plain_one_does() -> None:
    world = World(config(rounds=3, local=SGD))
    masked, plain = world.run(world.secure()), world.run(world.plain())
    for name, value in plain.best.items():
        np.testing.assert_allclose(masked.best[name], value, atol=1e-5)
    assert [r.validation["auc"] for r in masked.records] == [r.validation["auc"] for r in plain.records]
    assert masked.best_counts["confusion"].sum() == plain.best_counts["confusion"].sum() == 12 * len(FIVE)


def test_adams_averaged_moments_survive_being_very_small() -> None:
    local = Local(batch=16, steps=3, moments="averaged", learning_rate=1e-3)
    world = World(config(rounds=2, local=local))
    masked, plain = world.run(world.secure()), world.run(world.plain())
    for name, value in plain.state.items():
        if name.startswith("moments/second"):
            np.testing.assert_allclose(masked.state[name], value, rtol=0.02, atol=1e-9)
    assert masked.state["moments/steps"] == plain.state["moments/steps"] == 6.0


def test_the_svm_reaches_the_same_optimum_from_masked_sums() -> None:
    told = config("svm", rounds=30, select="last", evaluate_every=30)
    world = World(told)
    masked, plain = world.run(world.secure()), world.run(world.plain())
    np.testing.assert_allclose(masked.state["objective"], plain.state["objective"], rtol=1e-6)
    for name, value in plain.best.items():
        np.testing.assert_allclose(masked.best[name], value, atol=1e-3)


def test_federated_mean_and_variance_come_from_masked_sums() -> None:
    steps = [{"step": "normalise", "by": "federated", "per": "pixel"}]
    world = World(Config.model_validate(config("svm").model_dump() | {"preprocess": steps}))
    masked, plain = (loop.begin(world.course, a) for a in (world.secure(), world.plain()))
    np.testing.assert_allclose(masked.normalisation["mean"], plain.normalisation["mean"], atol=1e-9)
    np.testing.assert_allclose(masked.normalisation["variance"], plain.normalisation["variance"], atol=2e-6)


def test_the_solver_asks_for_as_many_points_as_the_layouts_have() -> None:
    assert len(solver.STEPS) == TRIALS


@settings(max_examples=30)
@given(
    st.sampled_from(["cnn", "svm"]), st.integers(3, 200), st.floats(1, 1e6), st.floats(1e-3, 100),
    st.sampled_from(["fedavg", "scaffold", "fedadam"]), st.integers(1, 5), st.booleans(),
)  # fmt: skip
def test_every_layout_that_is_derived_has_room_for_all_sites(
    kind: str, sites: int, most: float, clip: float, strategy: str, epochs: int, moments: bool
) -> None:
    local = {"epochs": epochs, "moments": "averaged" if moments and strategy != "scaffold" else "fresh"}
    local |= {"optimizer": "sgd"} if strategy == "scaffold" else {}
    told = config(kind, weight_bound=most, clip=clip, strategy=strategy, local=local)
    for exchange in exchanges(told, build(told.model, SHAPE, 2), *ABOUT, sites).values():
        room = all(s.fraction_bits > 0 or s.name in ("loss_sum", "examples") for s in exchange.layout.segments)
        if room:
            exchange.layout.check(sites)  # raises where a sum could wrap round


# --- dropouts -------------------------------------------------------------------------------------------------------


def silent_at(kind: str, who: str) -> Callable[[str, Answer], Answer]:
    """A site that falls silent from one step on: an empty message is as good as none."""

    def between(name: str, answer: Answer) -> Answer:
        def maybe(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            if name == who and request.kind == kind:
                return Reply({"message": np.zeros(0, np.uint8)}), state
            return answer(request, state)

        return maybe

    return between


@pytest.mark.parametrize("step", ["join", "share", "take", "submit", "agree", "release"])
def test_a_site_may_fall_silent_at_any_step(step: str) -> None:
    world = World(config(local=SGD))
    total = world.training(world.secure(silent_at(f"secagg/{step}", "c")))
    counted = set(FIVE) if step in ("agree", "release") else set(FIVE) - {"c"}
    assert set(total.sites) == counted
    assert set(total.dropouts) == set(FIVE) - counted
    assert total.sums["weight"] == sum(FIVE[name] for name in counted)


def test_below_the_threshold_there_is_no_sum_and_the_model_stays() -> None:
    world = World(config(rounds=1, local=SGD), drop=0.5, seed=4)  # two of five are away
    aggregator = world.secure()
    total = world.training(aggregator)
    assert len(total.dropouts) > 1
    assert not total.sums
    assert world.training(world.plain()).sums  # enough for the plain quorum


def test_a_site_that_was_away_at_first_comes_back_in_a_new_key_period() -> None:
    world = World(config(local=SGD))
    calls = {"n": 0}

    def between(name: str, answer: Answer) -> Answer:
        def away_once(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            if name == "b" and request.round == 0:
                return Reply({"message": np.zeros(0, np.uint8)}), state
            calls["n"] += request.kind == "secagg/join"
            return answer(request, state)

        return away_once

    aggregator = world.secure(between)
    assert world.training(aggregator, 0).dropouts == ("b",)
    assert world.training(aggregator, 1).dropouts == ()
    assert world.training(aggregator, 2).dropouts == ()
    assert calls["n"] == 4 + 5


def test_keys_are_exchanged_anew_when_they_are_used_up() -> None:
    world = World(config(rounds=3, epoch_rounds=2, local=SGD))
    masked, plain = world.run(world.secure()), world.run(world.plain())
    assert sum(request.kind == "secagg/join" for _, request, _ in world.sent) == 3 * len(FIVE)
    for name, value in plain.best.items():
        np.testing.assert_allclose(masked.best[name], value, atol=1e-5)


def test_only_a_share_of_the_sites_may_be_asked_each_round() -> None:
    world = World(config(rounds=2, fraction=0.8, local=SGD))
    assert [len(r.sites) for r in world.run(world.secure()).records] == [4, 4]


def test_the_svms_sums_are_over_everybody_or_nobody() -> None:
    told = config("svm", rounds=40, select="last", quorum=2)
    world = World(told, drop=0.08, seed=1)
    masked, whole = world.run(world.secure()), World(told)
    expected = whole.run(whole.plain())
    assert any(r.void for r in masked.records)
    np.testing.assert_allclose(masked.state["objective"], expected.state["objective"], rtol=1e-6)
    asked = [r.tensors["message"].tobytes() for _, r, _ in world.sent if r.kind == "secagg/release"]
    assert len(asked) % len(FIVE) == 0  # nothing was ever unmasked with a site missing


# --- nothing in the clear -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["statistics", "train", "evaluate", "gram", "loss", "gradient", "hessian", "images", "secagg"]
)
def test_a_secured_site_answers_nothing_in_the_clear(kind: str) -> None:
    world = World(config(local=SGD))
    request = Request(kind, 0, prefixed("weights", world.model.init(1)), {"recipe": world.pipeline.fingerprint()})
    with pytest.raises(PolicyError, match="in the clear") as refused:
        world.secured["a"].answer(request, {})
    assert refused.value.cause == "plaintext"


def test_what_crosses_is_noise() -> None:
    world = World(config(rounds=2, local=SGD))
    world.run(world.secure())
    submitted = [(n, r.settings["asked"], reply) for n, r, reply in world.sent if r.kind == "secagg/submit"]
    assert {set(reply.sums) == {"message"} for _, _, reply in world.sent} == {True}
    length = exchanges(world.config, world.model, *ABOUT, 5)["train"].layout.length
    vectors = {}
    for name, asked, reply in submitted[:5]:
        assert asked == "train"
        words = reply.sums["message"].tobytes()[-64 - 4 * length : -64]  # before the signature
        vectors[name] = np.frombuffer(words, np.uint8)
    for vector in vectors.values():
        counts, even = np.bincount(vector, minlength=256), len(vector) / 256
        assert (np.square(counts - even) / even).sum() < 255 + 6 * np.sqrt(2 * 255)  # chi-square of uniform bytes
    one, two = vectors["a"].astype(float), vectors["b"].astype(float)
    assert abs(np.corrcoef(one, two)[0, 1]) < 5 / np.sqrt(len(one))
    honest = world.site("a").contribute(world.asked(), {})[0]
    delta = np.concatenate([d.ravel() for d in honest.means.values()])
    signed = vectors["a"].view("<i4")[: delta.size].astype(float)
    assert abs(np.corrcoef(delta, signed)[0, 1]) < 5 / np.sqrt(delta.size)


def test_undefined_numbers_at_a_site_are_refused_by_name_and_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    world = World(config(local=SGD))
    spoilt = world.parts["c"].train
    images = spoilt.images.copy()
    images[::2] = np.nan
    world.secured["c"].site.cases = SiteCases("c", Cases(images, spoilt.labels), spoilt, spoilt)
    total = world.training(world.secure())
    assert total.refused.keys() == {"c"}
    assert total.refused["c"] in ("DATA", "WEIGHTS")
    assert total.sites == ("a", "b", "d", "e")
    assert re.search(r"site c refuses .*NaN or infinite values in", caplog.text)
    assert not [name for name, request, _ in world.sent if name == "c" and request.kind == "secagg/submit"]


def test_more_cases_than_the_plan_bounds_are_refused_before_anything_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    world = World(config(local=SGD, weight_bound=50))
    assert world.training(world.secure()).refused == {"c": "WEIGHTS"}
    assert "weight is 64, expected 0 to 50" in caplog.text
    assert not [name for name, request, _ in world.sent if name == "c" and request.kind == "secagg/submit"]


def test_a_plan_with_other_layouts_than_the_sites_own_is_refused() -> None:
    world = World(config(local=SGD))
    aggregator = world.secure()
    aggregator.question_kinds = partial(exchanges, config(local=SGD, clip=0.5), world.model, *ABOUT)
    total = world.training(aggregator)
    assert total.refused == dict.fromkeys(FIVE, "changed-plan")
    assert (total.sums, total.sites, total.dropouts) == ({}, (), ())


def test_a_coordinator_cannot_have_a_question_answered_that_it_did_not_announce() -> None:
    world = World(config(local=SGD))

    def between(name: str, answer: Answer) -> Answer:
        def other(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            if name == "d" and request.kind == "secagg/submit":
                tensors = {n: t * (1 + (n == "weights/dense/bias")) + 0 for n, t in request.tensors.items()}
                tensors["weights/dense/bias"] = tensors["weights/dense/bias"] + 1
                request = Request(request.kind, request.round, tensors, request.settings)
            return answer(request, state)

        return other

    assert world.training(world.secure(between)).refused == {"d": "split-model"}


def test_only_training_is_another_question_in_another_round() -> None:
    def asked(kind: str, round: int) -> bytes:
        return question(Request(kind, round, {"weights/a": np.ones(2)}, {"recipe": "r"}))

    assert asked("train", 1) != asked("train", 2)
    assert asked("evaluate", 1) == asked("evaluate", 2) != asked("gram", 2)


def test_the_same_model_is_not_evaluated_again_over_other_sites() -> None:
    world, mute = World(config(local=SGD)), set[str]()

    def between(name: str, answer: Answer) -> Answer:
        return lambda request, state: (Reply({}), state) if name in mute else answer(request, state)

    aggregator = world.secure(between)
    weights = prefixed("weights", world.model.init(1))
    request = Request("evaluate", 0, weights, {"recipe": world.pipeline.fingerprint()})
    assert aggregator.total(request, list(FIVE), 1.0).sums["n"] == 60
    mute.add("c")
    total = aggregator.total(request, list(FIVE), 1.0)
    four = [name for name in FIVE if name != "c"]
    assert (total.refused, total.dropouts, total.sums) == (dict.fromkeys(four, "repeated-question"), ("c",), {})


# --- restarts, audit ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold"])
def test_a_run_resumed_from_any_checkpoint_ends_in_the_same_bits(strategy: str, tmp_path: Path) -> None:
    told = config(rounds=5, strategy=strategy, local=SGD)
    luck = {"drop": 0.15, "slow": 0.1, "seed": 3}
    world = World(told, **luck)
    expected, standing = world.run(world.secure()), None
    assert any(r.void for r in expected.records)
    assert any(r.dropped and not r.void for r in expected.records)
    for _ in range(5):  # a new process, with a new consortium, for every round
        world = World(told, **luck)
        aggregator = world.secure()
        if found := checkpoint.load(tmp_path / "c", tuple(FIVE), "digest"):
            standing = found[0]
            aggregator.transport.states.update(found[1])
        standing = next(loop.run(world.course, aggregator, standing))
        checkpoint.save(tmp_path / "c", standing, aggregator.transport.states, "digest")
    assert standing is not None
    assert same_bits(standing.state, expected.state)
    assert same_bits(standing.best, expected.best)
    assert [r.sites for r in standing.records] == [r.sites for r in expected.records]


def test_scaffolds_control_variates_sum_to_the_servers_in_spite_of_void_rounds() -> None:
    world = World(config(rounds=5, strategy="scaffold", local=SGD), drop=0.15, slow=0.1, seed=3)
    aggregator = world.secure()
    last = world.run(aggregator)
    for name, control in {k: v for k, v in last.state.items() if k.startswith("control/")}.items():
        own = [aggregator.transport.states[s].get(name, np.zeros_like(control)) for s in FIVE]
        np.testing.assert_allclose(control, np.mean(own, axis=0), atol=1e-4)


def test_an_auditor_goes_from_the_transcript_to_the_next_global_model(tmp_path: Path) -> None:
    world = World(config(rounds=1, local=SGD))
    last = world.run(world.secure(transcripts=Transcripts(tmp_path)))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0000-evaluate", "0000-train", "lineages"]
    with (tmp_path / "0000-train").open("rb") as file:
        found = audit(read_frames(file), world.consortium.pins)
    layout: Layout = exchanges(world.config, world.model, *ABOUT, 5)["train"].layout
    total = RoundTotal(layout.decode(found.words), found.survivors, found.dropouts)
    assert same_bits(world.course.after(world.course.start(), total).state, last.state)


def test_a_sites_state_lies_sealed_on_its_disk(tmp_path: Path) -> None:
    _, enrolled = simulated_consortium(list(FIVE), Federation())
    own, other = (SealedStateFile(tmp_path / "state", enrolled[name].sealing_key) for name in ("a", "b"))
    assert own.load() == ParticipantState()
    own.record(ParticipantState(key_periods={bytes(16): 7}))
    assert own.load().key_periods == {bytes(16): 7}
    (tmp_path / "state").write_bytes(seal_state(b"CSA1" + bytes(50), enrolled["a"].sealing_key))
    assert own.load() == ParticipantState(), "rounds of release 0.1 are over"
    own.record(ParticipantState(key_periods={bytes(16): 7}))
    assert b"\x07" * 2 not in (tmp_path / "state").read_bytes()
    with pytest.raises(IdentityError, match="cannot be opened"):
        other.load()


def test_a_site_that_restarts_between_two_steps_goes_on_from_its_disk(tmp_path: Path) -> None:
    world = World(config(local=SGD))

    def between(name: str, answer: Answer) -> Answer:
        enrolment, binding = world.enrolled[name], world.binding(name)
        store = SealedStateFile(tmp_path / name, enrolment.sealing_key)

        def restarted(request: Request, state: Tensors) -> tuple[Reply, Tensors]:
            sent = VectorFile(tmp_path / f"{name}-masked")
            return SecuredSite(world.site(name), enrolment, binding, store, vector=sent).answer(request, state)

        return restarted

    total, plain = world.training(world.secure(between)), world.training(world.plain())
    assert total.sites == plain.sites
    np.testing.assert_allclose(total.sums["delta/dense/bias"], plain.sums["delta/dense/bias"], atol=1e-3)


def test_fewer_than_three_sites_are_told_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"2 sites, expected 3 .* federation.secure=false"):
        simulated_consortium(["a", "b"], Federation())
